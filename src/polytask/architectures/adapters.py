"""Adapters: one shared encoder, adapted after its stages by a small module of every task."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from polytask.architectures._adapters import Modulation, ResidualAdapter, SqueezeExcitation
from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, seeded
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context
from polytask.architectures._options import chosen_stages
from polytask.architectures._passes import passes
from polytask.architectures._per_task import PerTask
from polytask.architectures.stages import as_stages, stage_widths
from polytask.errors import UserError, unknown

KINDS = ("residual", "se", "modulation")
NARROWEST = 8
"""Fewest inner units of a squeeze-and-excitation: one ReLU alone may be dead for every input."""


class Adapters(Architecture):
    """Adapters: one shared encoder, adapted after its stages by a small module of every task.

    Task t's features after an adapted stage j are a_tj(f_j(...)), with one of three a:

    - "residual": h + W norm(h), W a linear map of the channels (a 1x1 convolution). The series
      adapter of S. Rebuffi et al., "Learning Multiple Visual Domains with Residual Adapters",
      NeurIPS 2017, https://arxiv.org/abs/1705.08045, and CVPR 2018,
      https://arxiv.org/abs/1803.10082.
    - "se": h times a gate of every channel, 2 sigmoid(W_2 relu(W_1 mean(h))): squeeze and
      excitation (J. Hu et al., CVPR 2018, https://arxiv.org/abs/1709.01507) by task, as in
      ASTMT (K. Maninis et al., "Attentive Single-Tasking of Multiple Tasks", CVPR 2019,
      https://arxiv.org/abs/1904.08918).
    - "modulation": h scaled by channel (X. Zhao et al., "A Modulation Module for Multi-task
      Learning", ECCV 2018, https://arxiv.org/abs/1809.06708), here with a shift as well.

    **Every adapter starts as the identity**, so that the untrained model answers as hard sharing
    does, to the bit, and a pretrained encoder loses nothing. W and W_2 start at zero, which keeps
    what stands before them still in the first step. Published residual adapters draw W instead,
    and the gate of ASTMT's code is one sigmoid, which starts near 1/2.

    Cost of a step: the stages up to the first adapted one once, all later ones **once a task**.
    Parameters of task t at a stage of width C: C^2 / reduction times 1 (full) or 2 (low rank),
    2 C^2 / reduction ("se"), 2 C ("modulation").

    Where this departs from the papers: adapters stand behind whole stages, since what is inside
    is the encoder's own (published ones also sit beside convolutions). **Batch norms of the
    encoder stay shared**: their running statistics mix the passes of all tasks, while the papers
    give every task norms of its own; an encoder with layer or group norms avoids it, and
    `freeze=True` keeps them still. Dropout is drawn anew in every pass. ASTMT's discriminator of
    gradients is left out: it needs second derivatives of the whole encoder.

    Features: where no trained part of the encoder follows the first adapter, what all tasks part
    from; else none, since the tasks' gradients never meet at one tensor.

    Args:
        encoder: any module; a stage each gets an adapter a task.
        tasks: tasks by name, or in a list.
        kind: "residual", "se" or "modulation".
        stages: after which stages adapters stand, from 1. None: all of them.
        reduction: inner width is the stage's divided by this; for "residual" 1 is a full matrix,
            more a product of two. None: 1 for "residual", 16 for "se" (at least 8 units are
            kept). "modulation" has none.
        norm: batch norm in front of W ("residual" only). False for padded tokens, which it
            would count.
        freeze: the encoder is a frozen copy of the one given, always in eval mode; only adapters
            and heads learn. For a pretrained encoder. Nothing that learns is shared then, so
            methods that read gradients refuse the model, and there is nothing to balance.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.

    Raises:
        UserError: as `HardSharing`; a kind, stages or a reduction that do not exist.

    """

    paper = "Rebuffi 2017; Maninis 2019; Zhao 2018"
    shares = "the encoder; every task adapts its features"
    no_features = (
        "adapted stages run once a task, so the tasks' gradients never meet at one representation; "
        "there is one where adapters stand after the last stage alone"
    )
    silent_at_start = ("adapters.*.norm.*", "adapters.*.down.*", "adapters.*.squeeze.*")

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        kind: Literal["residual", "se", "modulation"] = "residual",
        stages: Sequence[int] | None = None,
        reduction: int | None = None,
        norm: bool = True,
        freeze: bool = False,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        if freeze and isinstance(encoder, nn.Module):
            encoder = _learning_copy(encoder)
        super().__init__(encoder, tasks)
        if kind not in KINDS:
            raise unknown("kind of adapter", kind, KINDS)
        staged = as_stages(encoder)
        self.stages = chosen_stages(stages, len(staged.stages))
        self.width = representation_width(staged, example)
        self.encoder = staged
        self.freeze = freeze
        widths = stage_widths(staged, example)
        inner = _inner(kind, reduction, norm, [widths[stage - 1] for stage in self.stages])
        seed = draw_seed()
        adapters: dict[str, nn.Module] = {}
        for task in self.task_names:
            with seeded(seed, f"adapters/{task}"), torch.device("cpu"):
                made = {
                    str(stage): _adapter(kind, widths[stage - 1], units, norm, staged.channel_dim)
                    for stage, units in zip(self.stages, inner, strict=True)
                }
            adapters[task] = as_new(nn.ModuleDict(made), encoder)
        self.adapters = PerTask(adapters)
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=staged.channel_dim,
        )
        if freeze:
            self.encoder.requires_grad_(False).eval()

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Stages up to the first adapter once, then a pass for each of these tasks."""
        found, context, parting = passes(
            self.encoder, x, self.width, tasks, self.stages, self._adapt
        )
        outputs = {task: self.heads.answer(task, z, context) for task, z in found.items()}
        return outputs, None if self.freeze else parting

    def _adapt(self, task: str, stage: int, h: Tensor, context: Context) -> Tensor:
        own = self.adapters[task]
        assert isinstance(own, nn.ModuleDict)
        adapted: Tensor = own[str(stage)](h, context)
        return adapted

    def train(self, mode: bool = True) -> Self:
        """Training mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self


def _adapter(kind: str, width: int, inner: int, norm: bool, channel_dim: int) -> nn.Module:
    if kind == "residual":
        return ResidualAdapter(width, inner, norm, channel_dim)
    if kind == "se":
        return SqueezeExcitation(width, inner, channel_dim)
    return Modulation(width, channel_dim)


def _inner(kind: str, reduction: int | None, norm: bool, widths: Sequence[int]) -> list[int]:
    """Inner widths of the adapters; raises `UserError` for options their kind does not have."""
    if reduction is not None:
        positive_ints("reduction", (reduction,), may_be_empty=False)
        if kind == "modulation":
            raise UserError(
                f"adapters of kind 'modulation' have no inner width to reduce, found "
                f"reduction={reduction}. Leave it out, or choose 'residual' or 'se'."
            )
    if not norm and kind != "residual":
        raise UserError(
            f"only adapters of kind 'residual' have a norm, found norm=False with {kind!r}. "
            "Leave it out."
        )
    by = reduction or {"residual": 1, "se": 16, "modulation": 1}[kind]
    least = NARROWEST if kind == "se" else 1
    return [max(width // by, least) for width in widths]


def _learning_copy(encoder: nn.Module) -> nn.Module:
    """A copy to freeze; it may come frozen, which no other architecture takes."""
    copied = copy.deepcopy(encoder)
    for parameter in copied.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return copied
