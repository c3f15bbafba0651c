"""The network of a tree: every group of tasks has a copy of the stage that it shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features
from polytask.architectures._heads import Heads
from polytask.architectures._inputs import check_representation, unwrapped
from polytask.architectures._layout import Context
from polytask.architectures.stages import Staged, enter, run
from polytask.errors import UserError, unknown

Partition = tuple[tuple[str, ...], ...]
"""Groups of tasks; names in order, groups in order, so that it does not depend on theirs."""


class TreeNetwork(Architecture):
    """A tree of parts: one a group of tasks at every level.

    Levels are the entrance of an encoder, its stages, and its exit. A part is shared by the tasks
    of its group. The features are a cut: for every group the last features that at least two
    tasks share on their way.

    Built as an `Architecture`, then planted.
    """

    shares = "every stage by the tasks of a group"

    def plant(
        self,
        levels: Sequence[Partition],
        parts: Sequence[Sequence[nn.Module]],
        heads: Heads,
        width: int,
        *,
        channel_dim: int,
        takes_dict: bool,
    ) -> None:
        """Give it its parts.

        Args:
            levels: the groups at every level, each partition refining the one before.
            parts: the module of every group at every level.
            heads: the heads.
            width: channels of the representation.
            channel_dim, takes_dict: of the encoder that was cut, see `Staged`.

        """
        self.levels = tuple(levels)
        self.parts = nn.ModuleList(nn.ModuleList(level) for level in parts)
        self.heads = heads
        self.width = width
        self.channel_dim = channel_dim
        self.takes_dict = takes_dict

    @property
    def tree(self) -> tuple[Partition, ...]:
        """The groups at every stage, of the tasks that are there; names in order."""
        here = (
            (tuple(task for task in group if task in self.outputs) for group in groups)
            for groups in self.levels[1:-1]
        )
        return tuple(tuple(group for group in groups if group) for groups in here)

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The parts that lie on the way of these tasks, each once."""
        x = x if self.takes_dict else unwrapped(x)
        cut: list[Tensor] = []
        read: dict[int, tuple[Tensor, Context]] = {}
        for level in range(len(self.levels)):
            parts = self.parts[level]
            assert isinstance(parts, nn.ModuleList)
            before, read = read, {}
            alone: dict[int, Tensor] = {}
            for group, task in self._wanted(level, tasks).items():
                part = parts[group]
                if level == 0:
                    read[group] = enter(part, x)
                    continue
                parent = self._group_of(level - 1, task)
                h, context = before[parent]
                if len(self._members(level, group)) == 1 < len(self._members(level - 1, parent)):
                    # A node of its own, which deeper shared features do not run through.
                    if parent not in alone:
                        alone[parent] = h.view_as(h)
                        cut.append(alone[parent])
                    h = alone[parent]
                read[group] = run(part, h, context), context
        outputs, ends = {}, {}
        for task in tasks:
            end = self._group_of(len(self.levels) - 1, task)
            z, context = read[end]
            check_representation(self, z, self.width)
            outputs[task] = self.heads.answer(task, z, context)
            ends[end] = z, context
        return outputs, self._features(cut, ends)

    def _features(
        self, cut: Sequence[Tensor], ends: Mapping[int, tuple[Tensor, Context]]
    ) -> Features:
        """The cut, from where tasks go on alone and what ends in several heads."""
        last = len(self.levels) - 1
        if any(_learned(context) for _, context in ends.values()):
            # Gradients also reach the entrance through the context of deeper stages.
            shared = any(
                len(self._members(level, group)) > 1
                for level in range(len(self.levels))
                for group in range(len(self.levels[level]))
            )
            nodes = [z for z, _ in ends.values()] if shared else []
        else:
            together = [z for end, (z, _) in ends.items() if len(self._members(last, end)) > 1]
            nodes = [node for node in (*cut, *together) if node.requires_grad]
        return nodes[0] if len(nodes) == 1 else nodes or None

    def shared_parameters(self) -> dict[str, tuple[str, ...]]:
        """A part is used by the tasks of its group."""
        users = super().shared_parameters()
        for level, groups in enumerate(self.levels):
            for group in range(len(groups)):
                who, prefix = self._members(level, group), f"parts.{level}.{group}."
                users.update({name: who for name in users if name.startswith(prefix)})
        return users

    def names_in(self, larger: Architecture) -> dict[str, str]:
        """Groups are numbered by the names of their tasks, so a further task moves them."""
        assert isinstance(larger, TreeNetwork)
        if not hasattr(larger, "levels"):
            raise UserError(
                "this tree was planted with parts of another model, so it cannot be built with one "
                "task more. Build branched with tree=, load the weights, and add the task there."
            )
        names: dict[str, str] = {}
        for level, groups in enumerate(self.levels):
            for number in range(len(groups)):
                places = {larger._group_of(level, t) for t in self._members(level, number)}
                prefix = f"parts.{level}.{number}."
                if len(places) != 1:
                    raise UserError(
                        f"the groups of level {level} divide {self._members(level, number)}, which "
                        "share a part; say groups in which tasks stay together."
                    )
                (place,) = places
                tensors = (*self.named_parameters(), *self.named_buffers())
                for name in (n for n, _ in tensors if n.startswith(prefix)):
                    names[name] = f"parts.{level}.{place}.{name[len(prefix) :]}"
        return names

    def _members(self, level: int, group: int) -> tuple[str, ...]:
        """The tasks of a group, in the order of the model; some may have been pruned."""
        return tuple(task for task in self.task_names if task in self.levels[level][group])

    def _group_of(self, level: int, task: str) -> int:
        """The number of the group that a task is in."""
        return next(i for i, group in enumerate(self.levels[level]) if task in group)

    def _wanted(self, level: int, tasks: Iterable[str]) -> dict[int, str]:
        """The groups of these tasks, each with one of its tasks."""
        return {self._group_of(level, task): task for task in tasks}


