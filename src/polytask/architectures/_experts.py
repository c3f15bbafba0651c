"""Experts: parallel copies of the encoder's last stages, and the weighted sums of what they say."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Features
from polytask.architectures._init import fresh_copy
from polytask.architectures._inputs import check_representation, dry_run, unwrapped
from polytask.architectures._layout import Context
from polytask.architectures.stages import (
    Staged,
    begin,
    enter,
    entrance_width,
    run,
    stage_widths,
)
from polytask.errors import UserError


class Trunk(nn.Module):
    """The entrance and the first stages of an encoder: what all experts and gates read."""

    def __init__(self, encoder: Staged, stages: int) -> None:
        super().__init__()
        self.entrance = encoder.entrance
        self.stages = nn.ModuleList(encoder.stages[i] for i in range(stages))
        self.takes_dict = encoder.takes_dict

    def forward(self, x: Any) -> tuple[Tensor, Context]:
        """The features at the branching point, and the context."""
        h, context = enter(self.entrance, x if self.takes_dict else unwrapped(x))
        for stage in self.stages:
            h = run(stage, h, context)
        return h, context


class Expert(nn.Module):
    """Consecutive stages of an encoder; the last ones with its exit."""

    def __init__(self, encoder: Staged, first: int, after: int, width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(encoder.stages[i] for i in range(first, after))
        self.ends = after == len(encoder.stages)
        self.exit = encoder.exit if self.ends else nn.Identity()
        self.width = width
        self.channel_dim = encoder.channel_dim

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """The expert's features. Raises `UserError` for an answer that no head can read."""
        for stage in self.stages:
            h = run(stage, h, context)
        if self.ends:
            h = run(self.exit, h, context)
            check_representation(self, h, self.width)
        return h


def drawn(
    first: Expert, names: Iterable[str], seed: int, *, fresh: bool
) -> tuple[list[Expert], tuple[str, ...]]:
    """A copy of `first` for each name, drawn anew from the stream `(seed, name)`.

    Copies keep the weights where `fresh` is False, and frozen parts always: nothing would train
    what was drawn in their place. The second answer names submodules that could not be drawn anew.
    """
    made: list[Expert] = []
    kept: tuple[str, ...] = ()
    for name in names:
        if fresh:
            one, kept = fresh_copy(first, seed, name)
        else:
            one = copy.deepcopy(first)
        made.append(one)
    return made, kept


def branching_point(encoder: Staged, wanted: int | None, example: Any = None) -> int:
    """How many first stages all experts share: as `wanted`, or by the rule for None.

    None is 0 where the first stage reads vectors [N, C], and for an encoder of one stage; else 1,
    as the mean of raw pixels or tokens over all places tells a gate next to nothing. Without an
    example, an encoder whose channels are in dimension 1 and whose parameters are matrices at
    most (no kernels of convolutions) is taken to read vectors. Raises `UserError` for a number
    that leaves no stage to the experts.
    """
    stages = len(encoder.stages)
    if wanted is None:
        return int(stages > 1 and _has_places(encoder, example))
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 0 <= wanted < stages:
        raise UserError(
            f"shared_stages must be a whole number from 0 to {stages - 1}, as the encoder has "
            f"{stages} stage{'s' if stages > 1 else ''} and experts are made of what remains; "
            f"found {wanted!r}. Lower it, or leave it out."
        )
    return wanted


def width_at(encoder: Staged, stages: int, example: Any = None) -> int:
    """Channels after so many stages: what a gate there reads."""
    return (
        stage_widths(encoder, example)[stages - 1] if stages else entrance_width(encoder, example)
    )


def check_keeps_input(encoder: Staged, at: int, example: Any = None) -> None:
    """Raise `UserError` if the stage behind the branching point changes what it reads, in place.

    Other experts and the gates read it too. Seen on the example; without one, nothing is checked.
    """

    def look(x: Any) -> None:
        h, context = enter(encoder.entrance, begin(encoder, x))
        for stage in list(encoder.stages)[:at]:
            h = run(stage, h, context)
        if isinstance(h, Tensor):
            version = h._version
            run(encoder.stages[at], h, context)
            if h._version != version:
                raise UserError(
                    f"stage {at + 1} of the encoder {type(encoder).__name__} changes its input in "
                    "place, which other experts read too. Set inplace=False in it, or choose "
                    "another number of shared_stages."
                )

    if example is not None:
        dry_run(encoder, look, example)


def mix(
    weights: Tensor | None, experts: Sequence[Tensor], context: Context | None = None
) -> Tensor:
    """sum_e w_e z_e, with weights [N, E] by item or [E] for all; None: the only expert's answer.

    Where rows are nodes of graphs, a node has the weights of its graph.
    """
    if weights is None:
        (only,) = experts
        return only
    terms = [
        (_by_row(weight, z, context or {}) if weight.dim() else weight) * z
        for weight, z in zip(weights.unbind(dim=-1), experts, strict=True)
    ]
    return sum(terms[1:], start=terms[0])


def _by_row(weight: Tensor, z: Tensor, context: Context) -> Tensor:
    """Weights by item, [N], so that they multiply the rows of `z`."""
    if "segments" in context and len(z) == len(context["segments"]):
        weight = weight[context["segments"]]
    return weight.view(-1, *[1] * (z.dim() - 1))


def node(cut: list[Tensor], h: Tensor) -> Tensor:
    """`h` as a node of its own, noted in the cut: for what reads `h` on the tasks' side only.

    A tensor without a graph (raw inputs) leads to no parameter and is none of the cut.
    """
    if not h.requires_grad and torch.is_grad_enabled():
        return h
    cut.append(h.view_as(h))
    return cut[-1]


def nodes(cut: list[Tensor], context: Context) -> Mapping[str, Any]:
    """The context as parts of one task read it: what is learned in it is noted in the cut."""
    return {
        key: node(cut, value) if isinstance(value, Tensor) and value.requires_grad else value
        for key, value in context.items()
    }


def as_features(cut: list[Tensor]) -> Features:
    """The cut as `compute` answers it."""
    if len(cut) < 2:
        return cut[0] if cut else None
    return cut


def _has_places(encoder: Staged, example: Any) -> bool:
    """Whether the first stage reads maps, tokens or nodes rather than one vector an item."""
    if example is None:
        return encoder.channel_dim == -1 or any(p.dim() > 2 for p in encoder.stages.parameters())

    def look(x: Any) -> bool:
        h, context = enter(encoder.entrance, begin(encoder, x))
        vectors = isinstance(h, Tensor) and h.dim() == 2 and h.is_floating_point()
        return not vectors or "segments" in context

    return dry_run(encoder, look, example)
