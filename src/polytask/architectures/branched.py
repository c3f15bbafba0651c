"""Branched network: tasks share the first stages of a tree and part where they differ."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from polytask.architectures._affinity import dissimilarities
from polytask.architectures._base import TaskLike
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed, fresh_copy
from polytask.architectures._inputs import representation_width
from polytask.architectures._tree import (
    Partition,
    TreeNetwork,
    partition,
    stage_costs,
    tree_of,
)
from polytask.architectures.stages import Staged, as_stages
from polytask.errors import UserError
from polytask.trees import best_tree


class Branched(TreeNetwork):
    """Branched network: tasks share the first stages of a tree and part where they differ.

    S. Vandenhende, S. Georgoulis, B. De Brabandere, L. Van Gool, "Branched Multi-Task Networks:
    Deciding What Layers To Share", BMVC 2020, https://arxiv.org/abs/1904.02920; Y. Lu et al.,
    "Fully-Adaptive Feature Sharing in Multi-Task Networks", CVPR 2017,
    https://arxiv.org/abs/1611.05377. At every stage tasks are in groups, and a group has its own
    copy of the stage; groups only ever split. One group everywhere is hard sharing, every task
    alone from the first stage is `SingleTask`, both to the bit. The entrance goes with the first
    stage, the exit with the last.

    Say the tree in one of three ways:

    - `groups` and `at`: these groups are apart from stage `at` on. Nothing given is every task
      alone in the last stage (in an encoder of one stage all share it).
    - `tree`: the groups of every stage.
    - `affinity`: how alike tasks are, one matrix or one per stage, as found by representation
      similarity at every depth (the paper) or by any other estimate. The tree is the one of least
      dissimilarity within groups among those no larger than `budget`:

          sum over stages and pairs in one group of (max affinity - affinity)  +  size * encoders

      found by a beam search from the last stage to the first; the smallest of equally good ones.

    The paper's cost of a stage is instead the mean over its groups of the greatest dissimilarity
    in a group, which falls when an unrelated task is split off while the bad pair stays together;
    the sum over pairs does not. The paper draws candidate groups by spectral clustering; here all
    mergers of two groups are tried. Fully-adaptive sharing widens a thin network greedily during
    training, which is not done: the tree is settled before.

    **Weights.** A stage that all tasks share keeps the encoder's. Where there are several groups,
    each draws its copy anew from a stream of its own for the seed and the names of its tasks, so
    it does not depend on the order of tasks or groups. Parts that cannot be drawn anew keep their
    weights and are named in `copied`.

    Trap: a stage that changes its input in place spoils it for the other branches.

    Cost of a step: the size of the tree in encoder passes, from 1 to the number of tasks.

    Args:
        encoder: any module of several stages, see `as_stages`.
        tasks: tasks by name, or in a list.
        groups: groups of tasks, each task in one; None is every task alone.
        at: the first stage, counted from 0, that groups have for themselves; negative from the
            end; None is the last. As many as there are stages means only heads are apart.
        tree: for every stage its groups, each partition refining the one before.
        affinity: an `Affinity`, a matrix {task: {task: number}}, or nested lists in the order of
            the tasks, or one of these per stage; greater is more alike, in any unit.
        budget: with an affinity, the greatest size of the tree in encoders.
        size: with an affinity, what an encoder more must save in dissimilarity.
        costs: what a copy of each stage costs, in any unit (measured time, say); None is its
            parameters.
        fresh: False starts every copy from the weights of `encoder`: for a pretrained one.
        head_hidden, heads, example: as in `HardSharing`.

    Raises:
        UserError: a tree that is none, or said in several ways; a budget below 1, a size below
            0; as `HardSharing`.

    """

    paper = "Vandenhende et al. 2020"
    shares = "every stage by the tasks of a group"
    requires = "several stages to part at; one stage is shared or not"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        groups: Sequence[Any] | None = None,
        at: int | None = None,
        tree: Sequence[Any] | None = None,
        affinity: Any = None,
        budget: float = 2.0,
        size: float = 0.0,
        costs: Sequence[float] | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        staged = as_stages(encoder)
        stages = len(staged.stages)
        _one_way(groups=groups, at=at, tree=tree, affinity=affinity)
        if tree is not None:
            partitions = tree_of(tree, self.task_names, stages)
        elif affinity is not None:
            names = sorted(self.task_names)
            apart = dissimilarities(affinity, self.task_names, names, stages)
            best = best_tree(apart, stage_costs(staged, costs), budget=budget, size=size)
            partitions = tuple(
                tuple(sorted(tuple(names[i] for i in group) for group in found)) for found in best
            )
        else:
            partitions = self._parting(groups, at, stages)
        levels = (partitions[0], *partitions, partitions[-1])
        seed = draw_seed()
        width = representation_width(staged, example)
        parts, self.copied = _grown(encoder, levels, seed, fresh)
        built = build_heads(
            self.outputs,
            width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=staged.channel_dim,
        )
        self.plant(
            levels,
            parts,
            built,
            width,
            channel_dim=staged.channel_dim,
            takes_dict=staged.takes_dict,
        )

    def _parting(self, groups: object, at: int | None, stages: int) -> tuple[Partition, ...]:
        """All tasks together before stage `at`, these groups from there on."""
        names = self.task_names
        together = (tuple(sorted(names)),)
        alone = tuple((task,) for task in sorted(names))
        apart = alone if groups is None else partition(groups, names, "groups")
        if at is None:
            at = max(stages - 1, 1)
        if not isinstance(at, int) or isinstance(at, bool) or not -stages <= at <= stages:
            raise UserError(
                f"at must be a stage of the encoder, which has {stages}: a whole number from 0 to "
                f"{stages}, or from -{stages} on counted from the end. Found {at!r}."
            )
        first = at if at >= 0 else stages + at
        return tuple(together if stage < first else apart for stage in range(stages))


def _one_way(**given: object) -> None:
    """Raise `UserError` when a tree is said in several ways."""
    said = [name for name, value in given.items() if value is not None]
    if len(said) > 1 and set(said) != {"groups", "at"}:
        raise UserError(
            f"a tree is said by groups and at, by tree, or by affinity; found {' and '.join(said)}."
            " Leave out all but one."
        )


def _grown(
    encoder: nn.Module, levels: Sequence[Partition], seed: int, fresh: bool
) -> tuple[list[list[nn.Module]], tuple[str, ...]]:
    """The part of every group at every level, and what could not be drawn anew."""
    own = as_stages(encoder)
    copies: dict[tuple[str, ...], Staged] = {}
    copied: tuple[str, ...] = ()
    parts: list[list[nn.Module]] = []
    for level, groups in enumerate(levels):
        if len(groups) == 1:
            parts.append([_part(own, level)])
            continue
        for group in groups:
            if group not in copies and fresh:
                # As `SingleTask` for a task alone: the whole encoder from the stream of its name.
                one, copied = fresh_copy(encoder, seed, f"encoder/{'/'.join(group)}")
                copies[group] = as_stages(one)
            elif group not in copies:
                copies[group] = as_stages(copy.deepcopy(encoder))
        parts.append([_part(copies[group], level) for group in groups])
    return parts, copied


def _part(encoder: Staged, level: int) -> nn.Module:
    """The entrance, a stage, or the exit."""
    return [encoder.entrance, *encoder.stages, encoder.exit][level]
