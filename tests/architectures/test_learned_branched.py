from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from learned_cases import (
    DIGIT_TASKS,
    A,
    B,
    C,
    Masked,
    equal,
    images,
    reloaded,
    table,
    tokens,
    trained,
    wines,
)
from real_inputs import DIGITS, Output
from torch import Tensor, nn

from polytask.architectures import (
    HardSharing,
    SingleTask,
    Staged,
    create_architecture,
    create_encoder,
)
from polytask.architectures.branched import Branched
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

D, E = Output("d", 1), Output("e", 2)
DEEP = [
    [["a", "b", "c", "d", "e"]],
    [["a", "b", "c"], ["d", "e"]],
    [["b"], ["a", "c"], ["d"], ["e"]],
]


def resnet() -> nn.Module:
    return create_encoder("resnet", DIGITS, width=4)


def built(*tasks: Any, encoder: Callable[[], nn.Module] = table, **options: Any) -> Branched:
    torch.manual_seed(options.pop("seed", 0))
    return Branched(encoder(), tasks or (A, B, C), **options)


class LearnedContext(nn.Module):
    """An entrance that says to every stage what it has learned, as biases of positions do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 6)
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.layer(image[:, 0]), {"mask": self.bias * torch.ones(len(image), 8, 6)}


class Biased(Masked):
    def forward(self, h: Tensor, context: Any) -> Tensor:
        return torch.tanh(self.layer(h)) + context["mask"]


def learned_context() -> nn.Module:
    stages = [Biased(6, 6), Biased(6, 6)]
    encoder = Staged(stages, LearnedContext(), channel_dim=-1, widths=(6, 6))
    encoder.output_size = 6
    return encoder


CASES: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, Any]]] = {
    "deep": (table, wines(48), {"tree": DEEP}),
    "tokens": (tokens, images(), {"groups": [["a", "b"], ["c", "d", "e"]], "at": 1}),
    "maps": (resnet, images(), {"groups": [["a", "d"], ["c"], ["b", "e"]], "at": 0}),
    "alone": (table, wines(48), {"at": 0}),
    "together": (tokens, images(), {"at": 3}),
    "learned-context": (learned_context, images(), {"at": 1}),
    "pretrained": (table, wines(48), {"tree": DEEP, "fresh": False}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Made:
        encoder, batch, options = CASES[self.name]
        tasks = {task.name: task for task in (B, A, C, D, E)}
        return Branched(encoder(), tasks, **options), batch, tasks


def test_one_group_is_hard_sharing() -> None:
    model = built(at=3)
    torch.manual_seed(0)
    plain = HardSharing(table(), [A, B, C])
    outputs, z = model(wines(), return_features=True)
    expected, plain_z = plain(wines(), return_features=True)
    assert equal(outputs, expected)
    assert z.equal(plain_z)


@pytest.mark.parametrize("encoder", [table, resnet, tokens])
def test_every_task_alone_is_single_task(encoder: Callable[[], nn.Module]) -> None:
    model = built(encoder=encoder, at=0)
    torch.manual_seed(0)
    single = SingleTask(encoder(), [A, B, C])
    x = wines() if encoder is table else images()
    outputs, features = model(x, return_features=True)
    assert features is None
    assert equal(outputs, single(x))


def test_a_lone_task_keeps_the_encoder() -> None:
    model = built(B)
    torch.manual_seed(0)
    assert equal(model(wines()), HardSharing(table(), [B])(wines()))


def test_by_default_the_last_stage_is_each_tasks_own() -> None:
    together, alone = (("a", "b", "c"),), (("a",), ("b",), ("c",))
    assert built().tree == (together, together, alone)
    assert built(encoder=lambda: table(8)).tree == (together,)
    assert built(groups=[["c", "a"], ["b"]], at=-2).tree == (
        together,
        (("a", "c"), ("b",)),
        (("a", "c"), ("b",)),
    )


def test_who_shares_what() -> None:
    users = built(A, B, C, D, E, tree=DEEP).shared_parameters()
    found = {name.removesuffix("0.weight"): who for name, who in users.items() if "weight" in name}
    assert found["parts.1.0."] == ("a", "b", "c", "d", "e")
    assert found["parts.2.0."] == ("a", "b", "c")
    assert found["parts.2.1."] == ("d", "e")
    assert [found[f"parts.3.{i}."] for i in range(4)] == [("a", "c"), ("b",), ("d",), ("e",)]


def test_the_cut_follows_the_groups() -> None:
    """Where a group splits, those that stay together are cut deeper, those alone right there."""
    model = built(A, B, C, D, E, tree=DEEP)
    _, cut = model(wines(), return_features=True)
    assert isinstance(cut, list)
    h = model.parts[1][0](model.parts[0][0](wines()))
    first, other = model.parts[2][0](h), model.parts[2][1](h)
    # b leaves a and c after stage 1; d and e leave each other there.
    expected = [first, other, model.parts[3][0](first)]
    assert len(cut) == 3
    for one, wanted in zip(cut, expected, strict=True):
        assert one.equal(wanted)
    assert len(model(wines(), tasks=("d", "b"), return_features=True)[1]) == 2
    assert model.prune("b")(wines(), return_features=True)[1] is None


def test_weights_do_not_depend_on_the_order() -> None:
    """Of tasks, of groups, nor of names in a group."""
    model = built(A, B, C, groups=[["a", "c"], ["b"]], at=1)
    other = built(C, B, A, groups=[["b"], ["c", "a"]], at=1)
    assert model.tree == other.tree
    # By name: heads are in the order of the tasks.
    assert equal(dict(sorted(model.state_dict().items())), dict(sorted(other.state_dict().items())))


def test_copies_differ_unless_pretrained() -> None:
    def first_weights(model: Branched) -> list[Tensor]:
        return [part.state_dict()["0.weight"] for part in model.parts[3]]

    encoder = table()
    given = encoder.stages[2].state_dict()["0.weight"]
    weights = first_weights(built(encoder=lambda: encoder))
    for i, one in enumerate([given, *weights]):
        assert not any(one.equal(other) for other in weights[i:])
    assert all(w.equal(given) for w in first_weights(built(encoder=lambda: encoder, fresh=False)))


def test_an_affinity_of_blocks() -> None:
    alike = {"a": {"b": 0.1, "c": 0.9}, "b": {"a": 0.1, "c": 0.1}, "c": {"a": 0.9, "b": 0.1}}
    blocks = (("a", "c"), ("b",))
    assert built(affinity=alike, budget=2.0).tree == (blocks,) * 3
    rows = [[1.0, 0.1, 0.9], [0.1, 1.0, 0.1], [0.9, 0.1, 1.0]]
    for order in ((A, B, C), (A, B, C)[::-1]):
        given = rows if order[0] is A else [row[::-1] for row in rows[::-1]]
        assert built(*order, affinity=given).tree == (blocks,) * 3
    # Two thirds of all cost lie in the last stage, which cannot be paid twice.
    cheap = built(affinity=alike, budget=1.4, costs=[1, 1, 4])
    assert cheap.tree == ((("a", "b", "c"),),) * 3
    paid = built(affinity=alike, budget=1.7, costs=[1, 1, 4])
    assert paid.tree == ((("a", "b", "c"),), (("a", "b", "c"),), blocks)
    assert built(affinity=alike, size=100.0).tree == ((("a", "b", "c"),),) * 3


def test_an_affinity_per_stage() -> None:
    alike, unlike = [[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]
    model = built(A, B, affinity=[alike, alike, unlike])
    assert model.tree == ((("a", "b"),), (("a", "b"),), (("a",), ("b",)))


def test_the_size_is_within_the_budget() -> None:
    stream = torch.Generator().manual_seed(0)
    tasks = [Output(name) for name in "abcdefg"]
    one = sum(p.numel() for p in resnet().parameters())
    for budget in (1.0, 1.5, 3.0):
        affinity = torch.rand(7, 7, generator=stream)
        model = built(*tasks, encoder=resnet, affinity=affinity, budget=budget)
        assert sum(p.numel() for p in model.parts.parameters()) <= budget * one


def test_one_row_saving_and_pruning() -> None:
    options: dict[str, Any] = {"tree": DEEP}
    model = built(A, B, C, D, E, **options).eval()
    assert model(wines(1))["c"].shape == (1, 2)
    assert reloaded(model, built(A, B, C, D, E, seed=1, **options), wines())
    pruned = model.prune("d", "a")
    assert pruned.tree[1:] == ((("a",), ("d",)),) * 2
    assert equal(pruned(wines()), {t: o for t, o in model(wines()).items() if t in "ad"})
    assert not [name for name, _ in pruned.named_parameters() if name.startswith("parts.3.1")]
    assert pruned.prune("a").tree[0] == (("a",),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": [["a", "b"]]}, "'c' in none"),
        ({"groups": [["a", "b"], ["b", "c"]]}, "'b' 2 times"),
        ({"groups": [["a", "b"], ["cc"]]}, "did you mean 'c'"),
        ({"groups": ["a", "b", "c"]}, "lists of task names"),
        ({"at": 4}, "which has 3"),
        ({"at": 1.0}, "which has 3"),
        ({"tree": [[["a", "b", "c"]]]}, "the encoder has 3, found 1"),
        ({"tree": "abc"}, "found 'abc'"),
        (
            {"tree": [[["a"], ["b", "c"]], [["a", "b"], ["c"]], [["a"], ["b"], ["c"]]]},
            "a, b are one group at stage 1 but not at stage 0",
        ),
        ({"tree": [], "affinity": [[1.0]]}, "found tree and affinity"),
        ({"at": 1, "affinity": [[1.0]]}, "found at and affinity"),
        ({"affinity": [[1.0]]}, "matrix of the 3 tasks"),
        ({"affinity": torch.eye(3), "budget": 0.5}, "budget must be at least 1"),
        ({"affinity": torch.eye(3), "costs": [1, 2]}, "one number per stage"),
        ({"affinity": torch.eye(3), "costs": [0, 0, 0]}, "one number per stage"),
    ],
)
def test_faulty_trees(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(**options)


def test_by_name_with_what_yaml_can_hold() -> None:
    model = create_architecture(
        "branched", table(), [A, B], affinity={"a": {"b": 0.5}, "b": {"a": 0.5}}, budget=1
    )
    assert model(wines())["a"].shape == (16, 1)
    with pytest.raises(UserError, match="budget should be a number"):
        create_architecture("branched", table(), [A, B], budget="two")


def test_it_learns_digits() -> None:
    groups = [["digit", "even"], ["ink"]]
    losses = trained(built(*DIGIT_TASKS, encoder=resnet, groups=groups, at=2), epochs=5)
    assert losses[-1] < 0.8 * losses[0]
