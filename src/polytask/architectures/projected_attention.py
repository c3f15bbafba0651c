"""Projected attention layers: a narrow attention of every task beside each shared stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, seeded
from polytask.architectures._inputs import representation_width
from polytask.architectures._per_task import PerTask
from polytask.architectures._projected import ProjectedLayers
from polytask.architectures._represent import leave
from polytask.architectures.stages import (
    as_stages,
    begin,
    enter,
    entrance_width,
    run,
    stage_widths,
)
from polytask.errors import UserError


class ProjectedAttention(Architecture):
    """Projected attention layers: a narrow attention of every task beside each shared stage.

    A. C. Stickland & I. Murray, "BERT and PALs: Projected Attention Layers for Efficient Adaptation
    in Multi-Task Learning", ICML 2019, https://arxiv.org/abs/1902.02671. Task t computes, with the
    shared stages f_l,

        h_(l+1) = f_l(h_l) + V_D attention_tl(V_E h_l),

    where V_E maps the channels to `size`, V_D back, and the attention has several heads and no
    map of its own behind it. As in the paper a task has one V_E and one V_D for all stages (one
    for each width, where stages differ in it) and an attention for each stage.

    **V_D starts at 0**, so that the untrained model answers as hard sharing does, to the bit, and
    a pretrained encoder loses nothing; what stands before it gets no gradient in the first step.

    Where this departs: the paper adds inside a layer, before its last norm, which no encoder but
    BERT has at that place; here the sum is behind the stage. The paper's equation has no
    function after V_D, and the maps no bias; the published code has a GELU and biases there
    (and draws V_D): the equation is followed. The paper trains one task a batch; here every
    batch runs all.

    Features need not be tokens: the pixels of a map are tokens (attention of n pixels costs n^2),
    nodes attend to the nodes of their own graph, padding is read by no token. Where a stage changes
    the resolution, what the task adds is pooled to it. **A lone token** ([N, C]) attends to
    itself or to nothing (a zero key and value): over one key the softmax is 1, and queries and
    keys would never learn. Dropout and batch norms of the encoder see each task's pass by itself
    from the second stage on; running statistics then mix all tasks.

    Cost of a step: the entrance and the first stage once, all later stages **once a task**.
    Parameters of a task: 2 size * C, and 3 size^2 a stage.

    Args:
        encoder: any module whose first stage reads floating-point features: tokens best.
        tasks: tasks by name, or in a list.
        size: width of the tasks' attention, a multiple of `attention_heads`. None is about a
            quarter of the widest stage (the paper takes 204 for 768).
        attention_heads: how many parts attend by themselves; 4 (the paper 12, its code 6).
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.

    Raises:
        UserError: as `HardSharing`; a size that is no multiple of `attention_heads`; an encoder
            whose first stage reads codes, or whose widths are not known. In `forward`: a stage
            that answers another number of axes of places than it reads.

    """

    paper = "Stickland & Murray 2019"
    shares = "the encoder; every task has narrow attention beside its stages"
    requires = "stages that read floating-point features, tokens best; embed in the entrance"
    no_features = (
        "from the first stage on every task has features of its own, so the tasks' gradients never "
        "meet at one representation"
    )
    silent_at_start = ("layers.*.encode.*", "layers.*.attention.*")

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        size: int | None = None,
        attention_heads: int = 4,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        self.encoder = as_stages(encoder)
        self.width = representation_width(self.encoder, example)
        after = stage_widths(self.encoder, example)
        before = (entrance_width(self.encoder, example), *after[:-1])
        size = _size(size, attention_heads, max(after))
        channel_dim = self.encoder.channel_dim
        seed = draw_seed()
        layers: dict[str, nn.Module] = {}
        for task in self.task_names:
            with seeded(seed, f"layers/{task}"), torch.device("cpu"):
                made = ProjectedLayers(before, after, size, attention_heads, channel_dim)
            layers[task] = as_new(made, encoder)
        self.layers = PerTask(layers)
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The first stage once, then a pass for each of these tasks."""
        entered, context = enter(self.encoder.entrance, begin(self.encoder, x))
        stages = list(self.encoder.stages)
        first = run(stages[0], entered, context)
        outputs = {}
        for task in tasks:
            own = self.layers[task]
            h: Tensor = own(0, entered, first, context)
            for number, stage in enumerate(stages[1:], start=1):
                h = own(number, h, run(stage, h, context), context)
            z = leave(self.encoder, h, context, self.width)
            outputs[task] = self.heads.answer(task, z, context)
        return outputs, None


def _size(size: int | None, heads: int, widest: int) -> int:
    """The width of the attention; raises `UserError` unless its heads divide it."""
    positive_ints("attention_heads", (heads,), may_be_empty=False)
    if size is None:
        return heads * max(1, round(widest / 4 / heads))
    positive_ints("size", (size,), may_be_empty=False)
    if size % heads:
        raise UserError(
            f"size must be a multiple of attention_heads, found size={size} and "
            f"attention_heads={heads}. Take size={-(-size // heads) * heads}."
        )
    return size
