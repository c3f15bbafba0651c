from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from real_inputs import DIGITS, TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask import create_method
from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures.hard_sharing import HardSharing
from polytask.architectures.multi_depth import MultiDepth
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def gradients(model: MultiDepth, x: Any, task: str) -> set[str]:
    """The parts of the model that a task's gradient reaches."""
    model.zero_grad(set_to_none=True)
    model(x)[task].square().sum().backward()
    return {
        ".".join(name.split(".")[1:3])
        for name, p in model.named_parameters()
        if p.grad is not None and name.startswith("encoder.stages")
    }


@pytest.mark.parametrize(
    ("tasks", "stages", "expected"),
    [(1, 4, [4]), (2, 4, [2, 4]), (3, 4, [2, 3, 4]), (4, 4, [1, 2, 3, 4]), (5, 2, [1, 1, 2, 2, 2])],
)
def test_default_depths_go_from_shallow_to_deep(
    tasks: int, stages: int, expected: list[int]
) -> None:
    model = MultiDepth(mlp(*[8] * stages), [Output(f"t{i}") for i in range(tasks)])
    assert list(model.depths.values()) == expected


def test_one_stage_is_hard_sharing_to_the_bit() -> None:
    outputs = []
    for architecture in (MultiDepth, HardSharing):
        torch.manual_seed(3)
        model = architecture(mlp(8), [A, B, C], head_hidden=(5,)).eval()
        outputs.append(model(first(wine()[0], 20)))
    assert all(outputs[0][t].equal(outputs[1][t]) for t in "abc")


def test_a_gradient_reaches_the_stages_up_to_its_depth_only() -> None:
    model = MultiDepth(mlp(), [A, B, C], depths={"a": 2, "b": 1, "c": 3})
    x = first(wine()[0], 16)
    assert gradients(model, x, "b") == {"stages.0"}
    assert gradients(model, x, "a") == {"stages.0", "stages.1"}
    assert gradients(model, x, "c") == {"stages.0", "stages.1", "stages.2"}
    assert model.shared_parameters()["encoder.stages.1.0.weight"] == ("a", "c")


def test_outputs_are_the_heads_of_the_stages() -> None:
    model = MultiDepth(flattening(), [A, B, C], depths=[1, 2, 3]).eval()
    x = images()
    h: Tensor = x
    outputs = model(x)
    for stage, task in zip(model.encoder.stages, "abc", strict=True):
        h = stage(h)
        layer = model.heads[task].get_submodule("layers.0")
        pooled = h.flatten(2).mean(2) if h.dim() > 2 else h
        torch.testing.assert_close(outputs[task], layer(pooled))


def test_a_shallow_task_computes_no_deeper_stage() -> None:
    model = MultiDepth(mlp(), [A, B], depths=(1, 3))
    for i in (1, 2):
        model.encoder.stages[i].register_forward_pre_hook(
            lambda *_: pytest.fail("a deeper stage ran")
        )
    model(first(wine()[0], 4), tasks=("a",))


def test_stages_that_nobody_reads_are_left_out() -> None:
    encoder = tokens()
    model = MultiDepth(encoder, [A, B], depths=[1, 2])
    names = {name for name, _ in model.named_parameters() if name.startswith("encoder")}
    assert names == {f"encoder.stages.{i}.layer.{p}" for i in (0, 1) for p in ("weight", "bias")}
    assert model.encoder.stages[0] is encoder.stages[0]
    assert len(encoder.stages) == 3
    assert isinstance(encoder.exit, nn.LayerNorm)


def test_only_a_head_after_the_last_stage_reads_the_exit() -> None:
    encoder = tokens()
    model = MultiDepth(encoder, [A, B], depths=[2, 3]).eval()
    assert model.shared_parameters()["encoder.exit.weight"] == ("b",)
    before = model(images())
    with torch.no_grad():
        encoder.exit.weight.mul_(2)
    after = model(images())
    assert after["a"].equal(before["a"])
    assert not after["b"].equal(before["b"])
    assert not any("exit" in name for name, _ in model.prune("a").named_parameters())


@pytest.mark.parametrize(
    ("depths", "shapes"),
    [
        # Only what two tasks share lies behind the cut: stage 3 is c's alone.
        ([1, 2, 3], [(32, 4, 6, 6), (32, 6, 2, 2)]),
        ([1, 3, 3], [(32, 4, 6, 6), (32, 10)]),
        ([2, 2, 2], [(32, 6, 2, 2)]),
        ([1, 1, 3], [(32, 4, 6, 6)]),
    ],
)
def test_features_are_read_where_tasks_part(
    depths: list[int], shapes: list[tuple[int, ...]]
) -> None:
    model = MultiDepth(flattening(), [A, B, C], depths=depths)
    _, features = model(images(), return_features=True)
    found = [features] if isinstance(features, Tensor) else features
    assert [tuple(z.shape) for z in found] == shapes


