"""Soft layer ordering: the same modules at every depth, in proportions each task learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._checks import positive_ints
from polytask.architectures._gumbel import mixed
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import draw_seed, fresh_copy, seeded
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context, Pointwise
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import leave
from polytask.architectures._same_shape import keeps_shape, same_shape
from polytask.architectures.stages import as_stages, begin, enter, run, stage_widths


class SoftLayerOrdering(Architecture):
    """Soft layer ordering: the same modules at every depth, in proportions each task learns.

    E. Meyerson & R. Miikkulainen, "Beyond Shared Hierarchies: Deep Multitask Learning through
    Soft Layer Ordering", ICLR 2018, https://arxiv.org/abs/1711.00108. With D modules W_d that map
    features to features of the same shape, task t computes for l = 1 ... `depth`

        y_l = sum_d softmax(s[t, l])_d W_d(y_(l-1))

    from the features y_0 that a shared trunk gives. The mixing logits s start at 0: every module
    in equal parts. A module may serve one task early and another late.

    **What the modules are.** The last stages of the encoder that keep the shape of their features,
    at most D of them, with the weights they have: they are taken out of their order. What lacks
    to D are copies of the last of them, drawn anew (parts that cannot be drawn anew keep their
    weights and are named in `copied`). An encoder whose last stage changes the shape keeps all
    its stages as the trunk, and the modules are new: a linear map of the channels and ReLU, as
    wide as the last stage, drawn around the identity (the mean of several maps drawn around 0
    would make all items alike within a few depths). All before the modules is the shared trunk.

    One module has no proportions to learn: it is repeated `depth` times for all tasks, and then
    what they share is one tensor. Otherwise there is none (`no_features`): from the second depth
    on every task has features of its own, and shared modules read them up to the last.

    Traps: a module's batch normalisation sees the features of every depth and task, each batch by
    itself in training but one running mean of all in evaluation; prefer encoders with another
    normalisation. A stage that changes its input in place spoils it for the other modules.

    Cost of a step: the trunk once, then D + tasks * (depth - 1) * D modules. Parameters: the
    encoder's, the modules added, and depth * D logits a task.

    Args:
        encoder: any module, see `as_stages`.
        tasks: tasks by name, or in a list.
        modules: D, the number of modules; 4 as in the paper.
        depth: how often they are applied; None is as often as there are modules, as in the paper.
        head_hidden, heads, example: as in `HardSharing`. Without an example the declared widths
            say which stages keep the shape.

    Raises:
        UserError: `modules` or `depth` below 1; as `HardSharing`.

    """

    paper = "Meyerson & Miikkulainen 2018"
    shares = "the trunk and all modules, in proportions by task and depth"
    no_features = (
        "every task has features of its own between modules that all share, so the features that "
        "form a cut are those of one task each"
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        modules: int = 4,
        depth: int | None = None,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        positive_ints("modules", (modules,), may_be_empty=False)
        self.depth = modules if depth is None else depth
        positive_ints("depth", (self.depth,), may_be_empty=False)
        seed = draw_seed()
        self.encoder = as_stages(encoder)
        self.width = representation_width(self.encoder, example)
        taken = min(modules, _last_that_keep(keeps_shape(self.encoder, example)))
        self.trunk = len(self.encoder.stages) - taken
        self.added, self.copied = self._add(modules - taken, seed, example)
        orders = {task: _Order(self.depth, modules) for task in self.outputs}
        self.orders = PerTask(
            {task: as_new(order, encoder) for task, order in orders.items() if modules > 1}
        )
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=self.encoder.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The trunk once, then every task's own mixture of the modules at every depth."""
        h, context = enter(self.encoder.entrance, begin(self.encoder, x))
        for stage in self.encoder.stages[: self.trunk]:
            h = run(stage, h, context)
        if not len(self.orders):
            for _ in range(self.depth):
                (h,) = self._through(h, context)
            z = leave(self.encoder, h, context, self.width)
            return {task: self.heads.answer(task, z, context) for task in tasks}, z
        first = self._through(h, context)
        outputs = {}
        for task in tasks:
            proportions = self.proportions(task)
            y = mixed(proportions[0], first)
            for depth in range(1, self.depth):
                y = mixed(proportions[depth], self._through(y, context))
            z = leave(self.encoder, y, context, self.width)
            outputs[task] = self.heads.answer(task, z, context)
        return outputs, None

    def proportions(self, task: str) -> Tensor:
        """Share of every module at every depth for a task, [depth, modules]; rows sum to 1.

        Only where there are several modules. Raises `UserError` for an unknown task.
        """
        self.select((task,))
        proportions: Tensor = self.orders[task]()
        return proportions

    def layers(self) -> list[nn.Module]:
        """The modules, the same at every depth."""
        return [*self.encoder.stages[self.trunk :], *self.added]

    def _through(self, h: Tensor, context: Context) -> list[Tensor]:
        """What every module makes of the same features."""
        return [same_shape(layer, h, run(layer, h, context)) for layer in self.layers()]

    def _add(self, count: int, seed: int, example: Any) -> tuple[nn.ModuleList, tuple[str, ...]]:
        """So many modules that the encoder lacks, and what in them could not be drawn anew."""
        kept = self.encoder.stages[self.trunk :]
        added = nn.ModuleList()
        copied: tuple[str, ...] = ()
        for number in range(len(kept), len(kept) + count):
            if len(kept):
                layer, copied = fresh_copy(kept[-1], seed, f"module/{number}")
                added.append(layer)
                continue
            width = stage_widths(self.encoder, example)[-1]
            with seeded(seed, f"module/{number}"), torch.device("cpu"):
                linear = Pointwise(width, width, self.encoder.channel_dim)
                # Around the identity: repeated means of random maps make all items alike.
                linear.weight.data.add_(torch.eye(width))
            added.append(as_new(nn.Sequential(linear, nn.ReLU()), self.encoder))
        return added, copied


class _Order(nn.Module):
    """A task's mixing logits, 0 at first, [depth, modules]; answers their softmax."""

    def __init__(self, depth: int, modules: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(depth, modules))

    def forward(self) -> Tensor:
        """Share of every module at every depth."""
        return self.logits.softmax(dim=-1)


def _last_that_keep(keeps: Sequence[bool]) -> int:
    """How many stages at the end keep the shape of their features, without a gap."""
    count = 0
    for keep in reversed(keeps):
        if not keep:
            break
        count += 1
    return count
