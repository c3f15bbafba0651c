from __future__ import annotations

from typing import Any

import pytest
import torch
from experts_cases import MeanOfNodes, graphs, scaled
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import HardSharing, create_encoder
from polytask.architectures.cgc import CGC
from polytask.architectures.mmoe import MMoE
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TASKS = {task.name: task for task in (A, B, C)}
ENCODERS = {
    "table": lambda: create_encoder("mlp", TABLE, hidden=(16, 12, 8)),
    "image": lambda: create_encoder("resnet", DIGITS, width=4),
    "tokens": tokens,
    "flattening": flattening,
    "graphs": graphs,
    "pooled graphs": lambda: graphs(MeanOfNodes()),
    "learned context": scaled,
}


def batch_of(encoder: str, count: int = 24) -> Any:
    return first(wine()[0], count) if encoder == "table" else images(count)


def built(kind: type, encoder: str, seed: int = 0, tasks: Any = TASKS, **options: Any) -> Any:
    torch.manual_seed(seed)
    return kind(ENCODERS[encoder](), tasks, example=batch_of(encoder, 2), **options)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("experts", [1, 3])
def test_without_own_experts_it_is_mmoe(encoder: str, experts: int) -> None:
    one = built(CGC, encoder, shared_experts=experts, task_experts=0)
    other = built(MMoE, encoder, experts=experts)
    assert [n for n, _ in one.named_parameters()] == [n for n, _ in other.named_parameters()]
    x = batch_of(encoder)
    for model in (one, other):
        torch.manual_seed(1)
        sum(o.square().sum() for o in model(x).values()).backward()
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        assert p.equal(q)
        assert p.grad.equal(q.grad)


def test_own_experts_change_nothing_in_the_shared_ones() -> None:
    states = [built(CGC, "image", task_experts=n).state_dict() for n in (0, 2)]
    for name, value in states[0].items():
        if not name.startswith("gates."):
            assert value.equal(states[1][name]), name


def test_an_own_expert_hears_its_task_alone() -> None:
    model = built(CGC, "image", task_experts=2)
    model(images())["b"].square().sum().backward()
    for name, parameter in model.named_parameters():
        own = name.split(".")[0] in ("own", "gates", "heads")
        assert (parameter.grad is not None) == (not own or name.split(".")[1] == "b"), name


def test_a_gate_that_shuts_out_the_shared_experts_makes_a_single_task() -> None:
    """All weight on the own expert: what the shared experts hold does not matter."""
    model = built(CGC, "table", shared_stages=0, shared_experts=2, task_experts=1).eval()
    for gate in model.gates.children():
        torch.nn.init.zeros_(gate.weight)
        gate.bias.data = torch.tensor([-1e4, -1e4, 1e4])
    x = batch_of("table")
    outputs = model(x)
    for parameter in model.experts.parameters():
        torch.nn.init.zeros_(parameter)
    again = model(x)
    assert all(again[t].equal(outputs[t]) for t in TASKS)
    h, context = model.trunk(x)
    for task in TASKS:
        z = model.own[task][0](h, context)
        torch.testing.assert_close(outputs[task], model.heads[task](z))
        assert model.gate_usage(x)[task].tolist() == [0, 0, 1]


def test_a_gate_over_own_and_shared_experts_sums_to_one() -> None:
    model = built(CGC, "image", shared_experts=3, task_experts=2)
    for usage in model.gate_usage(images()).values():
        assert usage.shape == (5,)
        assert float(usage.sum()) == pytest.approx(1)


def test_the_mixture_is_the_formula() -> None:
    model = built(CGC, "image", shared_experts=2, task_experts=1).eval()
    x = images(6)
    h, context = model.trunk(x)
    g = h.mean(dim=(2, 3))
    outputs = model(x)
    for task in TASKS:
        z = torch.stack([e(h, context) for e in [*model.experts, *model.own[task]]], dim=1)
        gate = model.gates[task]
        w = torch.softmax(g @ gate.weight.T + gate.bias, dim=1)
        mixed = torch.einsum("ne,nechw->nchw", w, z)
        torch.testing.assert_close(outputs[task], model.heads[task](mixed))


def test_a_task_starts_the_same_in_any_company() -> None:
    one = built(CGC, "image").prune("b").state_dict()
    other = built(CGC, "image", tasks=[Output("z", 4), B]).prune("b").state_dict()
    assert list(one) == list(other)
    assert all(value.equal(other[name]) for name, value in one.items())


def test_one_task_and_no_own_expert_is_hard_sharing() -> None:
    one = built(CGC, "image", tasks=[B], shared_experts=1, task_experts=0).eval()
    torch.manual_seed(0)
    other = HardSharing(ENCODERS["image"](), [B]).eval()
    assert one(images())["b"].equal(other(images())["b"])


def test_own_experts_are_not_computed_for_others() -> None:
    model = built(CGC, "table")
    for expert in model.own["a"]:
        expert.register_forward_pre_hook(lambda *_: pytest.fail("an expert of another task ran"))
    model(batch_of("table"), tasks=("b", "c"))


def test_the_cut_goes_round_nothing_that_is_learned() -> None:
    """Own experts read the features, and a learned context, on the tasks' side of the cut."""
    _, features = built(CGC, "learned context")(images(5), return_features=True)
    assert [tuple(f.shape) for f in features] == [(5, 6), (5, 6), (6,)]
    _, features = built(CGC, "image")(images(5), return_features=True)
    assert [tuple(f.shape) for f in features] == [(5, 16, 2, 2)] * 2 + [(5, 4, 8, 8)]


def test_saving_and_loading() -> None:
    assert same_after_loading(built(CGC, "image"), built(CGC, "image", seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shared_experts": 0}, "shared_experts must be"),
        ({"task_experts": -1}, "task_experts must be"),
        ({"task_experts": False}, "task_experts must be"),
        ({"task_experts": 1.5}, "task_experts must be"),
        ({"shared_stages": 4}, "from 0 to 3"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(CGC, "image", **options)


def test_it_learns_real_digits() -> None:
    model = digit_model("cgc", shared_experts=1)
    losses = trained(model, method="pcgrad", epochs=3)
    assert losses[-1] < 0.6 * losses[0]
    assert all(w.shape == (2,) for w in model.gate_usage({"image": digits()[0]["image"]}).values())


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "table": ("table", {"shared_experts": 1, "task_experts": 2, "shared_stages": 2}),
    "image, from its pixels": ("image", {"shared_stages": 0}),
    "last block": ("image", {"shared_stages": 3, "head_hidden": (6,)}),
    "tokens": ("tokens", {}),
    "flattening": ("flattening", {"shared_experts": 1}),
    "graphs": ("graphs", {}),
    "pooled graphs": ("pooled graphs", {"shared_stages": 0}),
    "learned context": ("learned context", {}),
    "no own experts": ("image", {"task_experts": 0}),
    "pretrained": ("flattening", {"fresh": False}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = CASES[request.param]

    def make(self) -> Made:
        x = batch_of(self.encoder, 32)
        example = batch_of(self.encoder, 2)
        return CGC(ENCODERS[self.encoder](), TASKS, example=example, **self.options), x, TASKS