def test_the_cut_balances_as_the_weights_say() -> None:
    torch.manual_seed(0)
    model = MultiDepth(flattening(), [A, B, C], depths=[1, 2, 3])
    outputs, features = model(images(), return_features=True)
    losses = {task: output.square().mean() for task, output in outputs.items()}
    users = model.shared_parameters()
    trunk = [p for name, p in model.named_parameters() if len(users[name]) > 1]
    each = [
        torch.autograd.grad(loss, trunk, retain_graph=True, materialize_grads=True)
        for loss in losses.values()
    ]
    step = create_method("mgda").backward(losses, features=features, statistic="features")
    assert step.gramian[1, 2] != 0
    for parameter, *rows in zip(trunk, *each, strict=True):
        expected = sum(step.weights[task] * row for task, row in zip("abc", rows, strict=True))
        torch.testing.assert_close(parameter.grad, expected.to(parameter.dtype))


class PositionsForAll(nn.Module):
    """An entrance with parameters that every stage reads through the context."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(8))

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return image[:, 0], {"positions": self.positions[:, None]}


class ReadsPositions(nn.Linear):
    takes_context = True

    def forward(self, h: Tensor, context: Mapping[str, Tensor]) -> Tensor:
        return super().forward(h + context["positions"])


@pytest.mark.parametrize("case", ["flattening", "tokens", "twice", "context", "truncated"])
class TestConformance(ArchitectureConformance):
    @pytest.fixture(autouse=True)
    def _case(self, case: str) -> None:
        self.case = case

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        if self.case == "flattening":
            made = MultiDepth(flattening(), tasks, depths=[3, 1, 2], head_hidden=[6])
        elif self.case == "tokens":
            made = MultiDepth(tokens(), tasks, depths={"c": 3, "a": 1, "b": 1})
        elif self.case == "twice":
            # A stage that answers the very tensor it read.
            stages = [nn.Conv2d(1, 4, 3), nn.Identity(), nn.Conv2d(4, 5, 3)]
            made = MultiDepth(Staged(stages, widths=(4, 4, 5)), tasks, depths=[1, 2, 3])
        elif self.case == "context":
            stages = [ReadsPositions(8, 8), ReadsPositions(8, 9), ReadsPositions(9, 7)]
            encoder = Staged(stages, PositionsForAll(), channel_dim=-1, widths=(8, 9, 7))
            made = MultiDepth(encoder, tasks, depths=[1, 1, 3])
        else:
            made = MultiDepth(tokens(), tasks, depths=[2, 1, 2])
        return made, images(), tasks


def test_prune_in_two_steps() -> None:
    model = MultiDepth(mlp(), [A, B, C], depths=[1, 2, 3]).eval()
    x = first(wine()[0], 8)
    twice = model.prune("a", "b").prune("b")
    assert twice(x)["b"].equal(model(x)["b"])
    assert twice.shared_parameters()["encoder.stages.1.0.weight"] == ("b",)
    assert not any(name.startswith("encoder.stages.2") for name, _ in twice.named_parameters())


def test_a_batch_of_one_row() -> None:
    model = MultiDepth(mlp(), [A, B])
    assert model(first(wine()[0], 1))["b"].shape == (1, 3)


def test_widths_found_on_an_example_or_asked_for() -> None:
    def plain() -> nn.Module:
        return nn.Sequential(nn.Linear(11, 6), nn.ReLU(), nn.Linear(6, 4))

    x = wine()[0]["numeric"][:4]
    model = MultiDepth(plain(), [A, B], example=x)
    assert model.widths == {1: 6, 2: 4}
    with pytest.raises(UserError, match=r"widths of the stages .* example="):
        MultiDepth(plain(), [A, B])


@pytest.mark.parametrize(
    ("depths", "message"),
    [
        ({"a": 1}, "found none for b"),
        ({"a": 1, "b": 2, "bb": 1}, "did you mean 'b'"),
        ([1], r"2 numbers in the order of the tasks \(a, b\)"),
        ("12", "found '12'"),
        (2, "found 2"),
        ([1, 4], "task 'b' must be a stage.*from 1 to 3, found 4"),
        ([0, 1], "found 0"),
        ([1.0, 2], r"found 1\.0"),
        ([True, 2], "found True"),
    ],
)
def test_faulty_depths(depths: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MultiDepth(mlp(), [A, B], depths=depths)


def test_a_user_s_head_reads_the_map_at_its_depth() -> None:
    dense = nn.Conv2d(4, 2, 1)
    encoder = create_encoder("resnet", DIGITS, width=4)
    model = create_architecture(
        "multi_depth", encoder, [C, A], depths=[1, 4], heads={"c": dense}, example=images(2)
    )
    assert model(images(3))["c"].shape == (3, 2, 8, 8)


def test_it_learns_the_real_digits_and_reloads() -> None:
    depths = {"ink": 1, "even": 3, "digit": 4}
    model = digit_model("multi_depth", depths=depths)
    losses = trained(model)
    assert losses[-1] < 0.6 * losses[0]
    assert same_after_loading(model, digit_model("multi_depth", 1, depths=depths))
