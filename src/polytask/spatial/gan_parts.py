"""The two networks of the spatial GAN: a generator, and a discriminator with several heads."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from polytask.architectures import PerTask
from polytask.errors import UserError, unknown
from polytask.spatial._maps import check_grids, moran_maps

IMAGE = "image"
SIZES = (16, 32)


def head_names(levels: int) -> tuple[str, ...]:
    """The discriminator's tasks: the field itself, then its Moran map at every level."""
    return (IMAGE, *(f"moran_{level}" for level in range(levels)))


class Generator(nn.Module):
    """From noise [N, noise] to fields [N, channels, size, size] in [-1, 1].

    A linear layer to 4 x 4, then transposed 4 x 4 convolutions that double the grid, with batch
    norm and ReLU, tanh at the end (A. Radford et al., "Unsupervised representation learning with
    deep convolutional GANs", ICLR 2016, https://arxiv.org/abs/1511.06434). The last hidden layer
    has `width` channels, each one before it twice as many.
    """

    def __init__(self, size: int, channels: int = 1, noise: int = 100, width: int = 32) -> None:
        super().__init__()
        widths = _widths(size, channels, width)[::-1]
        self.noise = noise
        self.first = nn.Sequential(
            nn.Linear(noise, widths[0] * 16, bias=False),
            nn.Unflatten(1, (widths[0], 4, 4)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        last = nn.ConvTranspose2d(widths[-2], channels, 4, stride=2, padding=1)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        """Fields of these draws."""
        fields: Tensor = self.layers(self.first(noise))
        return fields


class Discriminator(nn.Module):
    """Real or generated? One shared trunk, one head for the field and one for each Moran map.

    The trunk of 4 x 4 convolutions of stride 2 with leaky ReLU (0.2), batch norm after all but
    the first, is used once for every head: on the field, and on each map. A head is a 4 x 4
    convolution to one number, a logit. Maps are computed on a detached copy, so a gradient
    reaches the field through the head `image` alone.
    """

    def __init__(self, size: int, channels: int = 1, levels: int = 0, width: int = 32) -> None:
        super().__init__()
        widths = _widths(size, channels, width)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths)):
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1, bias=not number))
            layers += [nn.BatchNorm2d(after)] if number else []
            layers.append(nn.LeakyReLU(0.2))
        self.size, self.channels, self.levels = size, channels, levels
        self.trunk = nn.Sequential(*layers)
        heads = {name: nn.Conv2d(widths[-1], 1, 4) for name in head_names(levels)}
        self.heads = PerTask(heads)

    def forward(self, fields: Tensor, helpers: bool = True) -> dict[str, Tensor]:
        """Logits [N] by head; of `image` alone without helpers, which costs no Moran map."""
        seen = {IMAGE: fields}
        if helpers and self.levels:
            seen |= zip(head_names(self.levels)[1:], moran_maps(fields, self.levels), strict=True)
        return {name: self.heads[name](self.trunk(grid)).flatten() for name, grid in seen.items()}


def check_fields(fields: object, size: int, channels: int, least: int) -> Tensor:
    """The fields, when they are what a discriminator of this size reads.

    Raises `UserError` for another shape, fewer than `least` of them, a value that is not finite,
    and one outside [-1, 1], which no generator can reach.
    """
    check_grids(fields)
    assert isinstance(fields, Tensor)
    if tuple(fields.shape[1:]) != (channels, size, size):
        raise UserError(
            f"expected fields [N, {channels}, {size}, {size}], found {tuple(fields.shape)}. Cut or "
            "resize them, or build the GAN with size= and channels= of theirs."
        )
    if len(fields) < least:
        raise UserError(
            f"expected at least one batch of {least} fields, found {len(fields)}. Give more, or a "
            "smaller batch_size."
        )
    wrong = ~fields.isfinite().flatten(1).all(1)
    if bool(wrong.any()):
        raise UserError(
            f"{int(wrong.sum())} of {len(fields)} fields hold values that are NaN or infinite; "
            "expected numbers. Drop or fill them."
        )
    low, high = float(fields.min()), float(fields.max())
    if low < -1 - 1e-6 or high > 1 + 1e-6:
        raise UserError(
            f"the fields lie between {low:.4g} and {high:.4g}; expected [-1, 1], the generator's "
            "range. Bring each there by its own range: polytask.spatial.unit_range(fields)."
        )
    return fields


def _widths(size: int, channels: int, width: int) -> list[int]:
    """Channels from the field down to 4 x 4."""
    if size not in SIZES:
        raise unknown("size of a field", size, map(str, SIZES))
    for name, value in (("channels", channels), ("width", width)):
        if type(value) is not int or value < 1:
            raise UserError(f"{name} must be a whole number of at least 1, found {value!r}.")
    halvings = {16: 2, 32: 3}[size]
    return [channels, *(width * 2**depth for depth in range(halvings))]


def draw_noise(rows: int, width: int, generator: torch.Generator, like: nn.Module) -> Tensor:
    """Standard normal noise [rows, width], drawn on the CPU and moved to `like`'s device."""
    drawn = torch.randn(rows, width, generator=generator)
    return drawn.to(next(like.parameters()).device)
