"""Columns: one copy of the encoder a task, side by side, with joints at which all of them meet."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import Features, TaskLike
from polytask.architectures._experts import as_features, node, nodes
from polytask.architectures._heads import as_new, build_heads
from polytask.architectures._init import copies, draw_seed, seeded
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context
from polytask.architectures._options import chosen_stages
from polytask.architectures._per_task import module_key
from polytask.architectures._regularized import Regularized, parallel
from polytask.architectures._represent import leave
from polytask.architectures.stages import (
    Staged,
    adapted,
    as_stages,
    begin,
    enter,
    run,
    stage_widths,
)
from polytask.errors import UserError
from polytask.optimization.regularization import Terms


class ByTask(nn.Module):
    """One module per task that other tasks may use too: unlike in `PerTask`, none is its own."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for task, module in modules.items():
            self.add_module(module_key(task), module)

    def __getitem__(self, task: str) -> Any:
        return self._modules[module_key(task)]


class Columns(Regularized):
    """Base of architectures in which columns meet at joints; a subclass says what a joint is.

    Column t is the copy of the encoder that `SingleTask` gives task t. After the stages `joined`
    (numbers from 1, in order; none for a lone task), column t goes on with what its unit of the
    joint makes of the features of all columns. A subclass calls `join` at the end of its
    `__init__`, and may change in `gather` what the exit of a column reads.

    Who uses what: up to the last joint, all tasks use all columns and joints. The last joint's
    unit t, and the rest of column t, are task t's own. So what all columns answer *in front of*
    the last joint is a cut, together with what tasks read of earlier features in `gather`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        *,
        stages: Sequence[int] | None,
        fresh: bool,
        head_hidden: Sequence[int],
        heads: Mapping[str, nn.Module] | None,
        example: Any,
        regularize: Terms = (),
    ) -> None:
        super().__init__(encoder, tasks)
        encoder = adapted(encoder)
        staged = as_stages(encoder)
        self.channel_dim = staged.channel_dim
        self.depth = len(staged.stages)
        self.width = representation_width(staged, example)
        # Columns of all tasks stay when a model is pruned: the kept ones read them.
        self.every = self.task_names
        chosen = chosen_stages(stages, self.depth)
        self.joined = chosen if len(self.every) > 1 else ()
        self.seed = draw_seed()
        made, self.copied = copies(encoder, self.every, self.seed, fresh=fresh)
        self.columns = ByTask({task: as_stages(column) for task, column in made.items()})
        self.joints = nn.ModuleDict()
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=self.seed,
            channel_dim=self.channel_dim,
        )
        self.tie(regularize, encoder)

    @abstractmethod
    def unit(self, stage: int, column: int) -> nn.Module:
        """A new unit for the joint after `stage`: from features of all columns to a column's."""

    def gather(self, task: str, trail: list[Tensor], context: Context) -> Tensor:
        """What the exit of a task's column reads, of its features after every stage and joint."""
        return trail[-1]

    def join(self, like: nn.Module) -> None:
        """Make the units of all joints, each drawn from a stream of its own."""
        for stage in self.joined:
            units: dict[str, nn.Module] = {}
            for number, task in enumerate(self.every):
                with seeded(self.seed, f"joint/{stage}/{task}"), torch.device("cpu"):
                    made = self.unit(stage, number)
                units[task] = as_new(made, like)
            self.joints[str(stage)] = ByTask(units)

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """All columns up to the last joint, then those of these tasks."""
        last = max(self.joined, default=0)
        running = self.every if last else tasks
        h: dict[str, Tensor] = {}
        contexts: dict[str, Context] = {}
        for task in running:
            column = self.column(task)
            h[task], contexts[task] = enter(column.entrance, begin(column, x))
        trails: dict[str, list[Tensor]] = {task: [] for task in tasks}
        cut: list[Tensor] = []
        for stage in range(1, self.depth + 1):
            h = {t: run(self.column(t).stages[stage - 1], h[t], contexts[t]) for t in running}
            if stage == last:
                running = tasks
                cut += h.values()
                contexts = {task: self._beyond(task, contexts[task], cut) for task in tasks}
            if stage in self.joined:
                units, features = self.joint(stage), list(h.values())
                h = {task: units[task](features) for task in running}
            for task in tasks:
                trails[task].append(h[task])
        outputs = {}
        for task in tasks:
            early = trails[task][: max(0, last - 1)] if self.reads_early() else []
            trail = [*(node(cut, z) for z in early), *trails[task][len(early) :]]
            gathered = self.gather(task, trail, contexts[task])
            z = leave(self.column(task), gathered, contexts[task], self.width)
            outputs[task] = self.heads.answer(task, z, contexts[task])
        return outputs, as_features(cut)

    def reads_early(self) -> bool:
        """Whether `gather` reads more than the last features."""
        return False

    def keep_apart(self, task: str, before: Mapping[str, Tensor]) -> Collection[str]:
        """Old columns take nothing of the new one, at first; it takes of all as at construction."""
        found = []
        for stage in self.joined:
            for place, old in enumerate(self.every):
                name = f"joints.{stage}.{module_key(old)}.alpha"
                if old == task:
                    continue
                self.joint(stage)[old].start_without(place, before.get(name))
                found.append(name)
        return found

    def stage_widths(self, example: Any) -> tuple[int, ...]:
        """Channels after every stage of a column."""
        return stage_widths(self.column(self.every[0]), example)

    def parallel_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Those of the columns; a pruned model has the columns of its own tasks among them."""
        return parallel([self.column(task) for task in self.outputs])

    def column(self, task: str) -> Staged:
        """The network of one task."""
        column: Staged = self.columns[task]
        return column

    def joint(self, stage: int) -> ByTask:
        """The units of the joint after a stage; None for those a pruned model has not."""
        units = self.joints[str(stage)]
        assert isinstance(units, ByTask)
        return units

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """For every parameter, the tasks whose output uses it; see the class."""
        users = super().shared_parameters()
        last = max(self.joined, default=0)
        owners = {module_key(task): task for task in self.every}
        for name in users:
            kind, *path = name.split(".")
            if kind == "joints" and int(path[0]) == last:
                users[name] = (owners[path[1]],)
            if kind == "columns" and _place(path[1:]) > last:
                users[name] = (owners[path[0]],)
        return users

    def rates(self, factor: float) -> dict[str, float]:
        """One factor for all parameters of joints, for `rate_factors`."""
        names = (name for name, _ in self.named_parameters() if name.startswith("joints."))
        return dict.fromkeys(names, factor) if factor != 1 else {}

    def _beyond(self, task: str, context: Context, cut: list[Tensor]) -> Context:
        """The context as the rest of a column reads it, which is task's own."""
        column = self.column(task)
        rest = [*column.stages[max(self.joined) :], column.exit]
        read = any(getattr(part, "takes_context", False) for part in rest)
        return nodes(cut, context) if read else context


def _place(path: Sequence[str]) -> float:
    """After how many stages a part of an encoder comes: 0 for the entrance."""
    if path[0] == "stages":
        return int(path[1]) + 1
    return 0 if path[0] == "entrance" else float("inf")


def check_width(h: Tensor, width: int, channel_dim: int, stage: int) -> None:
    """Raise `UserError` unless features have the channels that their stage declared."""
    dim = 1 if channel_dim == 1 else -1
    if h.shape[dim] != width:
        raise UserError(
            f"stage {stage} of the encoder answered features of shape {tuple(h.shape)}, but the "
            f"joint after it was built for {width} channels in dimension {dim}. Correct the "
            "declared widths, or pass example=<one batch of inputs>."
        )
