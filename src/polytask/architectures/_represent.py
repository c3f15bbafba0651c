"""One pass of a whole encoder, with the context that its stages read where it has one."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from polytask.architectures._inputs import check_representation, encode
from polytask.architectures._layout import Context
from polytask.architectures.stages import Staged, begin, enter, run


def represent(encoder: nn.Module, x: Any, width: int | None = None) -> tuple[Tensor, Context]:
    """The representation that heads read, and the context (a mask of padding, say), if any.

    Raises `UserError` for an answer that no head can read.
    """
    if not isinstance(encoder, Staged):
        return encode(encoder, x, width), {}
    h, context = enter(encoder.entrance, begin(encoder, x))
    for stage in encoder.stages:
        h = run(stage, h, context)
    return leave(encoder, h, context, width), context


def leave(encoder: Staged, h: Tensor, context: Context, width: int | None = None) -> Tensor:
    """From the last features to the representation, checked.

    Raises `UserError` for an answer that no head can read.
    """
    z = run(encoder.exit, h, context)
    check_representation(encoder, z, width)
    return z
