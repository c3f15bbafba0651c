from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures._align import aligned
from polytask.architectures.nddr import NDDR
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def inputs(encoder: Any) -> Any:
    return first(wine()[0], 20) if encoder is mlp else images(20)


def close(first: dict[str, Any], second: dict[str, Any]) -> None:
    for task, output in first.items():
        torch.testing.assert_close(output, second[task])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("encoder", [mlp, tokens, flattening])
@pytest.mark.parametrize("name", ["single_task", "cross_stitch"])
def test_without_norm_and_activation_it_starts_as_a_linear_mixture(
    encoder: Any, training: bool, name: str
) -> None:
    """keep=1 is independent networks; below, it is cross-stitch of the same start."""
    keep = {"keep": 1.0} if name == "single_task" else {"keep": 0.7}
    plain = {"norm": False, "activation": False} | keep
    outputs = []
    for one, options in (("nddr", plain), (name, {} if name == "single_task" else keep)):
        torch.manual_seed(3)
        model = create_architecture(one, encoder(), [A, B, C], **options)
        outputs.append(model.train(training)(inputs(encoder)))
    close(*outputs)


def test_the_activation_changes_nothing_after_a_relu() -> None:
    outputs = []
    for name, options in (("nddr", {"keep": 1.0, "norm": False}), ("single_task", {})):
        torch.manual_seed(3)
        model = create_architecture(name, mlp(), [A, B], **options)
        outputs.append(model(inputs(mlp)))
    close(*outputs)


def test_a_lone_task_is_the_encoder_as_it_is() -> None:
    outputs = []
    for name in ("nddr", "hard_sharing"):
        torch.manual_seed(3)
        model = create_architecture(name, mlp(), [B])
        outputs.append(model(inputs(mlp))["b"])
    assert outputs[0].equal(outputs[1])


def test_the_equation() -> None:
    """A convolution of the columns' maps put together, batch norm, ReLU."""
    model = NDDR(nn.Sequential(nn.Conv2d(1, 4, 3)), [A, B], example=images(2))
    unit = model.joint(1)["b"]
    with torch.no_grad():
        unit.linear.weight.copy_(torch.randn(4, 8))
    maps = torch.cat([model.columns[t].stages[0](images()) for t in "ab"], dim=1)
    fused = conv2d(maps, unit.linear.weight[:, :, None, None])
    mean, var = fused.mean(dim=(0, 2, 3)), fused.var(dim=(0, 2, 3), unbiased=False)
    normed = (fused - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(model(images())["b"], model.heads["b"](normed.relu()))


def test_blocks_at_first() -> None:
    model = NDDR(mlp(), [A, B, C], keep=0.8)
    blocks = model.joint(1)["b"].linear.weight.reshape(16, 3, 16).unbind(dim=1)
    for block, share in zip(blocks, (0.1, 0.8, 0.1), strict=True):
        torch.testing.assert_close(block.detach(), share * torch.eye(16))
    assert model.joint(1)["b"].linear.bias is None
    assert NDDR(mlp(), [A, B], norm=False).joint(1)["b"].linear.bias.eq(0).all()


def test_the_shortcut_reads_all_stages() -> None:
    torch.manual_seed(0)
    model = NDDR(flattening(), [A, B], norm=False, shortcut=True).eval()
    x = images()
    h = dict.fromkeys("ab", x)
    trail = []
    for stage in (1, 2, 3):
        h = {t: model.columns[t].stages[stage - 1](h[t]) for t in "ab"}
        h = {t: model.joint(stage)[t](list(h.values())) for t in "ab"}
        trail.append(h["a"])
    means = [z.flatten(2).mean(dim=2) for z in trail[:2]]
    fused = model.shortcuts["a"](torch.cat([*means, trail[2]], dim=1))
    torch.testing.assert_close(model(x)["a"], model.heads["a"](fused))
    owners = model.shared_parameters()
    assert owners["shortcuts.a.weight"] == ("a",)
    assert not any(name.startswith("shortcuts") for name in model.rate_factors())


def test_earlier_maps_are_pooled_to_the_last() -> None:
    h, last = torch.randn(2, 3, 8, 6), torch.randn(2, 5, 4, 3)
    assert aligned(h, last, 1).equal(adaptive_avg_pool2d(h, (4, 3)))
    assert aligned(h, h, 1) is h
    vector = torch.randn(2, 7)
    torch.testing.assert_close(aligned(h, vector, 1), h.mean(dim=(2, 3)))
    rows = torch.randn(2, 9, 4)
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    torch.testing.assert_close(
        aligned(rows, vector, -1, {"mask": mask})[1], rows[1, :4].mean(dim=0)
    )
    nodes, segments = torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 1])
    context = {"segments": segments, "items": 2}
    torch.testing.assert_close(aligned(nodes, vector, -1, context)[0], nodes[:2].mean(dim=0))
    with pytest.raises(UserError, match="expected the same places"):
        aligned(rows, torch.randn(2, 5, 4), -1)
    with pytest.raises(UserError, match="expected the same places"):
        aligned(vector, last, 1)


def test_one_row_can_be_trained_on() -> None:
    model = NDDR(mlp(), [A, B])
    sum(o.sum() for o in model(first(wine()[0], 1)).values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_rates_reach_the_fusing_layers() -> None:
    model = NDDR(mlp(), [A, B])
    factors = model.rate_factors()
    assert set(factors.values()) == {100.0}
    assert set(factors) == {n for n, _ in model.named_parameters() if n.startswith("joints.")}
    assert NDDR(mlp(), [A, B], nddr_rate=1).rate_factors() == {}


@pytest.mark.parametrize("shortcut", [False, True])
def test_training_on_digits_lowers_the_loss(shortcut: bool) -> None:
    losses = trained(digit_model("nddr", shortcut=shortcut, nddr_rate=10), epochs=3)
    assert losses[-1] < 0.6 * losses[0]


def test_state_round_trip() -> None:
    def model(seed: int) -> Any:
        return digit_model("nddr", seed, shortcut=True)

    assert same_after_loading(model(0), model(1))


def test_errors() -> None:
    with pytest.raises(UserError, match="keep must be a number from 0 to 1, found 'most'"):
        NDDR(mlp(), [A, B], keep="most")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="nddr_rate must be a number above 0, found -1"):
        NDDR(mlp(), [A, B], nddr_rate=-1)
    with pytest.raises(UserError, match="stages must be different stages"):
        NDDR(mlp(), [A, B], stages=[1, 1])
    wrong = Staged([nn.Linear(4, 6), nn.Linear(6, 5)], widths=(7, 5))
    with pytest.raises(UserError, match="built for 7 channels"):
        NDDR(wrong, [A, B])(torch.randn(2, 4))


class TestConformance(ArchitectureConformance):
    @pytest.fixture(
        autouse=True,
        params=[
            (tokens, {"norm": False, "activation": False, "shortcut": True}),
            (tokens, {"stages": [2], "activation": False}),
            (flattening, {"shortcut": True}),
            (flattening, {"shortcut": True, "stages": [1]}),
            (flattening, {"norm": False, "fresh": False}),
        ],
        ids=["tokens", "tokens-early", "shortcut", "shortcut-early", "plain"],
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return NDDR(self.encoder(), tasks, **self.options), images(), tasks


class TestLoneTaskWithAShortcut(ArchitectureConformance):
    def make(self) -> Made:
        return NDDR(flattening(), [A], shortcut=True), images(), {"a": A}
