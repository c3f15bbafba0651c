"""Encoders as chains of stages: what architectures that share by depth ask of an encoder.

An encoder says where it can be cut by being a `Staged`:

    tower = Staged([nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 16)])

The batch goes through the entrance, every stage in turn, and the exit. Modules that are none
are read by `as_stages`: an `nn.Sequential` by its parts, models of known libraries by their
adapters, anything else as one stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._inputs import dry_run, unwrapped
from polytask.architectures._layout import Context
from polytask.errors import UserError


class Staged(nn.Module):
    """An encoder that can be cut: `exit(stage_n(... stage_1(entrance(x))))`.

    Derive from it, or build one from modules. A stage reads the features and answers the next
    ones; one with a true attribute `takes_context` is called as `stage(h, context)`. So is the
    exit. Every part owns its parameters: architectures copy parts, and share them, one by one.

    Args:
        stages: the modules of the stages, in order, at least one.
        entrance: from one batch to what the first stage reads, or to a pair of that and the
            context: a dictionary of what all stages read beside it (see `_layout.Context`).
            None: the input itself.
        exit: from the last features to the representation that heads read; None: those
            features themselves.
        channel_dim: which dimension of the features holds channels: 1 ([N, C], [N, C, H, W]) or
            -1 ([N, L, C], as in transformers, and rows that are nodes of graphs).
        widths: channels after every stage, where known: spares a dry run.
        entrance_width: channels of what the first stage reads, likewise.
        takes_dict: whether the entrance reads the batch's dictionary even if it holds one tensor.

    Raises:
        UserError: no stage, widths of another number, or a channel_dim that is neither.
    """

    def __init__(
        self,
        stages: Iterable[nn.Module],
        entrance: nn.Module | None = None,
        exit: nn.Module | None = None,  # noqa: A002 - the way out, beside `entrance`
        *,
        channel_dim: int = 1,
        widths: Sequence[int] | None = None,
        entrance_width: int | None = None,
        takes_dict: bool = False,
    ) -> None:
        super().__init__()
        self.layout_known = True
        """Whether `channel_dim` was said, and is no guess."""
        self.entrance = nn.Identity() if entrance is None else entrance
        self.stages = nn.ModuleList(stages)
        self.exit = nn.Identity() if exit is None else exit
        self.channel_dim = channel_dim
        self.takes_dict = takes_dict
        self.widths = None if widths is None else tuple(widths)
        self.entrance_width = entrance_width
        if not len(self.stages):
            raise UserError("an encoder of stages needs at least one stage, found none.")
        if channel_dim not in (1, -1):
            raise UserError(f"channel_dim must be 1 or -1, found {channel_dim!r}.")
        if self.widths is not None and len(self.widths) != len(self.stages):
            raise UserError(
                f"widths must name the channels after every stage: expected {len(self.stages)}, "
                f"found {self.widths}."
            )
        if self.widths is not None and exit is None:
            self.output_size = self.widths[-1]

    def forward(self, x: Any) -> Tensor:
        """The representation: entrance, every stage, exit."""
        h, context = enter(self.entrance, x)
        for stage in self.stages:
            h = run(stage, h, context)
        return run(self.exit, h, context)


def enter(entrance: nn.Module, x: Any) -> tuple[Tensor, Context]:
    """What the first stage reads, and the context; `x` is as `begin` prepares it."""
    answer = entrance(x)
    if isinstance(answer, tuple):
        h, context = answer
        return h, context
    return answer, {}


def run(part: nn.Module, h: Tensor, context: Context) -> Tensor:
    """One stage, or the exit, with the context where it takes one."""
    if isinstance(part, nn.Identity):
        return h
    after: Tensor = part(h, context) if getattr(part, "takes_context", False) else part(h)
    return after


def begin(encoder: Staged, x: Any) -> Any:
    """A batch of `polytask.data` as the entrance reads it: one filled entry goes in as a tensor."""
    return x if encoder.takes_dict else unwrapped(x)


class Whole(Staged):
    """Any module as an encoder of one stage, with the very same parameters."""

    def __init__(self, encoder: nn.Module) -> None:
        width = getattr(encoder, "output_size", None)
        super().__init__(
            [encoder],
            channel_dim=getattr(encoder, "channel_dim", 1),
            widths=[width] if type(width) is int else None,
            takes_dict=bool(getattr(encoder, "takes_dict", False)),
        )
        self.layout_known = hasattr(encoder, "channel_dim")


class Parts(Staged):
    """An `nn.Sequential` by its parts; those without parameters go with the one before them."""

    def __init__(self, encoder: nn.Sequential) -> None:
        groups: list[list[nn.Module]] = []
        for part in encoder:
            begins = _learns(part) and not isinstance(part, _NORMS)
            if not groups or (begins and any(map(_learns, groups[-1]))):
                groups.append([part])
            else:
                groups[-1].append(part)
        # Indices of the chain as names, so that a message names what the user wrote.
        stages = [group[0] if len(group) == 1 else nn.Sequential(*group) for group in groups]
        super().__init__(
            stages,
            channel_dim=getattr(encoder, "channel_dim", 1),
            takes_dict=bool(getattr(encoder, "takes_dict", False)),
        )
        self.layout_known = hasattr(encoder, "channel_dim")
        declared = getattr(encoder, "output_size", None)
        if declared is not None:
            self.output_size = declared


_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def as_stages(encoder: nn.Module) -> Staged:
    """`encoder` as a chain of stages, with the very same parameters.

    A `Staged` encoder as it is; an `nn.Sequential` by its parts; a model of transformers, timm
    or torch-geometric by its adapter; any other module as one stage.
    """
    encoder = adapted(encoder)
    if isinstance(encoder, Staged):
        return encoder
    if isinstance(encoder, nn.Sequential) and len(encoder):
        return Parts(encoder)
    return Whole(encoder)


def adapted(encoder: nn.Module) -> nn.Module:
    """A model of transformers, timm or torch-geometric by its adapter; any other as it is.

    For architectures that use the encoder as a whole: such a model needs no wrapper to answer a
    tensor, and brings its mask of padding with it.
    """
    if isinstance(encoder, Staged):
        return encoder
    from polytask.architectures.backbones import backbone

    return backbone(encoder) or encoder


def stage_widths(encoder: Staged, example: Any = None) -> tuple[int, ...]:
    """Channels after every stage: declared, or measured on one batch of inputs.

    Raises `UserError` when they are not declared and there is no example, and when the encoder
    cannot read it.
    """
    if encoder.widths is not None and example is None:
        return encoder.widths
    if example is None:
        raise UserError(
            f"the widths of the stages of {type(encoder).__name__} are not known. Pass "
            "example=<one batch of inputs>, or build the encoder with widths=."
        )
    return tuple(shape[encoder.channel_dim] for shape in stage_shapes(encoder, example)[:-1])


def entrance_width(encoder: Staged, example: Any = None) -> int:
    """Channels of what the first stage reads: declared, or measured on one batch of inputs.

    Raises `UserError` when they are not declared and there is no example, when the encoder cannot
    read it, and when the first stage reads something else than a floating-point tensor.
    """
    if encoder.entrance_width is not None:
        return encoder.entrance_width
    called = type(encoder).__name__
    if example is None:
        raise UserError(
            f"the width of what the first stage of {called} reads is not known. Pass "
            "example=<one batch of inputs>, or build the encoder with entrance_width=."
        )

    def width(x: Any) -> int:
        h, _ = enter(encoder.entrance, begin(encoder, x))
        if not isinstance(h, Tensor) or h.dim() < 2 or not h.is_floating_point():
            raise UserError(
                f"the first stage of {called} reads no floating-point tensor [N, C, ...], so "
                "nothing can be decided from it; embed the input in the encoder's entrance."
            )
        return int(h.shape[encoder.channel_dim])

    return dry_run(encoder, width, example)


def stage_shapes(encoder: Staged, example: Any) -> list[torch.Size]:
    """Shapes of the features after every stage, and of the representation, for one batch.

    The dry run is in eval mode, without gradients, and leaves mode and random state as they were.
    Raises `UserError` when the encoder cannot read the example.
    """

    def shapes(x: Any) -> list[torch.Size]:
        h, context = enter(encoder.entrance, begin(encoder, x))
        found = []
        for stage in encoder.stages:
            h = run(stage, h, context)
            found.append(h.shape)
        return [*found, run(encoder.exit, h, context).shape]

    return dry_run(encoder, shapes, example)


def _learns(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
