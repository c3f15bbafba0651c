from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from experts_cases import graphs, scaled, words
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import HardSharing, create_encoder
from polytask.architectures._selectors import (
    Selectors,
    selection_entropy,
    smooth_step,
    unreached,
)
from polytask.architectures.dselect_k import DSelectK
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TASKS = {task.name: task for task in (A, B, C)}
ENCODERS = {
    "table": lambda: create_encoder("mlp", TABLE, hidden=(16, 8)),
    "image": lambda: create_encoder("resnet", DIGITS, width=4),
    "tokens": tokens,
    "flattening": flattening,
    "graphs": graphs,
    "learned context": scaled,
    "words": words,
}


def batch_of(encoder: str, count: int = 24) -> Any:
    return first(wine()[0], count) if encoder == "table" else images(count)


def built(encoder: str, seed: int = 0, **options: Any) -> DSelectK:
    torch.manual_seed(seed)
    return DSelectK(ENCODERS[encoder](), TASKS, example=batch_of(encoder, 2), **options)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 7.0])
def test_the_smooth_step_and_its_derivative(gamma: float) -> None:
    t = torch.linspace(-gamma, gamma, 81, dtype=torch.float64, requires_grad=True)
    step = smooth_step(t, gamma)
    (slope,) = torch.autograd.grad(step.sum(), t)
    inside = t.abs() < gamma / 2
    value = -2 * t**3 / gamma**3 + 3 * t / (2 * gamma) + 0.5
    derivative = -6 * t**2 / gamma**3 + 3 / (2 * gamma)
    torch.testing.assert_close(step[inside], value[inside])
    torch.testing.assert_close(slope[inside], derivative[inside])
    assert (step[t <= -gamma / 2] == 0).all()
    assert (step[t >= gamma / 2] == 1).all()
    assert (slope[~inside].abs() < 1e-12).all()


