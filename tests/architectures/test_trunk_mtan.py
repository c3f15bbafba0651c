from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask import create_method
from polytask.architectures import Staged, create_encoder
from polytask.architectures._mtan import at_places_of
from polytask.architectures.mtan import MTAN
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def two_maps() -> Staged:
    """[N, 4, 8, 8], then [N, 6, 4, 4]."""
    stages = [nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2, padding=1)]
    return Staged(stages, widths=(4, 6))


def state(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """What is below a prefix; norms away from their initial values."""
    return {n[len(prefix) :]: v for n, v in model.state_dict().items() if n.startswith(prefix)}


def normed(h: Tensor, own: dict[str, Tensor], name: str) -> Tensor:
    """Batch norm in evaluation, written out."""
    mean, var, weight, bias = (
        own[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (h - mean) / (var + 1e-5).sqrt() * weight + bias


def one_by_one(h: Tensor, own: dict[str, Tensor], name: str) -> Tensor:
    return conv2d(h, own[f"{name}.weight"][:, :, None, None])


def mask_of(h: Tensor, own: dict[str, Tensor]) -> Tensor:
    hidden = normed(one_by_one(h, own, "first"), own, "first_norm").relu()
    return normed(one_by_one(hidden, own, "second"), own, "second_norm").sigmoid()


@pytest.mark.parametrize("shared", [True, False])
def test_it_is_the_formula_written_out(shared: bool) -> None:
    torch.manual_seed(0)
    model = MTAN(two_maps(), [A, B], shared_transition=shared)
    for _ in range(3):
        model(images())  # norms see data
    model.eval()
    outputs = model(images())
    for task in "ab":
        p1 = model.encoder.stages[0](images())
        p2 = model.encoder.stages[1](p1)
        own = [state(model, f"attention.{task}.{j}.") for j in (0, 1)]
        f = state(model, "transitions.0." if shared else f"transitions.{task}.0.")
        attended = mask_of(p1, own[0]) * p1
        previous = normed(one_by_one(attended, f, "map"), f, "norm").relu()
        both = torch.cat([avg_pool2d(p1, 2), avg_pool2d(previous, 2)], dim=1)
        attended = mask_of(both, own[1]) * p2
        expected = model.heads[task].get_submodule("layers.0")(attended.mean(dim=(2, 3)))
        torch.testing.assert_close(outputs[task], expected)


@pytest.mark.parametrize("encoder", [mlp, tokens, flattening, two_maps])
def test_masks_lie_between_0_and_1_at_every_channel_and_place(encoder: Any) -> None:
    x = first(wine()[0], 32) if encoder is mlp else images()
    model = MTAN(encoder(), [A, B])
    found: dict[str, Tensor] = {}
    for task in "ab":
        for j, mask in enumerate(model.attention[task]):
            mask.register_forward_hook(
                lambda _, __, out, key=f"{task}{j}": found.update({key: out})
            )
    shapes = []
    for stage in model.encoder.stages:
        stage.register_forward_hook(lambda _, __, out: shapes.append(out.shape))
    model(x)
    assert len(found) == 2 * len(shapes)
    for j, shape in enumerate(shapes):
        for task in "ab":
            assert found[f"{task}{j}"].shape == shape
            assert found[f"{task}{j}"].gt(0).all()
            assert found[f"{task}{j}"].lt(1).all()
        assert not found[f"a{j}"].equal(found[f"b{j}"])


def test_shared_transitions_are_declared_and_one_encoder_pass_serves_all() -> None:
    model = MTAN(mlp(), [A, B, C])
    users = model.shared_parameters()
    transitions = {name: who for name, who in users.items() if name.startswith("transitions")}
    assert len(transitions) == 2 * 3
    assert set(transitions.values()) == {("a", "b", "c")}
    calls = []
    model.encoder.stages[0].register_forward_hook(lambda *_: calls.append(1))
    model(first(wine()[0], 4))
    assert calls == [1]


def test_transitions_of_the_tasks_own_are_declared_so() -> None:
    users = MTAN(mlp(), [A, B], shared_transition=False).shared_parameters()
    found = {who for name, who in users.items() if name.startswith("transitions")}
    assert found == {("a",), ("b",)}


@pytest.mark.parametrize(
    ("encoder", "shared", "shapes"),
    [
        (flattening, False, [(32, 4, 6, 6), (32, 6, 2, 2), (32, 10)]),
        (flattening, True, None),
        (tokens, False, None),  # the exit learns, and every task passes it by itself
    ],
)
def test_features(encoder: Any, shared: bool, shapes: list[tuple[int, ...]] | None) -> None:
    model = MTAN(encoder(), [A, B], shared_transition=shared)
    _, features = model(images(), return_features=True)
    if shapes is None:
        assert features is None
    else:
        assert [tuple(z.shape) for z in features] == shapes


def test_the_cut_balances_as_the_weights_say() -> None:
    torch.manual_seed(0)
    model = MTAN(flattening(), [A, B], shared_transition=False)
    outputs, features = model(images(), return_features=True)
    losses = {task: output.square().mean() for task, output in outputs.items()}
    trunk = list(model.encoder.parameters())
    each = [torch.autograd.grad(loss, trunk, retain_graph=True) for loss in losses.values()]
    step = create_method("mgda").backward(losses, features=features, statistic="features")
    assert step.gramian[0, 1] != 0
    for parameter, a, b in zip(trunk, *each, strict=True):
        expected = step.weights["a"] * a + step.weights["b"] * b
        torch.testing.assert_close(parameter.grad, expected.to(parameter.dtype))


def test_one_stage_is_one_block_without_a_transition() -> None:
    model = MTAN(mlp(8), [A, B])
    x = first(wine()[0], 16)
    _, features = model(x, return_features=True)
    assert isinstance(features, Tensor)
    assert not list(model.transitions.parameters())
    assert model.attention["a"][0].first.weight.shape == (8, 8)


def test_reduction_narrows_the_attention() -> None:
    model = MTAN(mlp(16, 8), [A], reduction=4)
    shapes = [tuple(mask.first.weight.shape) for mask in model.attention["a"]]
    assert shapes == [(4, 16), (2, 24)]
    assert MTAN(mlp(3, 3), [A], reduction=9).attention["a"][1].first.weight.shape == (1, 6)


def test_features_brought_to_other_places() -> None:
    maps = torch.randn(2, 3, 6, 4)
    brought = at_places_of(maps, torch.empty(2, 9, 3, 2), 1, {})
    torch.testing.assert_close(brought, avg_pool2d(maps, 2))
    assert at_places_of(maps, torch.empty(2, 9, 6, 4), 1, {}) is maps
    last = at_places_of(maps.movedim(1, -1), torch.empty(2, 3, 2, 9), -1, {})
    torch.testing.assert_close(last, brought.movedim(1, -1))
    torch.testing.assert_close(at_places_of(maps, torch.empty(2, 5), 1, {}), maps.mean(dim=(2, 3)))
    rows = torch.randn(2, 3)
    assert at_places_of(rows, torch.empty(2, 9, 2, 2), 1, {}).equal(
        rows[:, :, None, None].expand(2, 3, 2, 2)
    )
    flat = at_places_of(maps, torch.empty(2, 9, 12), 1, {})
    torch.testing.assert_close(flat, maps.flatten(2).unflatten(2, (12, 2)).mean(3))
    up = at_places_of(torch.randn(2, 4, 5), torch.empty(2, 8, 5), -1, {})
    assert up[:, ::2].equal(up[:, 1::2])


def test_rows_that_are_nodes_become_those_of_their_graphs() -> None:
    nodes, segments = torch.rand(5, 3), torch.tensor([0, 0, 1, 1, 1])
    context = {"segments": segments, "items": 2}
    brought = at_places_of(nodes, torch.empty(2, 7), -1, context)
    torch.testing.assert_close(brought, torch.stack([nodes[:2].mean(0), nodes[2:].mean(0)]))


@pytest.mark.parametrize(
    "options",
    [{"shared_transition": False}, {"reduction": 3, "head_hidden": [6]}],
    ids=["own", "reduced"],
)
@pytest.mark.parametrize("encoder", [flattening, tokens, two_maps])
class TestConformance(ArchitectureConformance):
    @pytest.fixture(autouse=True)
    def _case(self, options: dict[str, Any], encoder: Any) -> None:
        self.options, self.encoder = options, encoder

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return MTAN(self.encoder(), tasks, **self.options), images(), tasks


@pytest.mark.parametrize("shared", [True, False])
def test_one_task_and_one_row(shared: bool) -> None:
    model = MTAN(mlp(), [B], shared_transition=shared).train()
    output = model(first(wine()[0], 1))["b"]
    assert output.shape == (1, 3)
    assert output.isfinite().all()


def test_a_task_starts_the_same_in_any_company() -> None:
    states = []
    for tasks in ([A, B, C], [C, B]):
        torch.manual_seed(5)
        states.append(MTAN(mlp(), tasks, shared_transition=False).prune("b").state_dict())
    assert list(states[0]) == list(states[1])
    assert all(value.equal(states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("reduction", [0, -1, 1.5, True, "2"])
def test_a_faulty_reduction(reduction: Any) -> None:
    with pytest.raises(UserError, match="reduction must be"):
        MTAN(mlp(), [A, B], reduction=reduction)


def test_unknown_widths_ask_for_an_example() -> None:
    with pytest.raises(UserError, match=r"example="):
        MTAN(nn.Sequential(nn.Linear(11, 4)), [A])


@pytest.mark.parametrize(("shared", "method"), [(True, "pcgrad"), (False, "linear")])
def test_it_learns_the_real_digits_and_reloads(shared: bool, method: str) -> None:
    model = digit_model("mtan", shared_transition=shared)
    losses = trained(model, method=method)
    assert losses[-1] < 0.75 * losses[0]
    assert same_after_loading(model, digit_model("mtan", 1, shared_transition=shared))
