"""Which stages of an encoder answer features of the shape they read: those can be skipped."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from polytask.architectures._inputs import dry_run
from polytask.architectures.stages import Staged, begin, enter, run, stage_widths
from polytask.errors import UserError


def keeps_shape(encoder: Staged, example: Any = None) -> tuple[bool, ...]:
    """For every stage, whether its answer has the shape of what it reads.

    Seen on one batch of inputs; without one, read off the declared widths (`same_shape` checks
    the rest as the network runs). Raises `UserError` when there are neither.
    """
    if example is None:
        widths = stage_widths(encoder)
        return tuple(
            a == b for a, b in zip((encoder.entrance_width, *widths), widths, strict=False)
        )

    def look(x: Any) -> tuple[bool, ...]:
        h, context = enter(encoder.entrance, begin(encoder, x))
        kept = []
        for stage in encoder.stages:
            before = h.shape if isinstance(h, Tensor) and h.is_floating_point() else None
            h = run(stage, h, context)
            kept.append(h.shape == before)
        return tuple(kept)

    return dry_run(encoder, look, example)


def same_shape(stage: nn.Module, before: Tensor, after: Tensor) -> Tensor:
    """`after`. Raises `UserError` unless it has the shape of `before`, which it is mixed with."""
    if after.shape != before.shape:
        raise UserError(
            f"the stage {type(stage).__name__} reads features {tuple(before.shape)} and answers "
            f"{tuple(after.shape)}, but its declared widths say that it keeps their shape. Pass "
            "example=<one batch of inputs>, so that it is seen."
        )
    return after