@pytest.mark.parametrize("gamma", [0.3, 0.7, 1.0, 3.0])
def test_a_decided_bit_is_exactly_decided(gamma: float) -> None:
    ends = smooth_step(torch.tensor([-gamma / 2 * 1.001, gamma / 2 * 1.001]), gamma)
    assert ends.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("experts", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("width", [None, 3])
def test_selectors_are_products_over_the_bits(experts: int, width: int | None) -> None:
    """By enumeration of all codes, those without an expert too."""
    torch.manual_seed(0)
    gate = Selectors(experts, 2, 1.0, width)
    read = torch.randn(5, 3)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.normal_(0, 0.2)
        weights, single = gate(read)
        code = gate.code(read) if width else gate.code.flatten()
        mixture = (gate.mixture(read) if width else gate.mixture).softmax(-1)
    code = code.detach().reshape(-1, 2, gate.bits)
    mixture = mixture.reshape(-1, 2)
    for n, z in enumerate(code):
        expected = torch.zeros(2, 2**gate.bits)
        for s, bits in product(range(2), product((0, 1), repeat=gate.bits)):
            number = int("".join(map(str, bits)), 2)
            on = smooth_step(z[s], 1.0)
            chance = [float(o if bit else 1 - o) for o, bit in zip(on, bits, strict=True)]
            expected[s, number] = math.prod(chance)
        assert expected.sum(dim=1).tolist() == pytest.approx([1, 1])
        mine = single.reshape(-1, 2, experts)[n]
        torch.testing.assert_close(mine, expected[:, :experts])
        torch.testing.assert_close(weights.reshape(-1, experts)[n], mixture[n] @ mine)
        if experts == 2**gate.bits:
            torch.testing.assert_close(mine.sum(dim=1), torch.ones(2))


@pytest.mark.parametrize("number", range(6))
def test_decided_bits_select_the_expert_of_that_number(number: int) -> None:
    gate = Selectors(6, 1, 1.0)
    with torch.no_grad():
        gate.code.copy_(torch.tensor([[1.0 if c == "1" else -1.0 for c in f"{number:03b}"]]))
    weights, single = gate(torch.zeros(()))
    assert weights.tolist() == [float(i == number) for i in range(6)]
    assert single.shape == (1, 6)
    assert unreached(single).item() == 0.0
    assert abs(selection_entropy(single).item()) < 1e-5
    assert torch.autograd.grad(selection_entropy(single), gate.code)[0].eq(0).all()


def test_undecided_bits_have_the_greatest_entropy() -> None:
    gate = Selectors(3, 2, 1.0)
    with torch.no_grad():
        gate.code.zero_()
    _, single = gate(torch.zeros(()))
    assert single.tolist() == [[0.25] * 3] * 2
    assert selection_entropy(single).item() == pytest.approx(2 * 3 * 0.25 * math.log(4), rel=1e-4)
    assert unreached(single).item() == pytest.approx(2 * (4 / 3 - 1))


def test_a_selector_on_a_code_without_an_expert_stays_finite() -> None:
    gate = Selectors(3, 1, 1.0)
    with torch.no_grad():
        gate.code.fill_(1.0)
    weights, single = gate(torch.zeros(()))
    assert weights.tolist() == [0.0] * 3
    assert torch.autograd.grad(unreached(single), gate.code)[0].isfinite().all()


@pytest.mark.parametrize("per_item", [False, True])
@pytest.mark.parametrize("experts", [3, 4])
def test_the_regulariser_acts_on_every_task(per_item: bool, experts: int) -> None:
    model = built("image", experts=experts, per_item=per_item, entropy=0.1)
    model(images())
    terms = model.penalties()
    expected = {f"{t}: entropy of the gate" for t in TASKS}
    if experts == 3:
        expected |= {f"{t}: codes without an expert" for t in TASKS}
    assert set(terms) == expected
    sum(terms.values()).backward()
    for task in TASKS:
        for name, parameter in model.gates[task].named_parameters():
            if name.startswith("code"):
                assert parameter.grad.ne(0).any(), f"{name} of {task}"


@pytest.mark.slow
def test_the_trainer_minimises_the_regulariser() -> None:
    """With a weight far above the losses every gate decides; without it, not every one."""
    x = torch.zeros(())
    left = {}
    for entropy in (0.0, 5.0):
        model = digit_model("dselect_k", entropy=entropy)
        trained(model, epochs=4, batch_size=48)
        left[entropy] = {t: selection_entropy(model.gates[t](x)[1]).item() for t in TASKS_OF_DIGITS}
        assert model.penalties().keys() == (
            {f"{t}: entropy of the gate" for t in left[entropy]} if entropy else set()
        )
    assert max(left[5.0].values()) < 0.2 < 1.0 < max(left[0.0].values())


TASKS_OF_DIGITS = ("digit", "even", "ink")


@pytest.mark.parametrize("experts", [4, 6])
def test_at_most_k_experts_are_left_after_convergence(experts: int) -> None:
    model = digit_model("dselect_k", experts=experts, selected=2, entropy=1.0)
    losses = trained(model, epochs=5)
    assert losses[-1] < 0.6 * losses[0]
    for weights in model.gate_usage({"image": digits()[0]["image"][:20]}).values():
        assert 1 <= int((weights != 0).sum()) <= 2
        assert float(weights.sum()) == pytest.approx(1)


def test_terms_do_not_grow_with_the_batch_nor_stay_in_evaluation() -> None:
    model = built("table", experts=3, per_item=True)
    x = first(wine()[0], 16)
    model(x)
    once = model.penalties()
    model({name: torch.cat([value, value]) for name, value in x.items()})
    twice = model.penalties()
    for name, value in once.items():
        torch.testing.assert_close(value, twice[name])
    model(x, tasks=("b",))
    assert {name.split(":")[0] for name in model.penalties()} == {"b"}
    model.eval()
    model(x)
    assert model.penalties() == {}


def test_static_gates_read_nothing() -> None:
    """So features may be codes there, and the cut is the experts alone."""
    x = images(5)
    model = built("words", shared_stages=0)
    _, features = model(x, return_features=True)
    assert len(features) == 4
    with pytest.raises(UserError, match="embed the input"):
        built("words", shared_stages=0, per_item=True)
    _, features = built("image", per_item=True)(x, return_features=True)
    assert [tuple(f.shape) for f in features] == [(5, 16, 2, 2)] * 4 + [(5, 4)]


def test_static_weights_are_alike_for_all_items_and_differ_between_tasks() -> None:
    model = built("image")
    usage = model.gate_usage(images(3))
    assert usage["a"].equal(model.gate_usage(images(30)[9:])["a"])
    assert not usage["a"].equal(usage["b"])
    assert float(usage["a"].sum()) == pytest.approx(1)
    assert model.gate_entropy(images(3))["a"] == pytest.approx(1, abs=1e-2)
    other = built("image", per_item=True)
    assert not other.gate_usage(images(3))["a"].equal(other.gate_usage(images(30)[9:])["a"])


def test_one_expert_is_hard_sharing() -> None:
    one = built("image", experts=1, selected=1)
    torch.manual_seed(0)
    other = HardSharing(ENCODERS["image"](), TASKS)
    x = images()
    mine, expected = one(x), other(x)
    assert all(mine[t].equal(expected[t]) for t in TASKS)
    assert one.penalties() == {}


def test_gates_decide_in_full_precision() -> None:
    model = built("image", per_item=True)
    with torch.autocast("cpu", torch.bfloat16):
        weights, single = model.gates["a"](torch.randn(4, 4))
    assert weights.dtype == single.dtype == torch.float32


def test_saving_and_loading() -> None:
    for per_item in (False, True):
        one, other = (built("image", seed=s, per_item=per_item) for s in (0, 1))
        assert same_after_loading(one, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selected": 5}, "at most the number of experts, 4, found 5"),
        ({"selected": 0}, "selected must be"),
        ({"experts": 0, "selected": 1}, "experts must be"),
        ({"gamma": 0}, "gamma must be a finite number above 0, found 0"),
        ({"gamma": math.inf}, "gamma must be"),
        ({"gamma": "wide"}, "gamma must be"),
        ({"entropy": -1}, "entropy must be a finite number at least 0"),
        ({"entropy": True}, "entropy must be"),
        ({"shared_stages": 4}, "from 0 to 3"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        built("image", **options)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "by item": ("table", {"per_item": True}),
    "no power of two": ("image", {"experts": 3, "entropy": 0.0}),
    "no power of two, by item": ("image", {"experts": 5, "selected": 3, "per_item": True}),
    "one selector": ("tokens", {"selected": 1, "experts": 2, "gamma": 0.5}),
    "one selector, by item": ("tokens", {"selected": 1, "per_item": True}),
    "flattening": ("flattening", {"shared_stages": 2, "head_hidden": (6,)}),
    "graphs": ("graphs", {"per_item": True}),
    "learned context": ("learned context", {"experts": 2}),
    "words": ("words", {"experts": 2, "shared_stages": 0}),
    "one expert": ("image", {"experts": 1, "selected": 1}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = CASES[request.param]

    def make(self) -> Made:
        x = batch_of(self.encoder, 32)
        example = batch_of(self.encoder, 2)
        return DSelectK(ENCODERS[self.encoder](), TASKS, example=example, **self.options), x, TASKS
