from __future__ import annotations

from typing import Any

import pytest
import torch
from experts_cases import MeanOfNodes, graphs, scaled, words
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from torch import nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import HardSharing, create_encoder
from polytask.architectures._levels import split
from polytask.architectures.cgc import CGC
from polytask.architectures.ple import PLE
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TASKS = {task.name: task for task in (A, B, C)}
ENCODERS = {
    "table": lambda: create_encoder("mlp", TABLE, hidden=(16, 12, 10, 8)),
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


def answers(model: nn.Module, x: Any) -> tuple[list[torch.Tensor], list[float]]:
    torch.manual_seed(1)
    outputs = model(x)
    sum(o.square().sum() for o in outputs.values()).backward()
    moved = sorted(float(p.grad.abs().sum()) for p in model.parameters())
    return list(outputs.values()), moved


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("own", [0, 1, 2])
def test_one_level_is_cgc(encoder: str, own: int) -> None:
    x = batch_of(encoder)
    one = answers(built(PLE, encoder, levels=1, task_experts=own), x)
    other = answers(built(CGC, encoder, task_experts=own), x)
    assert all(a.equal(b) for a, b in zip(one[0], other[0], strict=True))
    assert one[1] == pytest.approx(other[1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_expert_a_level_is_hard_sharing(encoder: str) -> None:
    x = batch_of(encoder)
    one = built(PLE, encoder, levels=2, shared_stages=0, shared_experts=1, task_experts=0)
    torch.manual_seed(0)
    other = HardSharing(ENCODERS[encoder](), TASKS, example=batch_of(encoder, 2))
    mine, expected = answers(one, x), answers(other, x)
    assert all(a.equal(b) for a, b in zip(mine[0], expected[0], strict=True))
    assert mine[1] == pytest.approx(expected[1], rel=1e-4, abs=1e-5)
    assert one.gate_usage(x, 0)["a"].tolist() == [1]


def test_two_levels_are_the_formula() -> None:
    """Both levels written out with the modules alone; the paths of all tasks and the shared one."""
    model = built(PLE, "image", levels=2, shared_experts=2, task_experts=1).eval()
    x = images(6)
    h, context = model.trunk(x)
    low, high = model.levels
    g = h.mean(dim=(2, 3))

    def weighed(gate: nn.Linear, read: torch.Tensor, experts: list[torch.Tensor]) -> torch.Tensor:
        w = torch.softmax(read @ gate.weight.T + gate.bias, dim=1)
        return torch.einsum("ne,nechw->nchw", w, torch.stack(experts, dim=1))

    shared = [e(h, context) for e in low.experts]
    own = {t: [low.own[i][0](h, context)] for i, t in enumerate(TASKS)}
    paths = {t: weighed(low.gates[t], g, shared + own[t]) for t in TASKS}
    every = shared + own["a"] + own["b"] + own["c"]
    s = weighed(low.shared_gate, g, every)
    top = [e(s, context) for e in high.experts]
    outputs = model(x)
    for task in TASKS:
        experts = [*top, high.own[task][0](paths[task], context)]
        z = weighed(high.gates[task], paths[task].mean(dim=(2, 3)), experts)
        torch.testing.assert_close(outputs[task], model.heads[task](z))


def test_the_shared_path_has_a_gate_over_all_experts_but_at_the_end() -> None:
    model = built(PLE, "table", levels=3, shared_stages=0, shared_experts=2, task_experts=2)
    sizes = [None if lv.shared_gate is None else lv.shared_gate.out_features for lv in model.levels]
    assert sizes == [2 + 3 * 2, 2 + 3 * 2, None]


def test_shared_experts_run_once_a_level() -> None:
    model = built(PLE, "table", levels=3, shared_stages=0)
    calls: list[int] = []
    for level in model.levels:
        for expert in level.experts:
            expert.register_forward_hook(lambda *_: calls.append(1))
    model(batch_of("table"))
    assert len(calls) == 3 * 2


def test_whom_own_experts_serve() -> None:
    """Before the last level all tasks, through the shared path; there their own task."""
    model = built(PLE, "table", levels=4, shared_stages=0)
    users = model.shared_parameters()
    expected = {
        "levels.0.own.1.0": "abc",
        "levels.2.own.1.0": "abc",
        "levels.3.own.b.0": "b",
        "levels.0.gates.1": "abc",
        "levels.1.gates.1": "abc",
        "levels.2.gates.b": "b",
        "levels.3.gates.b": "b",
        "levels.2.shared_gate": "abc",
    }
    for part, tasks in expected.items():
        found = {who for name, who in users.items() if name.startswith(part + ".")}
        assert found == {tuple(tasks)}, part


def test_pruning_keeps_what_the_shared_path_reads() -> None:
    model = built(PLE, "table", levels=3, shared_stages=0).eval()
    pruned = model.prune("b")
    names = {name for name, _ in pruned.named_parameters()}
    assert any(name.startswith("levels.0.own.0.") for name in names)
    assert any(name.startswith("levels.1.own.2.") for name in names)
    assert any(name.startswith("levels.0.gates.0.") for name in names)
    assert not any(".own.a" in name or ".gates.a" in name for name in names)
    x = batch_of("table")
    usage = pruned.gate_usage(x)
    assert list(usage) == ["b"]
    assert usage["b"].equal(model.gate_usage(x)["b"])
    again = pruned.prune("b")
    assert again(x)["b"].equal(model(x)["b"])


def test_a_task_starts_the_same_in_any_company() -> None:
    one = built(PLE, "image")
    other = built(PLE, "image", tasks=[Output("z", 4), B])
    pairs = [
        (one.levels[0].own.of("b"), other.levels[0].own.of("b")),
        (one.levels[1].own["b"], other.levels[1].own["b"]),
        (one.levels[0].gates["b"], other.levels[0].gates["b"]),
        (one.levels[1].experts, other.levels[1].experts),
        (one.heads["b"], other.heads["b"]),
    ]
    for mine, theirs in pairs:
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert p.equal(q)
    own = [one.levels[0].own.of(t)[0].stages[0].branch[0].weight for t in "abc"]
    assert not own[0].equal(own[1])
    assert not own[1].equal(own[2])


def test_the_given_weights_are_those_of_the_first_shared_experts() -> None:
    torch.manual_seed(0)
    encoder = create_encoder("mlp", TABLE, hidden=(8, 8))
    weights = [stage[0].weight for stage in encoder.stages]
    model = PLE(encoder, [A, B])
    assert model.levels[0].experts[0].stages[0][0].weight is weights[0]
    assert model.levels[1].experts[0].stages[0][0].weight is weights[1]


def test_usage_of_every_level() -> None:
    model = built(PLE, "table", levels=3, shared_stages=0, shared_experts=2).train()
    x = batch_of("table")
    for level in (0, 1, 2, -1):
        usage = model.gate_usage(x, level)
        assert list(usage) == list(TASKS)
        for weights in usage.values():
            assert weights.shape == (3,)
            assert float(weights.sum()) == pytest.approx(1)
        entropy = model.gate_entropy(x, level)
        assert all(0 < value <= 1 for value in entropy.values())
    assert model.training
    with pytest.raises(UserError, match="from 0 to 2, found 3"):
        model.gate_usage(x, 3)


@pytest.mark.parametrize(
    ("stages", "shared", "levels", "parts"),
    [
        (1, 0, None, [(0, 1)]),
        (2, 0, None, [(0, 1), (1, 2)]),
        (2, 1, None, [(1, 2)]),
        (4, 1, None, [(1, 3), (3, 4)]),
        (7, 2, 3, [(2, 4), (4, 6), (6, 7)]),
        (5, 0, 5, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]),
    ],
)
def test_the_stages_of_every_level(
    stages: int, shared: int, levels: int | None, parts: list[tuple[int, int]]
) -> None:
    assert split(stages, shared, levels) == parts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 4}, "from 1 to 3, as the encoder has 4 stages, of which 1 are shared"),
        ({"levels": 0}, "found 0"),
        ({"levels": True}, "found True"),
        ({"shared_stages": 3, "levels": 2}, "from 1 to 1"),
        ({"shared_experts": 0}, "shared_experts must be"),
        ({"task_experts": -1}, "task_experts must be"),
        ({"shared_stages": 4}, "from 0 to 3"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(PLE, "image", **options)


def test_words_are_embedded_before_gates_read_them() -> None:
    x = images(4)
    assert PLE(words(), [A, B], example=x)(x)["b"].shape == (4, 3)
    with pytest.raises(UserError, match="embed the input"):
        PLE(words(), [A, B], levels=2, shared_stages=0, example=x)


def test_saving_and_loading() -> None:
    assert same_after_loading(built(PLE, "image"), built(PLE, "image", seed=1))


def test_a_batch_of_one_row() -> None:
    for encoder in ENCODERS:
        model = built(PLE, encoder).eval()
        assert all(len(o) == 1 and o.isfinite().all() for o in model(batch_of(encoder, 1)).values())


def test_it_learns_real_digits() -> None:
    model = digit_model("ple", shared_experts=1)
    losses = trained(model, epochs=3)
    assert losses[-1] < 0.6 * losses[0]
    assert len(model.gate_usage({"image": digits()[0]["image"][:100]})) == 3


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "three levels": ("table", {"levels": 3}),
    "four levels": ("table", {"levels": 4, "shared_experts": 1, "task_experts": 2}),
    "three levels, no own experts": ("table", {"levels": 3, "task_experts": 0}),
    "one level": ("image", {"levels": 1}),
    "from pixels": ("image", {"levels": 3, "shared_stages": 0, "head_hidden": (6,)}),
    "tokens": ("tokens", {"levels": 2}),
    "flattening": ("flattening", {"levels": 3, "shared_stages": 0}),
    "graphs": ("graphs", {"levels": 2, "shared_stages": 0}),
    "pooled graphs": ("pooled graphs", {"levels": 2, "shared_stages": 0}),
    "learned context": ("learned context", {"levels": 3}),
    "learned context, one level": ("learned context", {"levels": 1}),
    "one expert": ("image", {"shared_experts": 1, "task_experts": 0}),
    "pretrained": ("flattening", {"fresh": False}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = CASES[request.param]

    def make(self) -> Made:
        x = batch_of(self.encoder, 32)
        example = batch_of(self.encoder, 2)
        return PLE(ENCODERS[self.encoder](), TASKS, example=example, **self.options), x, TASKS
