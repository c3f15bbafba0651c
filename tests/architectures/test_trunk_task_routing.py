from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import Staged, create_encoder
from polytask.architectures.hard_sharing import HardSharing
from polytask.architectures.task_routing import TaskRouting
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def masks(model: TaskRouting, stage: int) -> Tensor:
    """[T, C], in the order of the tasks."""
    return torch.stack([model.routes[t].get_buffer(f"stage_{stage}") for t in model.task_names])


@pytest.mark.parametrize(("width", "count"), [(12, 3), (16, 2), (7, 3), (3, 7), (1, 2), (64, 40)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 1])
def test_some_channels_are_everybody_s_and_each_other_is_one_task_s(
    width: int, count: int, share: float
) -> None:
    tasks = [Output(f"t{i}") for i in range(count)]
    model = TaskRouting(mlp(width, width), tasks, share=share)
    for stage in (1, 2):
        used = masks(model, stage).sum(0)
        shared = int((used == count).sum())
        assert shared == max(1, round(share * width))
        assert int((used == 1).sum()) == width - shared
        sizes = masks(model, stage).sum(1)
        assert sizes.max() - sizes.min() <= 1
        assert sizes.min() >= 1


def test_without_sharing_no_two_tasks_have_a_channel_in_common() -> None:
    model = TaskRouting(mlp(), [A, B, C], share=0.0)
    for stage in (1, 2, 3):
        assert masks(model, stage).sum(0).eq(1).all()
        assert masks(model, stage).sum(1).ge(2).all()


@pytest.mark.parametrize("encoder", [mlp, tokens, flattening])
@pytest.mark.parametrize("tasks", [[A, B, C], [B]])
def test_all_channels_shared_is_hard_sharing_to_the_bit(encoder: Any, tasks: list[Output]) -> None:
    x = first(wine()[0], 20) if encoder is mlp else images(20)
    outputs = []
    # A lone task has all channels whatever the share.
    share = 1 if len(tasks) > 1 else 0.3
    for architecture, options in ((TaskRouting, {"share": share}), (HardSharing, {})):
        torch.manual_seed(3)
        outputs.append(architecture(encoder(), tasks, **options)(x))
    assert all(outputs[0][t.name].equal(outputs[1][t.name]) for t in tasks)


def test_outputs_run_through_the_masked_stages() -> None:
    torch.manual_seed(0)
    model = TaskRouting(flattening(), [A, B], share=0.4).eval()
    outputs = model(images())
    for row, task in enumerate("ab"):
        h: Tensor = images()
        for number, stage in enumerate(model.encoder.stages, 1):
            h = stage(h)
            mask = masks(model, number)[row].float()
            h = h * mask.view(1, -1, *[1] * (h.dim() - 2))
        torch.testing.assert_close(outputs[task], model.heads[task].get_submodule("layers.0")(h))


def test_masks_are_no_parameters_and_never_move() -> None:
    model = digit_model("task_routing")
    assert not any("routes" in name for name, _ in model.named_parameters())
    before = {n: v.clone() for n, v in model.state_dict().items() if n.startswith("routes")}
    assert len(before) == 3 * 4
    trained(model, epochs=1, weight_decay=0.1)
    state = model.state_dict()
    assert all(v.equal(state[name]) and v.dtype == torch.bool for name, v in before.items())


def test_a_gradient_stops_at_masked_channels() -> None:
    torch.manual_seed(0)
    model = TaskRouting(Staged([nn.Linear(11, 10)], widths=[10]), [A, B], share=0.2)
    model(wine()[0]["numeric"])["a"].square().sum().backward()
    gradient = model.encoder.stages[0].weight.grad
    moved = gradient.abs().sum(dim=1) > 0
    assert moved.equal(masks(model, 1)[0])


def test_the_order_of_tasks_does_not_matter_and_the_seed_does() -> None:
    drawn = []
    for seed, tasks in ((0, [A, B, C]), (0, [C, A, B]), (1, [A, B, C])):
        torch.manual_seed(seed)
        model = TaskRouting(mlp(64), tasks)
        drawn.append({t: model.routes[t].get_buffer("stage_1") for t in "abc"})
    assert all(drawn[0][t].equal(drawn[1][t]) for t in "abc")
    assert not all(drawn[0][t].equal(drawn[2][t]) for t in "abc")


def test_stages_have_masks_of_their_own() -> None:
    torch.manual_seed(0)
    model = TaskRouting(mlp(32, 32), [A, B])
    assert not masks(model, 1).equal(masks(model, 2))


def test_features_of_one_stage_are_what_the_masks_act_on() -> None:
    model = TaskRouting(mlp(8), [A, B]).eval()
    x = first(wine()[0], 8)
    features = model(x, return_features=True)[1]
    assert features.equal(model.encoder(x))
    assert TaskRouting(mlp(8, 8), [A, B])(x, return_features=True)[1] is None


def test_half_and_double_precision_models_keep_their_type() -> None:
    encoder = mlp().double()
    x = {"numeric": wine()[0]["numeric"].double(), "categorical": wine()[0]["categorical"]}
    assert TaskRouting(encoder, [A, B])(x)["a"].dtype == torch.float64


@pytest.mark.parametrize("share", [0.0, 0.25])
@pytest.mark.parametrize("encoder", [flattening, tokens])
class TestConformance(ArchitectureConformance):
    @pytest.fixture(autouse=True)
    def _case(self, share: float, encoder: Any) -> None:
        self.share, self.encoder = share, encoder

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        model = TaskRouting(self.encoder(), tasks, share=self.share, head_hidden=[8])
        return model, images(), tasks


def test_a_pruned_model_keeps_its_masks() -> None:
    model = TaskRouting(mlp(), [A, B, C]).eval()
    x = first(wine()[0], 8)
    pruned = model.prune("b")
    assert [n for n in pruned.state_dict() if n.startswith("routes")] == [
        f"routes.b.stage_{i}" for i in (1, 2, 3)
    ]
    assert pruned(x)["b"].equal(model(x)["b"])
    assert model(first(x, 1))["b"].shape == (1, 3)


@pytest.mark.parametrize("share", [-0.1, 1.1, "0.5", True, float("nan"), None])
def test_a_share_that_is_no_fraction(share: Any) -> None:
    with pytest.raises(UserError, match="from 0 to 1, found"):
        TaskRouting(mlp(), [A, B], share=share)


def test_a_task_without_a_channel_is_refused() -> None:
    with pytest.raises(UserError, match=r"stage 2 has 2 for 3 tasks\. Choose a share above 0"):
        TaskRouting(mlp(8, 2), [A, B, C], share=0.0)


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_it_learns_the_real_digits_and_reloads(share: float) -> None:
    model = digit_model("task_routing", share=share)
    losses = trained(model)
    assert losses[-1] < 0.75 * losses[0]
    assert same_after_loading(model, digit_model("task_routing", 1, share=share))