def _learned(context: Context) -> bool:
    """Whether gradients reach the entrance through what stages read beside their features."""
    return any(isinstance(value, Tensor) and value.requires_grad for value in context.values())


def partition(groups: object, tasks: Sequence[str], where: str) -> Partition:
    """Groups of names, each task in one of them; raises `UserError` that names `where` if not."""
    if not _is_list(groups) or not all(map(_is_list, groups)):
        raise UserError(
            f"{where} must be lists of task names, such as [[{tasks[0]}], ...], found {groups!r}."
        )
    named = [task for group in groups for task in group]
    for task in named:
        if task not in tasks:
            raise unknown(f"task in {where}:", task, tasks)
    for task in tasks:
        if named.count(task) != 1:
            found = f"{named.count(task)} times" if task in named else "in none"
            raise UserError(
                f"{where} must have every task in one group, found {task!r} {found}. Found "
                f"{groups!r}."
            )
    return tuple(sorted(tuple(sorted(group)) for group in groups if group))


def tree_of(given: object, tasks: Sequence[str], stages: int) -> tuple[Partition, ...]:
    """One partition per stage, each refining the one before; raises `UserError` if it is not."""
    if not _is_list(given) or len(given) != stages:
        found = f"{len(given)}" if _is_list(given) else repr(given)
        raise UserError(
            f"tree must be one list of groups per stage; the encoder has {stages}, found {found}."
        )
    partitions = tuple(
        partition(groups, tasks, f"tree, stage {stage},") for stage, groups in enumerate(given)
    )
    for stage in range(1, stages):
        for group in partitions[stage]:
            if not any(set(group) <= set(before) for before in partitions[stage - 1]):
                raise UserError(
                    f"tree: {', '.join(group)} are one group at stage {stage} but not at stage "
                    f"{stage - 1}; tasks that have parted cannot meet again. Put them together "
                    "before, or apart here."
                )
    return partitions


def stage_costs(
    encoder: Staged, given: Sequence[float] | None = None, *, with_entrance: bool = True
) -> list[float]:
    """What a copy of each stage costs: as given, or its parameters, and those of the ends.

    Raises `UserError` unless there is one number, 0 or more, per stage, and one above 0.
    """
    if given is None:
        parts = [[stage] for stage in encoder.stages]
        parts[0] += [encoder.entrance] if with_entrance else []
        parts[-1].append(encoder.exit)
        return [float(sum(p.numel() for part in own for p in part.parameters())) for own in parts]
    costs = list(given) if _is_list(given) else []
    numbers = all(isinstance(c, int | float) and math.isfinite(c) and c >= 0 for c in costs)
    if len(costs) != len(encoder.stages) or not numbers or not sum(costs) > 0:
        raise UserError(
            f"costs must be one number per stage, 0 or more; the encoder has "
            f"{len(encoder.stages)} stages, found {given!r}."
        )
    return [float(cost) for cost in costs]


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
