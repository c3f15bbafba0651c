"""MTI-Net: prediction distillation at several scales of the encoder, joined at the finest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._distillation import (
    Distil,
    Local,
    Propagate,
    Refine,
    drawn,
    early_heads,
    others,
)
from polytask.architectures._heads import Output, build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._layout import Context, Pointwise
from polytask.architectures._per_task import PerTask
from polytask.architectures._scales import Scale, match, read_scales, scales_of
from polytask.architectures.stages import as_stages


class MTINet(Architecture):
    """MTI-Net: prediction distillation at several scales of the encoder, joined at the finest.

    S. Vandenhende, S. Georgoulis, L. Van Gool, "MTI-Net: Multi-Scale Task Interaction Networks
    for Multi-Task Learning", ECCV 2020, https://arxiv.org/abs/2001.06902. A scale is a resolution
    of the encoder, read after its last stage of that resolution; x_s are its features, s = 0 the
    finest of the last `scales` ones. From the coarsest to the finest:

        F_si = refine_si([x_s, P_(s+1)i])                    features of task i; P is resized
        early answer of i = initial_si(F_si)                 at every scale
        w_s = softmax over the tasks of f_s(F_s1, ..., F_sT)
        P_si = F_si + SE_si(reduce_s(w_s * F_s))             what is propagated
        D_si = F_si + sum over j != i of sigmoid(gate_sij(F_si)) * conv_sij(F_sj)
        output of i = head_i(GELU(join_i([D_0i, D_1i, ...])))    all resized to the finest

    On maps [N, C, H, W] the convolutions are 3x3; on rows and tokens, linear maps at every place.
    An encoder of one resolution (an MLP, a transformer) has its last `scales` stages as scales.
    The last stage is read through the encoder's exit.

    What to know of it:

    - **One task needs all**, as in `PADNet`: `tasks=("a",)` and `prune("a")` still compute the
      features of all tasks at every scale; they leave out the early answers, messages and heads
      of the others.
    - **Early answers count in the loss**, one a scale, each with weight 1, beside the output. The
      `Trainer` adds them; in a loop of your own, take them from `model.intermediate`. They are
      not computed in evaluation.
    - **The softmax is over the tasks.** The published code
      (https://github.com/SimonVandenhende/Multi-Task-Learning-PyTorch) views the channels of all
      tasks, one task after another, as [channels, tasks]: its softmax then runs over neighbouring
      channels of one task, and tasks do not compete. Here it is as the paper says.
    - Gates are of the receiving task's features, one a pair, as in the paper; that code gates a
      message with the sender's.
    - All scales have `width` channels a task, where that code takes the encoder's own number at
      every scale. `refine`, `reduce` and f are built of residual blocks that normalise the
      channels of every place by themselves, where that code normalises over the batch: here items
      do not see each other.

    Cost of T tasks and S scales: one encoder pass and, on maps, about
    S (2 T + 2 T (T - 1) + T ** 2 / 8 + 2) * 9 * width ** 2 parameters, as many multiplications a
    place. Features are the list of all F_si.

    Args:
        encoder: any module; best one whose stages have several resolutions (see `stages`).
        tasks: tasks by name, or in a list.
        scales: how many of the encoder's last resolutions are used at most.
        width: channels of every task's features at every scale.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name, for features of `width` channels.
            Early answers are made by default heads.
        example: one batch of inputs, as the model will get it: it shows the resolutions.

    Raises:
        UserError: as `HardSharing`; scales or a width below 1; no example. In `forward`: stages
            whose sequences differ in length.

    """

    paper = "Vandenhende 2020"
    shares = "the encoder, and every task's features at several scales"
    requires = "best stages of several resolutions and tasks with a label at every place"
    no_new_task = (
        "every task reads messages of all the others at every scale. Train all tasks anew, or use "
        "adapters or mtan, where tasks do not read each other."
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        scales: int = 4,
        width: int = 32,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        (scales,) = positive_ints("scales", (scales,), may_be_empty=False)
        (width,) = positive_ints("width", (width,), may_be_empty=False)
        self.encoder = as_stages(encoder)
        self.read = scales_of(self.encoder, scales, example)
        dim, seed = self.encoder.channel_dim, draw_seed()
        coarsest = len(self.read) - 1
        self.scales = nn.ModuleList(
            _AtScale(
                self.outputs,
                scale,
                scale.width if s == coarsest else scale.width + width,
                width,
                self.encoder,
                seed,
                propagates=s > 0,
            )
            for s, scale in enumerate(self.read)
        )
        joined = len(self.read) * width
        self.join = PerTask(
            {
                t: drawn(seed, f"join/{t}", encoder, Pointwise, joined, width, dim)
                for t in self.task_names
            }
        )
        self.heads = build_heads(
            self.outputs,
            width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """One encoder pass, the features of all tasks, then what is these tasks' own."""
        dim = self.encoder.channel_dim
        found, context = read_scales(self.encoder, x, self.read)
        cut: list[Tensor] = []
        distilled: dict[str, list[Tensor]] = {task: [] for task in tasks}
        passed: list[Tensor] | None = None
        for h, at in zip(reversed(found), reversed(self.scales), strict=True):
            assert isinstance(at, _AtScale)
            features = at.features(h, passed, context)
            passed = at.propagate(features, context) if at.propagate is not None else None
            # Nodes of their own: what goes on to the finer scale does not run through them.
            features = [f.view_as(f) for f in features]
            cut += features
            for task in tasks:
                if self.training:
                    self.supervise(task, at.initial[task](features[at.place(task)], context))
                distilled[task].append(at.distilled(task, features))
        outputs = {}
        for task, parts in distilled.items():
            finest = parts[-1]
            joined = torch.cat([match(part, finest, dim, context) for part in parts], dim)
            outputs[task] = self.heads.answer(task, gelu(self.join[task](joined)), context)
        return outputs, cut


class _AtScale(nn.Module):
    """What happens at one scale. Refining and propagating serve all tasks, the rest one each."""

    def __init__(
        self,
        outputs: Mapping[str, Output],
        scale: Scale,
        before: int,
        width: int,
        encoder: nn.Module,
        seed: int,
        propagates: bool,
    ) -> None:
        super().__init__()
        self.tasks = tuple(outputs)
        self.dim: int = encoder.channel_dim  # type: ignore[assignment]
        layout = (self.dim, scale.maps)

        def conv(name: str) -> Local:
            return drawn(seed, f"{name}/{scale.stage}", encoder, Local, width, width, *layout)

        self.refine = nn.ModuleList(
            drawn(seed, f"features/{t}/{scale.stage}", encoder, Refine, before, width, *layout)
            for t in self.tasks
        )
        self.propagate: Propagate | None = None
        if propagates:
            self.propagate = drawn(
                seed,
                f"propagate/{scale.stage}",
                encoder,
                Propagate,
                len(self.tasks),
                width,
                *layout,
            )
        self.distil = PerTask(
            {
                t: Distil(
                    [conv(f"message/{j}/{t}") for j in others(t, self.tasks)],
                    [conv(f"gate/{j}/{t}") for j in others(t, self.tasks)],
                )
                for t in self.tasks
            }
        )
        self.initial = early_heads(outputs, width, encoder, seed, self.dim, f"/{scale.stage}")

    def place(self, task: str) -> int:
        """Where the features of a task are in the list of all."""
        return self.tasks.index(task)

    def features(
        self, h: Tensor, passed: Sequence[Tensor] | None, context: Context
    ) -> list[Tensor]:
        """The features of all tasks, of the encoder's and what the coarser scale passed on."""
        if passed is None:
            return [refine(h) for refine in self.refine]
        brought = [match(p, h, self.dim, context) for p in passed]
        return [
            refine(torch.cat([h, p], self.dim))
            for refine, p in zip(self.refine, brought, strict=True)
        ]

    def distilled(self, task: str, features: Sequence[Tensor]) -> Tensor:
        """The features of one task with the messages of the others."""
        received = [features[self.place(j)] for j in others(task, self.tasks)]
        answer: Tensor = self.distil[task](features[self.place(task)], received)
        return answer
