"""timm asks for torchvision, which does not come for every torch: where it is not there, small
modules with timm's documented interface stand for its models."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from real_inputs import Output, digits
from torch import Tensor, nn

from polytask.architectures import HardSharing, as_stages, create_architecture
from polytask.architectures.stages import stage_widths
from polytask.errors import UserError

TASKS = [Output("a", 1), Output("b", 3)]


class Convolutional(nn.Module):
    """Stem, two stages under attributes of their own, a classifier with pooling."""

    __module__ = "timm.models.small"
    pretrained_cfg = {"input_size": (3, 16, 16)}  # noqa: RUF012 - a plain attribute, as in timm
    num_features = 6

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU()
        self.maxpool = nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(6, 10)
        self.feature_info = [
            {"num_chs": 4, "reduction": 1, "module": "act1"},
            {"num_chs": 4, "reduction": 2, "module": "layer1"},
            {"num_chs": 6, "reduction": 4, "module": "layer2"},
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.act1(self.conv1(x)))
        return self.layer2(self.layer1(x))

    def get_classifier(self) -> nn.Module:
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.forward_features(x).mean((2, 3)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x)).relu()


class Patches(nn.Module):
    img_size = (8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, 8, 4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-2:] == self.img_size
        return self.proj(x).flatten(2).transpose(1, 2)


class Transformer(nn.Module):
    """A class token, blocks in a Sequential, a norm; an attention pool that only the head uses."""

    __module__ = "timm.models.small"

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = Patches()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.norm = nn.LayerNorm(8)
        self.fc_norm, self.head = nn.LayerNorm(8), nn.Linear(8, 10)
        names = [f"blocks.{i}" for i in range(3)]
        self.feature_info = [{"module": name, "num_chs": 8, "reduction": 4} for name in names]

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        return self.norm(self.blocks(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.fc_norm(self.forward_features(x)[:, 0]))


class Info(list[dict[str, Any]]):
    """The `feature_info` of a model made with features_only=True."""

    def channels(self) -> list[int]:
        return [entry["num_chs"] for entry in self]


class FeatureList(nn.ModuleDict):
    """Several maps in a list; parts of lists are under names of their own."""

    __module__ = "timm.models._features"

    def __init__(self) -> None:
        parts = {"stem": nn.Conv2d(1, 4, 2), "stages_0": nn.Conv2d(4, 4, 1)}
        super().__init__(parts | {"stages_1": nn.Conv2d(4, 6, 2, stride=2)})
        entries = [{"module": f"stages.{i}", "num_chs": c} for i, c in enumerate((4, 6))]
        self.feature_info = Info(entries)
        self.output_fmt = SimpleNamespace(value="NCHW")

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for name, part in self.items():
            x = part(x)
            maps += [x] if name != "stem" else []
        return maps


class ChannelsLast(nn.Module):
    """Maps [N, H, W, C], and skip connections that no chain of stages can follow."""

    __module__ = "timm.models.small"
    output_fmt = "NHWC"

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stages = nn.Conv2d(1, 5, 2, stride=2), nn.Sequential(nn.Linear(5, 5))

    def forward_features(self, x: Tensor) -> Tensor:
        h = self.stem(x).permute(0, 2, 3, 1)
        return h + self.stages(h)


def images(count: int, size: int = 8) -> Tensor:
    return nn.functional.interpolate(digits()[0]["image"][:count], size=(size, size))


@pytest.mark.parametrize(
    ("kind", "widths", "dim", "left_out"),
    [
        (Convolutional, (4, 6), 1, {"fc"}),
        (Transformer, (8, 8, 8), -1, {"fc_norm", "head"}),
        (ChannelsLast, (5,), -1, set()),
    ],
)
def test_the_answer_is_forward_features(
    kind: type[nn.Module], widths: tuple[int, ...], dim: int, left_out: set[str]
) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    encoder, x = as_stages(model), images(4)
    assert encoder({"image": x}).equal(model.forward_features(x))
    assert (stage_widths(encoder), encoder.channel_dim) == (widths, dim)
    assert stage_widths(encoder, x) == widths
    own = {id(p) for p in encoder.parameters()}
    gone = {name.split(".")[0] for name, p in model.named_parameters() if id(p) not in own}
    assert gone == left_out
    assert own <= {id(p) for p in model.parameters()}


def test_of_several_maps_the_last_is_read() -> None:
    torch.manual_seed(0)
    model = FeatureList()
    encoder, x = as_stages(model), images(4)
    assert encoder(x).equal(model(x)[-1])
    assert stage_widths(encoder) == tuple(model.feature_info.channels()) == (4, 6)
    model.hooks = object()  # of a model whose maps are taken by hooks: not cut
    assert stage_widths(as_stages(model)) == (6,)


def test_the_width_is_known_without_an_example() -> None:
    net = HardSharing(Convolutional(), TASKS)
    outputs = net(images(4, size=12))
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "a": (4, 1),
        "b": (4, 3),
    }


def test_a_model_that_cannot_be_watched_is_one_stage() -> None:
    model = Transformer()
    model.patch_embed.img_size = None  # then its settings count, and they say 224 pixels
    encoder = as_stages(model)
    assert len(encoder.stages) == 1
    model.patch_embed.img_size = (8, 8)
    with pytest.raises(
        UserError, match=r"\(4, 5, 8\), whose channels were expected in dimension 1"
    ):
        encoder(images(4))


def test_a_layer_alone_is_a_module_like_any_other() -> None:
    class Layer(nn.Linear):
        __module__ = "timm.layers.small"

    layer = Layer(4, 5)
    assert as_stages(layer)(torch.ones(2, 4)).equal(layer(torch.ones(2, 4)))


@pytest.mark.parametrize(
    "name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224", "efficientnet_b0"]
)
@pytest.mark.parametrize("only_features", [False, True])
def test_models_of_timm(name: str, only_features: bool) -> None:
    timm = pytest.importorskip("timm", exc_type=ImportError)
    if only_features and name.startswith("vit"):
        pytest.skip("its maps are made of tokens")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, features_only=only_features).eval()
    encoder, x = as_stages(model), torch.randn(2, 3, 224, 224)
    expected = model(x)[-1] if only_features else model.forward_features(x)
    torch.testing.assert_close(encoder(x), expected)
    net = create_architecture("hard_sharing", model, TASKS)
    assert net(x)["b"].shape == (2, 3)
