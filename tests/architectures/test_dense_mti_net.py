"""MTI-Net: scales, the softmax over tasks, propagation, aggregation, early answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dense_cases import SMALL, dense_tasks, model_of, trained
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from torch import nn
from torch.nn.functional import interpolate

from polytask.architectures import Staged, create_encoder
from polytask.architectures._distillation import Propagate, Squeeze
from polytask.architectures._scales import Scale, match, scales_of
from polytask.architectures.mti_net import MTINet
from polytask.architectures.stages import as_stages
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

ITEM = [Output("a", 1), Output("b", 3), Output("c", 2)]


def images(count: int = 8) -> torch.Tensor:
    return digits()[0]["image"][:count]


def of_images(tasks: Any = ITEM, **options: Any) -> MTINet:
    torch.manual_seed(0)
    encoder = create_encoder("resnet", DIGITS, **SMALL["resnet"])
    return MTINet(encoder, tasks, **{"width": 6, "example": first(digits()[0], 2)} | options)


class Rows(nn.Module):
    """The rows of an image as tokens, [N, H, W]."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 0]


class First(nn.Module):
    """The first token, [N, C]."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 0]


def tokens(exit: nn.Module | None = None) -> Staged:  # noqa: A002
    """Three stages over tokens."""
    stages = [nn.Sequential(nn.Linear(8, 5), nn.Tanh()), nn.Linear(5, 6), nn.Linear(6, 7)]
    return Staged(stages, Rows(), exit, channel_dim=-1)


def mixed() -> Staged:
    """Maps that shrink, then rows: [N, 4, 6, 6], [N, 6, 2, 2], [N, 10]."""
    return Staged(
        [
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(24, 10), nn.ReLU()),
        ]
    )


class TestOptions(ArchitectureConformance):
    """Labels at every place, one scale, rows behind maps, tokens and their pooled exit."""

    @pytest.fixture(
        autouse=True,
        params=[
            ("dense", {"width": 4, "head_hidden": (3,)}),
            ("dense", {"width": 5, "scales": 1}),
            ("mixed", {"width": 5}),
            ("tokens", {"width": 5, "scales": 2}),
            ("pooled", {"width": 5, "scales": 2}),
            ("mlp", {"width": 5, "scales": 1}),
        ],
        ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}",
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        batch: Any = images(16)
        tasks: dict[str, Any] = {t.name: t for t in ITEM}
        if self.encoder == "dense":
            encoder: nn.Module = create_encoder("resnet", DIGITS, **SMALL["resnet"])
            tasks = dict(dense_tasks("glow", "even", "which"))
        elif self.encoder == "mlp":
            encoder, batch = create_encoder("mlp", TABLE, hidden=(9, 6)), first(wine()[0], 16)
        else:
            encoder = {"mixed": mixed, "tokens": tokens, "pooled": lambda: tokens(First())}[
                self.encoder
            ]()
        return MTINet(encoder, tasks, example=batch, **self.options), batch, tasks


def test_scales_are_the_last_stages_of_every_resolution() -> None:
    resnet = create_encoder("resnet", DIGITS, width=4, blocks=(2, 1, 2))
    example = first(digits()[0], 2)
    wanted = (Scale(3, 4, True), Scale(4, 8, True), Scale(6, 16, True))
    assert scales_of(as_stages(resnet), 4, example) == wanted
    assert scales_of(as_stages(resnet), 2, example) == wanted[1:]
    rows = scales_of(as_stages(create_encoder("mlp", TABLE, hidden=(9, 8, 7))), 2, wine()[0])
    assert rows == (Scale(2, 8, False), Scale(3, 7, False))
    assert [s.stage for s in scales_of(mixed(), 4, images(2))] == [1, 2, 3]
    assert [s.maps for s in scales_of(mixed(), 4, images(2))] == [True, True, False]
    assert [s.stage for s in scales_of(tokens(), 4, images(2))] == [1, 2, 3]
    assert scales_of(tokens(First()), 4, images(2))[-1] == Scale(3, 7, False)


@pytest.mark.parametrize(("dim", "shape"), [(1, (5, 12, 3, 4)), (-1, (5, 7, 12)), (1, (5, 12))])
def test_weights_are_a_softmax_over_the_tasks(dim: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = Propagate(3, 12, dim, maps=len(shape) == 4)
    features = [torch.randn(shape) for _ in range(3)]
    weights = module.weights(features)
    over = 1 if dim == 1 else -2
    assert weights.shape[over] == 3
    assert (weights > 0).all()
    sums = weights.sum(over)
    assert sums.shape == shape
    torch.testing.assert_close(sums, torch.ones(shape))
    # One task's scores raised for all channels raise its own share everywhere, and no other's.
    assert module.score is not None
    with torch.no_grad():
        module.score[1].bias[12:24] += 1.0
    raised = module.weights(features) > weights
    assert raised.select(over, 1).all()
    assert not raised.select(over, 0).any()
    assert not raised.select(over, 2).any()


def test_what_is_propagated_by_hand() -> None:
    torch.manual_seed(0)
    module = Propagate(2, 4, 1, maps=True)
    one, two = torch.randn(2, 3, 4, 5, 5)
    scores = module.score(torch.cat([one, two], 1))
    share = torch.sigmoid(scores[:, :4] - scores[:, 4:])  # a softmax of two
    mixed_ = module.reduce(torch.cat([share * one, (1 - share) * two], 1))
    found = module([one, two], {})
    for own, se, passed in zip((one, two), module.excite, found, strict=True):
        gate = se.layers(mixed_.mean(dim=(2, 3)))[..., None, None]
        torch.testing.assert_close(passed, own + gate * mixed_)


def test_one_task_has_nothing_to_weigh() -> None:
    module = Propagate(1, 4, 1, maps=False)
    assert module.score is None
    assert module.weights([torch.randn(3, 4)]).eq(1).all()


def test_excitation_leaves_padding_and_other_items_out() -> None:
    torch.manual_seed(0)
    squeeze = Squeeze(4, -1)
    h, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, True, True]])
    gate = squeeze.layers(h[0, :2].mean(0))
    torch.testing.assert_close(squeeze(h, {"mask": mask})[0], h[0] * gate)
    nodes = {"segments": torch.tensor([0, 0, 1, 0, 1, 1]), "items": 2}
    rows = h.reshape(6, 4)
    gates = squeeze.layers(torch.stack([rows[[0, 1, 3]].mean(0), rows[[2, 4, 5]].mean(0)]))
    torch.testing.assert_close(squeeze(rows, nodes), rows * gates[nodes["segments"]])


def test_features_are_brought_to_the_places_of_others() -> None:
    coarse, fine = torch.randn(2, 3, 2, 2), torch.randn(2, 5, 4, 6)
    larger = interpolate(coarse, size=(4, 6), mode="bilinear", align_corners=False)
    assert match(coarse, fine, 1, {}).equal(larger)
    last = match(coarse.movedim(1, -1), fine.movedim(1, -1), -1, {})
    assert last.equal(larger.movedim(1, -1))
    assert match(coarse, coarse, 1, {}) is coarse
    row = torch.randn(2, 3)
    assert match(row, fine, 1, {}).equal(row[..., None, None].expand(2, 3, 4, 6))
    assert match(row, torch.randn(2, 7, 5), -1, {}).equal(row[:, None].expand(2, 7, 3))
    segments = torch.tensor([0, 1, 1, 0])
    brought = match(row, torch.randn(4, 5), -1, {"segments": segments, "items": 2})
    assert brought.equal(row[segments])
    with pytest.raises(UserError, match=r"side by side.*scales=1"):
        match(torch.randn(2, 7, 3), torch.randn(2, 5, 3), -1, {})


def test_early_answers_at_every_scale_at_the_places_of_the_labels() -> None:
    tasks = dense_tasks("glow", "which", "even")
    model = of_images(tasks)
    outputs = model(images())
    assert len(model.scales) == 3
    for name, output in outputs.items():
        assert [e.shape for e in model.intermediate[name]] == [output.shape] * 3
    model(images(), tasks=("glow",))
    assert list(model.intermediate) == ["glow"]
    model.eval()(images())
    assert not model.intermediate


def test_the_coarsest_scale_reads_the_exit_and_finer_ones_what_is_passed_on() -> None:
    model = of_images().eval()
    finest, middle, coarsest = model.scales
    assert [s.refine[0].project.in_features for s in model.scales] == [10, 14, 16]
    assert finest.propagate is None
    before = model(images())
    with torch.no_grad():
        for refine in coarsest.refine:
            refine.project.weight.zero_()
    after = model(images())
    assert all(not before[t].equal(after[t]) for t in before)
    assert middle.propagate is not None


def test_everything_but_the_last_layers_is_shared() -> None:
    model = of_images()
    for name, who in model.shared_parameters().items():
        own = any(f".{part}." in f".{name}" for part in ("distil", "initial", "join", "heads"))
        assert (len(who) == 1) == own, name


def test_features_are_those_of_every_task_and_scale() -> None:
    _, features = of_images()(images(), return_features=True)
    sizes = sorted((tuple(f.shape) for f in features), reverse=True)
    assert sizes == [(8, 6, n, n) for n in (8, 4, 2) for _ in ITEM]


def test_a_batch_of_one_row_and_of_one_task() -> None:
    for tasks in (ITEM, ITEM[:1]):
        model = of_images(tasks)
        assert model(images(1))["a"].shape == (1, 1)


def test_dense_tasks_are_learned() -> None:
    tasks = dense_tasks()
    losses = trained(model_of("mti_net", tasks, width=8), tasks, epochs=2)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0}, "width"),
        ({"scales": 0}, "scales"),
        ({"scales": 1.5}, "scales"),
        ({"example": None}, r"resolutions.*example="),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        of_images(**options)


def test_an_encoder_whose_exit_pools_cannot_answer_at_every_place() -> None:
    class Pool(nn.Module):
        def forward(self, h: torch.Tensor) -> torch.Tensor:
            return h.mean(dim=(2, 3))

    encoder = Staged([nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3)], exit=Pool())
    model = MTINet(encoder, dense_tasks("glow"), example=images(2))
    with pytest.raises(UserError, match="every place"):
        model(images())
