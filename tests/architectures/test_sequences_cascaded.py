"""Cascades: who reads whose label, what it costs a pruned model, and the pull to earlier values."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from sequence_cases import ABOUT, LONG, VOWELS, encoder, lines, losses, text_model, trained
from torch import Tensor, nn

from polytask.architectures import create_architecture, create_encoder
from polytask.architectures._anchor import Anchor
from polytask.architectures._labels import added, reading
from polytask.architectures.cascaded import Cascaded
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.testing.architectures import ArchitectureConformance, Made


def drawn(model: Any, seed: int = 5) -> Any:
    """The model with label embeddings that say something."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("labels."):
                parameter.copy_(torch.randn(parameter.shape, generator=stream))
    return model


def table_model(count: int = 3, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    made = create_encoder("mlp", TABLE, hidden=(12, 9, 6))
    tasks = [Output(name, 1 + i % 2) for i, name in enumerate("abcd"[:count])]
    return create_architecture("cascaded", made, tasks, **options)


def batch(rows: int = 30) -> dict[str, Tensor]:
    return first(wine()[0], rows)


def test_it_starts_as_multi_depth_heads() -> None:
    one = text_model("cascaded").eval()(lines())
    other = text_model("multi_depth").eval()(lines())
    assert all(one[task].equal(other[task]) for task in one)


def test_tasks_are_spread_over_the_stages_in_order() -> None:
    assert table_model().depths == {"a": 1, "b": 2, "c": 3}
    assert table_model(order=["c", "a", "b"]).depths == {"c": 1, "a": 2, "b": 3}
    assert table_model(4).depths == {"a": 1, "b": 2, "c": 3, "d": 3}
    assert table_model(1).depths == {"a": 3}
    assert [table_model().widths[task] for task in "abc"] == [12, 9, 6]


def test_later_tasks_read_the_probabilities_of_earlier_ones() -> None:
    """By hand, through three stages: a is a number, b has two classes."""
    model = drawn(table_model()).eval()
    x = batch()
    h = model.encoder.stages[0](model.encoder.entrance(x))
    a = model.heads["a"].layers(h)
    h = h + a * model.labels["a"].embedding.weight[:, 0]
    h = model.encoder.stages[1](h)
    b = model.heads["b"].layers(h)
    h = h + b.softmax(1) @ model.labels["b"].embedding.weight.T
    c = model.heads["c"].layers(model.encoder.stages[2](h))
    expected = {"a": a, "b": b, "c": c}
    for task, output in model(x).items():
        torch.testing.assert_close(output, expected[task])


def test_labels_of_tokens_stay_with_their_tokens() -> None:
    """Another answer at one token changes the next task there, with a stage that mixes nothing."""

    class Tokens(nn.Module):
        channel_dim = -1
        output_size = 5

        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.map(x)

    torch.manual_seed(0)
    tasks = [Task("low", "multiclass", classes=(0, 1, 2), places=(7,)), Task("high", "binary")]
    model = drawn(Cascaded(Tokens(), tasks)).eval()
    x = torch.randn(4, 7, 5)
    z = model.encoder(x)
    low = model.heads["low"].layers(z)
    assert model(x)["low"].equal(low.movedim(-1, 1))
    z = z + low.softmax(-1) @ model.labels["low"].embedding.weight.T
    expected = model.heads["high"].layers(z.mean(dim=1))
    torch.testing.assert_close(model(x)["high"], expected)


@pytest.mark.parametrize(
    ("kind", "size", "expected"),
    [
        ("binary", 1, "labels"),
        ("multilabel", 4, "labels"),
        ("regression", 1, "numbers"),
        ("regression", 3, "numbers"),
        ("custom", 2, "numbers"),
        ("multiclass", 3, "classes"),
        (None, 3, "classes"),
        (None, 1, "numbers"),
    ],
)
def test_outputs_are_read_by_their_kind(kind: str | None, size: int, expected: str) -> None:
    assert reading(kind, size) == expected


def test_kinds_of_real_tasks_are_used() -> None:
    model = drawn(text_model("cascaded"))
    assert model.labels["long"].read == "labels"
    assert model.labels["vowels"].read == "classes"
    weight = model.labels["long"].embedding.weight[:, 0]
    output = torch.tensor([[[-2.0, 0.0, 3.0]]])
    expected = output[0, 0].sigmoid()[:, None] * weight
    torch.testing.assert_close(model.labels["long"](output)[0], expected)


def test_labels_fit_features_of_any_layout() -> None:
    item, tokens = torch.randn(2, 3), torch.randn(2, 5, 3)
    rows, maps = torch.randn(2, 3), torch.randn(2, 3, 4, 6)
    assert added(rows, item, 1, {}).equal(rows + item)
    assert added(tokens, item, -1, {}).equal(tokens + item[:, None])
    assert added(maps, item, 1, {}).equal(maps + item[:, :, None, None])
    assert added(tokens, tokens, -1, {}).equal(tokens + tokens)
    torch.testing.assert_close(added(rows, tokens, -1, {}), rows + tokens.mean(1))
    flat = torch.ones(2, 8, 12, 3) * item[:, None, None]
    torch.testing.assert_close(added(maps, flat, 1, {}), maps + item[:, :, None, None])
    nodes, segments = torch.randn(5, 3), torch.tensor([0, 0, 1, 1, 1])
    found = added(nodes, item, -1, {"segments": segments, "items": 2})
    assert found.equal(nodes + item[segments])


def test_an_earlier_answer_is_computed_and_kept_for_the_later_task() -> None:
    model = drawn(table_model(4, order=["d", "c", "b", "a"])).eval()
    x = batch()
    everything = model(x)
    pruned = model.prune("b")
    assert pruned(x)["b"].equal(everything["b"])
    assert set(pruned.heads) == {"d", "c", "b"}
    assert set(pruned.labels) == {"d", "c"}
    assert set(model.prune("d").heads) == {"d"}
    assert pruned.prune("b")(x)["b"].equal(everything["b"]), "pruned twice"


@pytest.mark.parametrize("detached", [False, True])
def test_detached_labels_pass_no_gradient(detached: bool) -> None:
    model = drawn(table_model(2, detach_labels=detached))
    model(batch())["b"].sum().backward()
    low = model.heads["a"].layers[0].weight.grad
    assert low.eq(0).all() if detached else low.ne(0).any()
    assert model.labels["a"].embedding.weight.grad.ne(0).any(), "the embedding learns all the same"
    assert model.shared_parameters()["heads.a.layers.0.weight"] == ("a", "b")
    same = drawn(table_model(2, detach_labels=not detached))
    assert same.eval()(batch())["b"].equal(model.eval()(batch())["b"])


def test_users_of_every_part() -> None:
    users = table_model().shared_parameters()

    def who(prefix: str) -> set[tuple[str, ...]]:
        return {users[name] for name in users if name.startswith(prefix)}

    assert who("encoder.entrance.") == who("encoder.stages.0.") == {("a", "b", "c")}
    assert who("encoder.stages.1.") == {("b", "c")}
    assert who("encoder.stages.2.") == {("c",)}
    assert who("heads.a.") == {("a", "b", "c")}
    assert who("labels.a.") == who("heads.b.") == {("b", "c")}
    assert who("labels.b.") == who("heads.c.") == {("c",)}
    assert not who("labels.c.")


def step(model: Any, scale: float = 0.1) -> None:
    """Move every parameter by `scale`, and tell the model."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale
    model.after_step(1e-3)


def test_the_pull_is_to_the_values_of_some_steps_ago() -> None:
    model = table_model(delta=0.5, every=3)
    users = model.shared_parameters()
    shared = sum(p.numel() for name, p in model.named_parameters() if len(users[name]) > 1)
    for moves in (0, 1, 2, 0, 1, 2, 0):
        found = model.penalties()["successive"].item()
        assert found == pytest.approx(0.5 * shared * (0.1 * moves) ** 2, rel=1e-4)
        step(model)
    gradients = torch.autograd.grad(
        model.penalties()["successive"], list(model.parameters()), allow_unused=True
    )
    for name, gradient in zip(users, gradients, strict=True):
        assert (gradient is not None) == (len(users[name]) > 1), name
        if gradient is not None:
            torch.testing.assert_close(gradient, torch.full_like(gradient, 0.1))


def test_the_earlier_values_are_part_of_the_state() -> None:
    model, other = table_model(delta=1.0, every=3), table_model(seed=1, delta=1.0, every=3)
    step(model)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    for _ in range(3):
        assert model.penalties()["successive"].equal(other.penalties()["successive"])
        step(model), step(other)


def test_a_pruned_model_is_pulled_where_it_still_shares() -> None:
    model = table_model(delta=1.0)
    step(model)
    pruned = model.prune("a", "b")
    users = pruned.shared_parameters()
    shared = sum(p.numel() for name, p in pruned.named_parameters() if len(users[name]) > 1)
    assert pruned.penalties()["successive"].item() == pytest.approx(0.01 * shared, rel=1e-4)
    assert model.prune("c").anchor is None
    assert not model.prune("c").penalties()
    assert table_model(1).anchor is None
    assert table_model(delta=0.0).anchor is None
    assert not any(name.startswith("anchor") for name in table_model(delta=0.0).state_dict())


def test_frozen_parts_are_left_out() -> None:
    torch.manual_seed(0)
    made = create_encoder("mlp", TABLE, hidden=(12, 6))
    made.stages[0].requires_grad_(False)
    model = Cascaded(made, [Output("a"), Output("b")])
    assert not any("stages%2E0" in name for name, _ in model.anchor.named_buffers())


def test_an_anchor_of_names_with_dots() -> None:
    own = {"a.b": nn.Parameter(torch.ones(2)), "a%2Eb.c": nn.Parameter(torch.ones(3))}
    anchor = Anchor(own)
    assert anchor.keep({"a.b": own["a.b"]}) == 1
    with torch.no_grad():
        own["a.b"] += 2
    assert anchor.distance({"a.b": own["a.b"]}).item() == 8


@pytest.mark.parametrize("options", [{}, {"detach_labels": True, "delta": 0.0}])
def test_it_learns_real_lines(options: dict[str, Any]) -> None:
    model = text_model("cascaded", order=["long", "vowels", "about"], **options)
    found = losses(trained(model, epochs=5))
    assert found[-1] < 0.75 * found[0]
    assert all(model.labels[task].embedding.weight.ne(0).any() for task in ("long", "vowels"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "abc"}, "order should be a list"),
        ({"order": ["a", "b", "x"]}, "unknown task in order: 'x'"),
        ({"order": ["a", "b"]}, "each of 3 tasks once"),
        ({"order": ["a", "b", "b"]}, "each of 3 tasks once"),
        ({"delta": -0.1}, "delta must be a finite number at least 0, found -0.1"),
        ({"every": 0}, "every must be"),
    ],
)
def test_it_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        table_model(**options)


class TestOnTokens(ArchitectureConformance):
    """Labels that say something, of tokens and of items, in another order than the tasks'."""

    @pytest.fixture(autouse=True, params=[False, True])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.detached = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (ABOUT, LONG, VOWELS)}
        model = Cascaded(
            encoder(torch.initial_seed(), layers=1),
            tasks,
            order=["vowels", "about", "long"],
            every=2,
            detach_labels=self.detached,
        )
        return drawn(model, torch.initial_seed()), lines(), tasks


class TestOnMaps(ArchitectureConformance):
    """Answers at every pixel, read on at the resolution of the features."""

    def make(self) -> Made:
        tasks = {
            "ink": Task("ink", "regression", places=(8, 8)),
            "dark": Task("dark", "binary", places=(4, 4)),
            "digit": Task("digit", "multiclass", classes=tuple(range(10))),
        }
        made = create_encoder("resnet", DIGITS, width=4)
        model = Cascaded(made, tasks, head_hidden=(6,), delta=0.1)
        return drawn(model, torch.initial_seed()), first(digits()[0], 24), tasks
