"""Multi-depth heads: every task reads the shared encoder after a stage of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import check_representation, representation_width
from polytask.architectures._layout import Context
from polytask.architectures._represent import leave
from polytask.architectures.stages import Staged, as_stages, begin, enter, run, stage_widths
from polytask.errors import UserError, unknown


class MultiDepth(Architecture):
    """Multi-depth heads: every task reads the shared encoder after a stage of its own.

    A. Søgaard, Y. Goldberg, "Deep Multi-Task Learning with Low Level Tasks Supervised at Lower
    Layers", ACL 2016, https://aclanthology.org/P16-2038. With stages f_1, f_2, ... and depth l of
    task t, its output is h_t(f_l(... f_1(x))). A task's gradient reaches the stages up to its
    depth and no other, and for that task alone no deeper stage is computed. Cost of a step: one
    encoder pass whatever the number of tasks.

    The paper puts part-of-speech tags at the lowest of three layers; which task is a low one is
    a choice of the user's, so **the default order is only that of the tasks**: of T tasks over S
    stages, task i (counted from 1) reads after stage ceil(i S / T): shallow ones first, the last
    one after the last stage. With one stage all of them read after it: hard sharing.

    A head after the last stage reads what the encoder's exit makes of it; a head before reads
    the stage's features themselves (maps and tokens are pooled by the default head). Stages
    deeper than every task, and the exit when nobody reads the last stage, are not part of the
    model: nothing could train them. Features are a cut: what heads read at every depth up to the
    deepest stage that two tasks share.

    Args:
        encoder: any module; best one of several stages (see `stages`).
        tasks: tasks by name, or in a list.
        depths: the stage, from 1, after which each task reads: by name, or in the order of the
            tasks. None spreads them as above.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name, each for the width at its depth.
        example: one batch of inputs, for a dry run where widths of stages are not declared.

    Raises:
        UserError: as `HardSharing`; depths for other tasks than those of the model, or beyond
            the stages; widths of stages that are not known.

    """

    paper = "Søgaard and Goldberg 2016"
    shares = "the stages of the encoder up to the shallower task's depth"
    requires = "several stages; one stage is hard sharing"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        depths: Mapping[str, int] | Sequence[int] | None = None,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        staged = as_stages(encoder)
        self.depths = _depths(depths, self.task_names, len(staged.stages))
        self.widths = _widths(staged, self.depths.values(), example)
        self.encoder = _up_to(staged, max(self.depths.values()))
        self.heads = build_heads(
            self.outputs,
            {task: self.widths[depth] for task, depth in self.depths.items()},
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=draw_seed(),
            channel_dim=staged.channel_dim,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The stages up to the deepest of these tasks; heads read on the way."""
        depths = {task: self.depths[task] for task in tasks}
        h, context = enter(self.encoder.entrance, begin(self.encoder, x))
        deepest = max(depths.values())
        met = deepest if _learned(context) else sorted(depths.values())[-2:][0]
        read: dict[int, Tensor] = {}
        cut = []
        for depth in range(1, deepest + 1):
            h = run(self.encoder.stages[depth - 1], h, context)
            if depth not in depths.values():
                continue
            z = self._read(h, depth, context)
            if depth <= met:
                # A node of its own: what goes on to deeper stages does not run through it.
                z = z.view_as(z)
                cut.append(z)
            if depth == met < deepest:
                # One task alone goes deeper: all that is shared ends here.
                h = z
            read[depth] = z
        outputs = {
            task: self.heads.answer(task, read[depth], context) for task, depth in depths.items()
        }
        return outputs, cut[0] if len(cut) == 1 else cut

    def _read(self, h: Tensor, depth: int, context: Context) -> Tensor:
        """What the heads at a depth read: after the last stage, through the exit."""
        if depth == len(self.encoder.stages):
            return leave(self.encoder, h, context, self.widths[depth])
        check_representation(self.encoder, h, self.widths[depth])
        return h

    def options_with(self, task: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Old tasks read where they did; a new one as deep as the deepest, unless said."""
        given = options.get("depths")
        chosen = given.get(task) if isinstance(given, Mapping) else None
        depth = max(self.depths.values()) if chosen is None else chosen
        return {"depths": {**self.depths, task: depth}}

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """A stage belongs to the tasks that read after it or deeper."""
        users = super().shared_parameters()
        last = len(self.encoder.stages)
        parts = {f"encoder.stages.{i}.": i + 1 for i in range(last)} | {"encoder.exit.": last}
        for part, depth in parts.items():
            reached = tuple(task for task in self.task_names if self.depths[task] >= depth)
            users.update({name: reached for name in users if name.startswith(part)})
        return users


def _learned(context: Context) -> bool:
    """Whether gradients reach the entrance through what stages read beside their features."""
    return any(isinstance(value, Tensor) and value.requires_grad for value in context.values())


def _depths(given: object, tasks: Sequence[str], stages: int) -> dict[str, int]:
    """Depth by task name; raises `UserError` for tasks or stages that are not there."""
    if given is None:
        # -(-a // b) is a / b rounded up, in whole numbers.
        return {task: -(-(i + 1) * stages // len(tasks)) for i, task in enumerate(tasks)}
    if isinstance(given, Mapping):
        for task in given:
            if task not in tasks:
                raise unknown("task in depths:", task, tasks)
        missing = [task for task in tasks if task not in given]
        if missing:
            raise UserError(
                f"depths must name every task, found none for {', '.join(missing)}. Add "
                f"{missing[0]!r} with a stage from 1 to {stages}."
            )
        depths = {task: given[task] for task in tasks}
    elif isinstance(given, Sequence) and not isinstance(given, str) and len(given) == len(tasks):
        depths = dict(zip(tasks, given, strict=True))
    else:
        raise UserError(
            f"depths must be one stage a task, a mapping by name or {len(tasks)} numbers in the "
            f"order of the tasks ({', '.join(tasks)}), found {given!r}."
        )
    for task, depth in depths.items():
        if not isinstance(depth, int) or isinstance(depth, bool) or not 1 <= depth <= stages:
            raise UserError(
                f"the depth of task {task!r} must be a stage of the encoder, a whole number from "
                f"1 to {stages}, found {depth!r}."
            )
    return depths


def _widths(encoder: Staged, depths: Iterable[int], example: Any) -> dict[int, int]:
    """What heads read, by depth: after the last stage it is what the exit answers."""
    last = len(encoder.stages)
    used = set(depths)
    widths = {}
    if used - {last}:
        after = stage_widths(encoder, example)
        widths = {depth: after[depth - 1] for depth in used - {last}}
    if last in used:
        widths[last] = representation_width(encoder, example)
    return widths


def _up_to(encoder: Staged, depth: int) -> Staged:
    """`encoder`, or a chain of its first stages without the exit; the modules are the same."""
    if depth == len(encoder.stages):
        return encoder
    return Staged(
        [encoder.stages[i] for i in range(depth)],
        encoder.entrance,
        channel_dim=encoder.channel_dim,
        entrance_width=encoder.entrance_width,
        takes_dict=encoder.takes_dict,
    )
