"""Scales of an encoder: the resolutions it goes through, and features of one brought to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from polytask.architectures._inputs import check_representation
from polytask.architectures._layout import Context, along
from polytask.architectures._represent import leave
from polytask.architectures.stages import Staged, begin, enter, run, stage_shapes
from polytask.errors import UserError


@dataclass(frozen=True)
class Scale:
    """One resolution of an encoder."""

    stage: int
    """The stage after which it is read, counted from 1: the last one of this resolution."""
    width: int
    maps: bool
    """Whether its features are maps, of 4 dimensions."""


def scales_of(encoder: Staged, most: int, example: Any) -> tuple[Scale, ...]:
    """The last `most` resolutions of an encoder, the finest first.

    Where all stages have one resolution, its last `most` stages. The last stage counts as what
    the exit makes of it. Raises `UserError` without an example, and for one that cannot be read.
    """
    if example is None:
        raise UserError(
            f"the resolutions of the stages of {type(encoder).__name__} are not known. Pass "
            "example=<one batch of inputs>."
        )
    *shapes, _, answer = stage_shapes(encoder, example)
    shapes.append(answer)
    dim = encoder.channel_dim
    places = [_places(shape, dim) for shape in shapes]
    last = len(shapes) - 1
    read = [i for i in range(last) if places[i] != places[i + 1]] + [last]
    if len(read) == 1:
        read = list(range(last + 1))
    return tuple(Scale(i + 1, shapes[i][dim], len(shapes[i]) == 4) for i in read[-most:])


def read_scales(encoder: Staged, x: Any, scales: Sequence[Scale]) -> tuple[list[Tensor], Context]:
    """One pass: the features at these scales, in their order, and the context.

    Raises `UserError` for an answer of the encoder that nothing can read.
    """
    widths = {scale.stage: scale.width for scale in scales}
    h, context = enter(encoder.entrance, begin(encoder, x))
    found = []
    for number, stage in enumerate(encoder.stages, start=1):
        h = run(stage, h, context)
        if number == len(encoder.stages):
            found.append(leave(encoder, h, context, widths[number]))
        elif number in widths:
            check_representation(encoder, h, widths[number])
            found.append(h)
    return found, context


def match(h: Tensor, like: Tensor, channel_dim: int, context: Context) -> Tensor:
    """`h` at the places of `like`: maps are resized, one row an item is repeated at all of them.

    Raises `UserError` for sequences of another length, which nothing says how to align.
    """
    size = _places(like.shape, channel_dim)
    if h.dim() == 2 and size:
        shape = (len(h), -1, *size) if channel_dim == 1 else (len(h), *size, -1)
        return along(h, like, channel_dim).expand(shape)
    if h.dim() == 2 and len(h) != len(like) == len(context.get("segments", ())):
        return h[context["segments"]]
    if _places(h.shape, channel_dim) == size:
        return h
    if h.dim() == like.dim() == 4:
        first = h if channel_dim == 1 else h.movedim(-1, 1)
        resized = interpolate(first, size=size, mode="bilinear", align_corners=False)
        return resized if channel_dim == 1 else resized.movedim(1, -1)
    raise UserError(
        f"features of two stages, {tuple(h.shape)} and {tuple(like.shape)}, cannot be put side by "
        "side; expected maps, or as many places in both. Use scales=1, or an encoder whose stages "
        "keep the length."
    )


def _places(shape: Sequence[int], channel_dim: int) -> tuple[int, ...]:
    """Sizes of the dimensions that hold neither items nor channels."""
    return tuple(shape[2:] if channel_dim == 1 else shape[1:-1])
