"""Progressive layered extraction: levels of shared and own experts, with a shared path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from polytask.architectures._base import Architecture, Features, TaskLike
from polytask.architectures._experts import (
    Expert,
    Trunk,
    as_features,
    branching_point,
    check_keeps_input,
    drawn,
    node,
    nodes,
    width_at,
)
from polytask.architectures._gates import (
    Gate,
    drawn_gate,
    gate_of_each,
    mean_weights,
    normalised_entropy,
)
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import Context, pooled
from polytask.architectures._levels import Level, split
from polytask.architectures._numbers import counted
from polytask.architectures.stages import Staged, as_stages
from polytask.errors import UserError


class PLE(Architecture):
    """Progressive layered extraction: levels of shared and own experts, with a shared path.

    H. Tang et al., "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for
    Personalized Recommendations", RecSys 2020, https://doi.org/10.1145/3383313.3412236. Every
    level has experts that read the shared path s and, for each task, experts that read the task's
    path p_t; both paths start as the features g at the branching point. A level answers

        p_t' = sum_e w_te z_e over shared and own experts,  w_t = softmax(W_t pool(p_t) + b_t),
        s'   = sum_e w_se z_e over the experts of ALL,      w_s = softmax(W_s pool(s) + b_s)

    (equations 4 to 6), and y_t = h_t(p_t) after the last level. With one level it is `CGC`, bit
    for bit.

    Experts of a level are copies of its part of the encoder's stages: those behind the branching
    point, cut into `levels` consecutive parts of even length. The last part ends with the exit.
    The first shared expert of every level has the given encoder's weights, other shared ones are
    drawn by level and number, own ones by level and their task's name. Cost of a step: one pass of
    the shared stages and shared_experts + T * task_experts passes of the rest for T tasks;
    parameters likewise, and the gates.

    Where published code goes other ways, this follows the paper: there is a shared path, with a
    gate over all experts (code without one runs the shared experts anew on each task's path,
    which is another architecture, and T times as dear); the last level has none, since nothing
    would read it. Gates read pooled features, not the flattened raw input.

    **Own experts before the last level serve all tasks**: the shared path reads them. So their
    gradients come from all tasks, `tasks=("a",)` computes those of the others too, and so does a
    pruned model; `shared_parameters` says so. The same holds for the tasks' gates before the last
    two levels. The features are a cut: what the shared experts of the last level answer, the
    experts of the level before as the tasks read them, and what the tasks' gates there read.

    Args:
        encoder: any module; best one of several stages (see `stages`).
        tasks: tasks by name, or in a list.
        shared_experts: how many for all tasks at every level, at least 1.
        task_experts: how many for each task at every level, at least 0.
        levels: how many, at most as many as there are stages behind the branching point. None:
            2 (as in the paper's experiments), or 1 where there is one such stage.
        shared_stages: as in `MMoE`.
        fresh: False starts every expert from the weights of `encoder`, for a pretrained one.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths are not declared.

    Raises:
        UserError: as `MMoE`; more levels than stages.

    """

    paper = "Tang et al. 2020"
    shares = "levels of experts; own experts serve other tasks but for the last level"
    requires = "stages of known width, one a level; one stage is cgc"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        shared_experts: int = 2,
        task_experts: int = 1,
        levels: int | None = None,
        shared_stages: int | None = None,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        counts = (
            counted("shared_experts", shared_experts),
            counted("task_experts", task_experts, least=0),
        )
        staged = as_stages(encoder)
        self.width = representation_width(encoder, example)
        self.shared_stages = branching_point(staged, shared_stages, example)
        parts = split(len(staged.stages), self.shared_stages, levels)
        self.channel_dim = staged.channel_dim
        # Those whose experts the shared path reads: all there were, also in a pruned model.
        self.everyone = self.task_names
        seed = draw_seed()
        self.trunk = Trunk(staged, self.shared_stages)
        self.copied: tuple[str, ...] = ()
        self.levels = nn.ModuleList()
        for above, part in zip(reversed(range(len(parts))), parts, strict=True):
            if sum(counts) > 1:
                check_keeps_input(staged, part[0], example)
            self.levels.append(self._level(staged, part, above, counts, seed, fresh, example))
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=self.channel_dim,
        )

    def _level(
        self,
        encoder: Staged,
        part: tuple[int, int],
        above: int,
        counts: tuple[int, int],
        seed: int,
        fresh: bool,
        example: Any,
    ) -> Level:
        """The level of these stages, with so many levels above it."""
        # The last level draws as `CGC` does.
        at = f"level {len(self.levels)}/" if above else ""
        first = Expert(encoder, *part, self.width)
        names = [f"{at}expert/{e}" for e in range(1, counts[0])]
        others, kept = drawn(first, names, seed, fresh=fresh)
        own = {}
        for task in self.task_names if counts[1] else ():
            names = [f"{at}own expert/{task}/{e}" for e in range(counts[1])]
            own[task], kept = drawn(first, names, seed, fresh=fresh)
        self.copied = tuple(dict.fromkeys((*self.copied, *kept)))
        gates, shared_gate = {}, None
        if sum(counts) > 1:
            width = width_at(encoder, part[0], example)
            sizes = (width, sum(counts))
            gates = gate_of_each(self.task_names, Gate, sizes, encoder, seed, at)
            if above:
                sizes = (width, counts[0] + counts[1] * len(self.task_names))
                shared_gate = drawn_gate(Gate, sizes, encoder, seed, f"{at}shared gate")
        return Level(
            [first, *others],
            own,
            gates,
            shared_gate,
            own_serve_all=above > 0,
            gates_serve_all=above > 1 and counts[1] > 0,
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Level by level; before the last one, all that feeds the shared path is computed."""
        cut: list[Tensor] = []
        shared, context = self.trunk(x)
        # Paths lie behind the cut, as what all tasks share, until only their own task reads them.
        paths, past = dict.fromkeys(self.everyone, shared), False
        *before, last = self._chain()
        for level in before:
            answers = level.run_shared(shared, context)
            own = {task: level.run_own(task, paths[task], context) for task in level.own_tasks}
            if level.gates_serve_all:
                paths = {
                    task: level.merge(task, self._pool(h, context), answers + own[task], context)
                    for task, h in paths.items()
                }
            elif len(level.gates):
                reads = self._reads(cut, paths, tasks, past, context)
                seen = [node(cut, z) for z in answers]
                aside = {task: [node(cut, z) for z in own.get(task, ())] for task in tasks}
                paths = {
                    task: level.merge(task, reads[task], seen + aside[task], context)
                    for task in tasks
                }
                past = True
            every = [*answers, *(z for lot in own.values() for z in lot)]
            shared = level.merge_shared(shared, every, self.channel_dim, context)
        answers = [node(cut, z) for z in last.run_shared(shared, context)]
        alone = context
        if len(last.own):
            alone = nodes(cut, context)
            if not past:
                paths, past = dict.fromkeys(tasks, node(cut, shared)), True
        reads = self._reads(cut, paths, tasks, past, context) if len(last.gates) else paths
        outputs = {}
        for task in tasks:
            every = answers + last.run_own(task, paths[task], alone)
            z = last.merge(task, reads[task], every, context)
            outputs[task] = self.heads.answer(task, z, context)
        return outputs, as_features(cut)

    def _reads(
        self,
        cut: list[Tensor],
        paths: Mapping[str, Tensor],
        tasks: Sequence[str],
        past: bool,
        context: Context,
    ) -> dict[str, Tensor]:
        """What the gates of these tasks read; a node of the cut unless the path is past it."""
        if all(paths[task] is paths[tasks[0]] for task in tasks):
            one = self._pool(paths[tasks[0]], context)
            return dict.fromkeys(tasks, one if past else node(cut, one))
        found = {task: self._pool(paths[task], context) for task in tasks}
        return found if past else {task: node(cut, read) for task, read in found.items()}

    def _pool(self, h: Tensor, context: Context) -> Tensor:
        return pooled(h, self.channel_dim, context)

    def _chain(self) -> list[Level]:
        return [level for level in self.levels if isinstance(level, Level)]

    def gate_usage(self, x: Any, level: int = -1) -> dict[str, Tensor]:
        """Mean weight of every expert a task may use, [E] by task; shared experts come first.

        Of the last level, or of another by its number from 0. One forward pass in eval mode,
        without gradients. Raises `UserError` for a level that is not there.
        """
        if not -len(self.levels) <= level < len(self.levels):
            raise UserError(
                f"level must be a number from 0 to {len(self.levels) - 1}, found {level!r}."
            )
        gates = self._chain()[level].gates_of(self.task_names)
        if not gates:
            return dict.fromkeys(self.task_names, next(self.parameters()).new_ones(1))
        return mean_weights(self, gates, x)

    def gate_entropy(self, x: Any, level: int = -1) -> dict[str, float]:
        """Entropy of `gate_usage` by task, in units of log E: 0 is one expert, 1 all alike."""
        return {t: float(normalised_entropy(w)) for t, w in self.gate_usage(x, level).items()}
