"""A small residual convolutional network for images, without a download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import relu

from polytask.architectures._checks import positive_ints
from polytask.architectures._inputs import unwrap
from polytask.architectures.encoders._spec import Spec, refuse_other
from polytask.architectures.stages import Staged
from polytask.errors import UserError


class ResNet(Staged):
    """A small residual convolutional network for images, without a download.

    K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
    https://arxiv.org/abs/1512.03385, in its form for small images (a 3x3 stem, basic blocks),
    with GroupNorm in place of BatchNorm: items of a batch do not see each other, so a step
    is the same however a batch is cut up. Its price: normalising every image by itself makes
    targets that follow overall brightness slower to learn.

    Reads {"image": float [N, C, H, W]} or the tensor itself; answers the last feature map
    [N, width * 2 ** (len(blocks) - 1), H', W']. The default head pools it. Every stage after
    the first halves height and width, rounded up, and doubles the channels. To architectures that
    cut the encoder, the stem and every residual block are a stage of its own.

    Args:
        spec: widths of the inputs; `.image` is (C, H, W).
        width: channels of the first stage.
        blocks: residual blocks per stage, at least one stage.

    Raises:
        UserError: no image in the data, or other inputs beside it; faulty arguments. In `forward`:
            an image of another number of channels.

    """

    scales: ClassVar[dict[str, int]] = {"width": 1}
    """Arguments that are widths, and what they are multiples of."""

    def __init__(self, spec: Spec, width: int = 16, blocks: Sequence[int] = (1, 1, 1)) -> None:
        positive_ints("width", (width,), may_be_empty=False)
        blocks = positive_ints("blocks", blocks, may_be_empty=False)
        if spec.image is None:
            raise UserError(
                "the encoder resnet reads images, found none in the data. "
                "For tables use the encoder mlp."
            )
        if spec.numeric or spec.categorical:
            raise UserError(
                f"the encoder resnet reads the image alone, found {spec.numeric} numeric and "
                f"{len(spec.categorical)} categorical columns beside it. Drop the columns, or "
                "bring an encoder of your own that reads both."
            )
        refuse_other("resnet", spec)
        channels = int(spec.image[0])
        layers: list[nn.Module] = [
            nn.Sequential(_conv(channels, width), _norm(width), nn.ReLU()),
        ]
        widths = [width]
        for stage, count in enumerate(blocks):
            after = width * 2**stage
            for block in range(count):
                layers.append(_Block(widths[-1], after, stride=2 if stage and not block else 1))
                widths.append(after)
        super().__init__(
            layers, _Image(channels), widths=widths, entrance_width=channels, takes_dict=True
        )


class _Image(nn.Module):
    """The image of a batch, checked."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        image = unwrap(x, "image")
        if image.dim() != 4 or image.shape[1] != self.channels:
            raise UserError(
                f"the encoder resnet was built for images [N, {self.channels}, H, W], found "
                f"shape {tuple(image.shape)}. Prepare the batch as the training data was."
            )
        return image


class _Block(nn.Module):
    """Two 3x3 convolutions beside an identity, or a 1x1 convolution where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _conv(before, after, stride=stride),
            _norm(after),
            nn.ReLU(),
            _conv(after, after),
            _norm(after),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            self.shortcut = nn.Sequential(_conv(before, after, 1, stride), _norm(after))

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.branch(x) + self.shortcut(x))


def _conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    # No bias: the norm that follows has one.
    return nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)


def _norm(channels: int) -> nn.GroupNorm:
    # At least two channels a group: one channel of a 1x1 map would be normalised to zero.
    groups = next(g for g in (8, 4, 2, 1) if channels % g == 0 and (channels >= 2 * g or g == 1))
    return nn.GroupNorm(groups, channels)
