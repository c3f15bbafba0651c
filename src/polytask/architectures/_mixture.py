"""What mixtures of experts have in common: a trunk, experts beside each other, gates, heads."""

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
    mix,
    node,
    nodes,
    width_at,
)
from polytask.architectures._gates import (
    Gate,
    NewGate,
    gate_of_each,
    mean_weights,
    normalised_entropy,
)
from polytask.architectures._heads import build_heads
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import representation_width
from polytask.architectures._layout import pooled
from polytask.architectures._per_task import PerTask
from polytask.architectures.stages import as_stages


class Mixture(Architecture):
    """A trunk, experts for all tasks and for each, and y_t = h_t(sum_e g_t(x)_e z_e).

    Expert 0 has the given encoder's own modules. A subclass says how many experts there are and
    what a gate is; gates that answer more than weights override `weigh`.

    Attributes:
        shared_stages: how many first stages all experts share.
        copied: dotted names of submodules of an expert that could not be drawn anew.

    Args:
        encoder, tasks, head_hidden, heads, example: as everywhere.
        experts, own: how many for all tasks, and for each.
        new_gate: from width and number of experts to a gate; it reads [N, width].
        reads_features: False for gates that read nothing.
        shared_stages, fresh: as of `MMoE`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        *,
        experts: int,
        own: int,
        new_gate: NewGate = Gate,
        reads_features: bool = True,
        shared_stages: int | None,
        fresh: bool,
        head_hidden: Sequence[int],
        heads: Mapping[str, nn.Module] | None,
        example: Any,
    ) -> None:
        super().__init__(encoder, tasks)
        staged = as_stages(encoder)
        self.width = representation_width(encoder, example)
        self.shared_stages = branching_point(staged, shared_stages, example)
        if experts + own > 1:
            check_keeps_input(staged, self.shared_stages, example)
        self.channel_dim = staged.channel_dim
        seed = draw_seed()
        self.trunk = Trunk(staged, self.shared_stages)
        first = Expert(staged, self.shared_stages, len(staged.stages), self.width)
        names = [f"expert/{e}" for e in range(1, experts)]
        others, self.copied = drawn(first, names, seed, fresh=fresh)
        self.experts = nn.ModuleList([first, *others])
        lots: dict[str, nn.Module] = {}
        for task in self.task_names if own else ():
            names = [f"own expert/{task}/{e}" for e in range(own)]
            lot, self.copied = drawn(first, names, seed, fresh=fresh)
            lots[task] = nn.ModuleList(lot)
        self.own = PerTask(lots)
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=seed,
            channel_dim=self.channel_dim,
        )
        gates: dict[str, nn.Module] = {}
        if experts + own > 1:
            width = width_at(staged, self.shared_stages, example) if reads_features else 0
            gates = gate_of_each(self.task_names, new_gate, (width, experts + own), encoder, seed)
        self.gates = PerTask(gates)
        self.reads_features = reads_features

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """Every shared expert once, and for each of these tasks its own experts and its gate."""
        cut: list[Tensor] = []
        h, context = self.trunk(x)
        shared = [node(cut, expert(h, context)) for expert in self.experts]
        read, aside = h, context
        if len(self.own):
            # Gates and own experts are each of one task: they read on the tasks' side of the cut.
            h, aside = node(cut, h), nodes(cut, context)
            read = pooled(h, self.channel_dim, context)
        elif self.reads_features and len(self.gates):
            read = node(cut, pooled(h, self.channel_dim, context))
        outputs = {}
        for task in tasks:
            own = own_of(self.own, task) if task in self.own else ()
            answers = [*shared, *(expert(h, aside) for expert in own)]
            weights = self.weigh(task, read) if task in self.gates else None
            outputs[task] = self.heads.answer(task, mix(weights, answers, context), context)
        return outputs, as_features(cut)

    def weigh(self, task: str, read: Tensor) -> Tensor:
        """Weights of the experts for a task: [N, E], or [E] for all items."""
        weights: Tensor = self.gates[task](read)
        return weights

    def gate_usage(self, x: Any) -> dict[str, Tensor]:
        """Mean weight of every expert for one batch, [E] by task; shared experts come first.

        One forward pass in eval mode, without gradients. A gate that has given all its weight to
        one expert, for all tasks the same, has collapsed: see also `gate_entropy`.
        """
        if not len(self.gates):
            one = next(self.parameters()).new_ones(1)
            return dict.fromkeys(self.task_names, one)
        return mean_weights(self, {task: self.gates[task] for task in self.task_names}, x)

    def gate_entropy(self, x: Any) -> dict[str, float]:
        """Entropy of `gate_usage` by task, in units of log E.

        0: one expert serves the whole batch; 1: all serve alike.
        """
        return {t: float(normalised_entropy(w)) for t, w in self.gate_usage(x).items()}


def own_of(own: PerTask, task: str) -> Iterable[nn.Module]:
    """The own experts of a task."""
    lot = own[task]
    assert isinstance(lot, nn.ModuleList)
    return lot
