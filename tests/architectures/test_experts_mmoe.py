from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from experts_cases import MeanOfNodes, graphs, scaled, words
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from torch import Tensor, nn
from torch.nn.functional import interpolate
from trunk_cases import digit_model, flattening, images, tokens, trained

from polytask.architectures import HardSharing, Staged, create_architecture, create_encoder
from polytask.architectures.mmoe import MMoE
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TASKS = {task.name: task for task in (A, B, C)}
ENCODERS = {
    "table": lambda: create_encoder("mlp", TABLE, hidden=(16, 12, 8), dropout=0.1),
    "image": lambda: create_encoder("resnet", DIGITS, width=4),
    "tokens": tokens,
    "flattening": flattening,
    "graphs": graphs,
    "pooled graphs": lambda: graphs(MeanOfNodes()),
    "learned context": scaled,
}


def batch_of(encoder: str, count: int = 24) -> Any:
    return first(wine()[0], count) if encoder == "table" else images(count)


def built(encoder: str, seed: int = 0, tasks: Any = TASKS, **options: Any) -> MMoE:
    torch.manual_seed(seed)
    return MMoE(ENCODERS[encoder](), tasks, example=batch_of(encoder, 2), **options)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("shared_stages", [None, 0, 1])
def test_one_expert_is_hard_sharing(encoder: str, shared_stages: int | None) -> None:
    x = batch_of(encoder)
    one = built(encoder, experts=1, shared_stages=shared_stages)
    torch.manual_seed(0)
    other = HardSharing(ENCODERS[encoder](), TASKS, example=batch_of(encoder, 2))
    answers, gradients = [], []
    for model in (one, other):
        torch.manual_seed(1)
        outputs, z = model(x, return_features=True)
        sum(o.square().sum() for o in outputs.values()).backward()
        answers.append([*outputs.values(), z])
        gradients.append(sorted(float(p.grad.abs().sum()) for p in model.parameters()))
    assert all(a.equal(b) for a, b in zip(*answers, strict=True))
    assert gradients[0] == gradients[1]
    assert one.gate_usage(x).keys() == TASKS.keys()
    assert one.gate_entropy(x) == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_it_is_the_formula() -> None:
    """Every layer written out, for a table and two experts of two layers."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(11, 6), nn.Tanh(), nn.Linear(6, 5))
    x = wine()[0]["numeric"][:20]
    model = MMoE(encoder, [A, B], experts=2, example=x)
    s = model.state_dict()
    z = []
    for e in range(2):
        at = f"experts.{e}.stages"
        hidden = torch.tanh(x @ s[f"{at}.0.0.weight"].T + s[f"{at}.0.0.bias"])
        z.append(hidden @ s[f"{at}.1.weight"].T + s[f"{at}.1.bias"])
    for task in ("a", "b"):
        weight = torch.exp(x @ s[f"gates.{task}.weight"].T + s[f"gates.{task}.bias"])
        mixed = (weight[:, :1] * z[0] + weight[:, 1:] * z[1]) / weight.sum(dim=1, keepdim=True)
        head = f"heads.{task}.layers.0"
        expected = mixed @ s[f"{head}.weight"].T + s[f"{head}.bias"]
        torch.testing.assert_close(model(x)[task], expected)


def test_the_first_expert_has_the_given_weights_and_the_others_their_own() -> None:
    encoder = create_encoder("mlp", TABLE, hidden=(16, 8))
    given = encoder.stages[0][0].weight
    model = MMoE(encoder, [A], experts=3)
    weights = [expert.stages[0][0].weight for expert in model.experts]
    assert weights[0] is given
    assert not weights[1].equal(given)
    assert not weights[1].equal(weights[2])
    assert model.copied == ()


def test_a_pretrained_encoder_is_kept_when_asked() -> None:
    model = built("image", fresh=False)
    states = [expert.state_dict() for expert in model.experts]
    assert all(value.equal(states[0][name]) for s in states[1:] for name, value in s.items())
    assert len({p.data_ptr() for p in model.parameters()}) == len(list(model.parameters()))


def test_a_task_starts_the_same_in_any_company() -> None:
    one = built("image").prune("b").state_dict()
    other = built("image", tasks=[Output("z", 4), B]).prune("b").state_dict()
    assert list(one) == list(other)
    assert all(value.equal(other[name]) for name, value in one.items())


def test_frozen_parts_keep_their_weights() -> None:
    """Nothing would train what was drawn in their place."""
    torch.manual_seed(0)
    encoder = flattening()
    norm = encoder.stages[0][1]
    norm.running_mean.fill_(3.0)
    encoder.stages[0].requires_grad_(False)
    encoder.stages[1][0].bias.requires_grad_(False)
    model = MMoE(encoder, [A, B], experts=3, shared_stages=0, example=images(2))
    for expert in list(model.experts)[1:]:
        assert expert.stages[0][0].weight.equal(encoder.stages[0][0].weight)
        assert expert.stages[0][1].running_mean.equal(norm.running_mean)
        assert expert.stages[1][0].bias.equal(encoder.stages[1][0].bias)
        assert not expert.stages[1][0].weight.equal(encoder.stages[1][0].weight)


def test_gates_start_from_weights_of_their_own() -> None:
    first, second = (built("image").gates[task].weight for task in ("a", "b"))
    assert not first.equal(second)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_weights_sum_to_one(encoder: str) -> None:
    model = built(encoder, experts=3).train()
    seen: list[Tensor] = []
    for gate in model.gates.children():
        gate.register_forward_hook(lambda _, __, weights: seen.append(weights))
    model(batch_of(encoder))
    assert len(seen) == 3
    for weights in seen:
        assert weights.shape == (24, 3)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(24))


def test_usage_is_the_mean_weight_in_eval_mode() -> None:
    model = built("table").train()
    x = batch_of("table")
    usage = model.gate_usage(x)
    assert model.training
    assert all(module.training for module in model.modules())
    h = model.trunk(x)[0]
    for task in TASKS:
        torch.testing.assert_close(usage[task], model.gates[task](h).mean(dim=0).detach())
        assert not usage[task].requires_grad
    pruned = model.prune("b")
    assert pruned.gate_usage(x)["b"].equal(usage["b"])
    assert not model.gates["b"]._forward_hooks


def test_entropy_of_the_gates() -> None:
    model = built("table")
    gate = model.gates["a"]
    with torch.no_grad():
        gate.weight.zero_()
        gate.bias.zero_()
        model.gates["b"].bias.copy_(torch.tensor([1e4, 0, 0, 0]))
        model.gates["c"].weight.zero_()
        model.gates["c"].bias.copy_(torch.tensor([0.0, 0, -1e4, -1e4]))
    entropy = model.gate_entropy(batch_of("table"))
    assert entropy["a"] == pytest.approx(1.0)
    assert entropy["b"] == 0.0
    assert entropy["c"] == pytest.approx(math.log(2) / math.log(4))


def test_gates_do_not_read_pixels() -> None:
    """They read channels, pooled, after the first stage: images of any size will do."""
    model = built("image").eval()
    assert model.shared_stages == 1
    assert model.gates["a"].in_features == 4
    x = images(6)
    h = model.trunk(x)[0]
    expected = model.gates["a"](h.mean(dim=(2, 3))).mean(dim=0)
    torch.testing.assert_close(model.gate_usage(x)["a"], expected.detach())
    assert model(interpolate(x, size=(12, 16)))["a"].shape == (6, 1)


def test_padding_moves_no_gate() -> None:
    model = built("tokens")
    context = {"mask": torch.tensor([[True] * 5 + [False] * 3])}
    h = torch.randn(1, 8, 12)
    seen = []
    model.gates["a"].register_forward_hook(lambda _, __, weights: seen.append(weights))
    model.trunk.forward = lambda x: (x, context)
    for junk in (0.0, 1e3):
        model(torch.cat([h[:, :5], torch.full_like(h[:, 5:], junk)], dim=1))
    assert seen[0].equal(seen[1])


@pytest.mark.parametrize("encoder", ["graphs", "pooled graphs"])
def test_a_graph_is_answered_as_it_is_alone(encoder: str) -> None:
    """Nodes have the weights of their own graph, whatever else is in the batch."""
    model = built(encoder).eval()
    x = images(7)
    together = model(x)
    for i in range(7):
        alone = model(x[i : i + 1])
        for task in TASKS:
            torch.testing.assert_close(alone[task][0], together[task][i])


def test_where_experts_branch_off() -> None:
    def at(encoder: nn.Module, example: Any = None) -> int:
        return MMoE(encoder, [A], experts=2, example=example).shared_stages

    x = images(2)
    table = create_encoder("mlp", TABLE)
    assert at(table) == at(table, first(wine()[0], 2)) == 0
    assert at(create_encoder("resnet", DIGITS, width=4)) == 1
    assert at(create_encoder("resnet", DIGITS, width=4), x) == 1
    assert at(tokens()) == at(tokens(), x) == at(graphs(), x) == at(graphs()) == 1
    assert at(words(), x) == at(words()) == 1
    # One stage is each expert's own.
    assert at(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), x) == 0
    # Layers on flattened pixels look like a table, unless an example shows the image.
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))
    assert at(flat, x) == 1
    assert at(flat[1:], x.flatten(1)) == 0


def test_every_number_of_shared_stages_computes_them_once() -> None:
    for shared in range(4):
        model = built("image", shared_stages=shared, experts=3)
        assert [len(expert.stages) for expert in model.experts] == [4 - shared] * 3
        assert len(model.trunk.stages) == shared
        calls: list[int] = []
        for stage in model.trunk.stages:
            stage.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        assert model(images(2))["b"].shape == (2, 3)
        assert len(calls) == shared


def test_the_features_are_experts_and_what_gates_read() -> None:
    _, features = built("image")(images(5), return_features=True)
    assert [tuple(f.shape) for f in features] == [(5, 16, 2, 2)] * 4 + [(5, 4)]
    # Raw columns lead to no parameter: gates that read them are on the tasks' side as a whole.
    model = MMoE(create_encoder("mlp", type(TABLE)(numeric=11)), [A, B], experts=2)
    _, features = model({"numeric": wine()[0]["numeric"][:5]}, return_features=True)
    assert [tuple(f.shape) for f in features] == [(5, 128)] * 2
    with torch.no_grad():
        _, features = model({"numeric": wine()[0]["numeric"][:5]}, return_features=True)
    assert features


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_batch_of_one_row(encoder: str) -> None:
    model = built(encoder)
    model.eval()
    assert all(o.isfinite().all() and len(o) == 1 for o in model(batch_of(encoder, 1)).values())


def test_heads_of_ones_own_and_places() -> None:
    model = built("image", heads={"b": nn.Conv2d(16, 3, 1)}, head_hidden=(6,))
    assert model(images(3))["b"].shape == (3, 3, 2, 2)
    with pytest.raises(UserError, match="did you mean 'a'"):
        built("image", heads={"aa": nn.Linear(16, 1)})


class InPlace(Staged):
    """Begins its second stage with a change of what it reads."""

    def __init__(self) -> None:
        second = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4))
        super().__init__([nn.Linear(11, 6), second], widths=(6, 4), entrance_width=11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: built("table", experts=0), "experts must be"),
        (lambda: built("table", experts=True), "experts must be"),
        (lambda: built("table", experts=2.0), "experts must be"),
        (lambda: built("table", shared_stages=3), "from 0 to 2, as the encoder has 3 stages"),
        (lambda: built("table", shared_stages=-1), "found -1"),
        (lambda: built("table", shared_stages=True), "found True"),
        (lambda: built("table", tasks=[]), "at least one task"),
        (
            lambda: MMoE(words(), [A], shared_stages=0, example=images(2)),
            "embed the input in the encoder's entrance",
        ),
        (
            lambda: MMoE(InPlace(), [A], shared_stages=1, example=wine()[0]["numeric"][:2]),
            "stage 2 of the encoder InPlace changes its input in place",
        ),
        (lambda: MMoE(nn.Linear(3, 2), [A]), "pass|Pass"),
        (
            lambda: create_architecture("mmoe", create_encoder("mlp", TABLE), [A], expert=2),
            "did you mean 'experts'",
        ),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_one_expert_may_change_its_input() -> None:
    x = wine()[0]["numeric"][:4]
    assert MMoE(InPlace(), [A], experts=1, shared_stages=1, example=x)(x)["a"].shape == (4, 1)


def test_it_learns_real_digits() -> None:
    losses = trained(digit_model("mmoe", experts=2))
    assert losses[-1] < 0.6 * losses[0]


def test_tasks_that_differ_come_to_differ_in_their_gates() -> None:
    """Parity and the amount of ink: after training their gates prefer different experts."""
    model = digit_model("mmoe", experts=3)
    x = {"image": digits()[0]["image"][:300]}
    start = model.gate_usage(x)
    trained(model)
    usage = model.gate_usage(x)
    moved = {t: float((usage[t] - start[t]).abs().sum()) for t in usage}
    assert min(moved.values()) > 0.01
    assert float((usage["even"] - usage["ink"]).abs().sum()) > 0.05


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "table": ("table", {"experts": 3, "shared_stages": 1, "head_hidden": (6,)}),
    "whole table": ("table", {"experts": 2, "shared_stages": 0}),
    "image, from its pixels": ("image", {"experts": 2, "shared_stages": 0}),
    "last block": ("image", {"experts": 5, "shared_stages": 3}),
    "tokens": ("tokens", {"experts": 2}),
    "flattening": ("flattening", {"experts": 3, "shared_stages": 2}),
    "graphs": ("graphs", {"experts": 2}),
    "pooled graphs": ("pooled graphs", {"experts": 2, "shared_stages": 0}),
    "learned context": ("learned context", {"experts": 2}),
    "one expert": ("image", {"experts": 1}),
    "pretrained": ("flattening", {"experts": 2, "fresh": False}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = CASES[request.param]

    def make(self) -> Made:
        x = batch_of(self.encoder, 32)
        example = batch_of(self.encoder, 2)
        return MMoE(ENCODERS[self.encoder](), TASKS, example=example, **self.options), x, TASKS
