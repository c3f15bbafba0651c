"""One level of a progressive mixture: experts for all and for each task, and gates over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from polytask.architectures._experts import Expert, mix
from polytask.architectures._layout import Context, pooled
from polytask.architectures._per_task import PerTask
from polytask.errors import UserError


class ForAll(nn.ModuleList):
    """Modules by task of which each serves all tasks, so that none is dropped with its task."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__(modules.values())
        self.tasks = tuple(modules)

    def of(self, task: str) -> nn.Module:
        """The module named by this task."""
        return self[self.tasks.index(task)]


class Level(nn.Module):
    """Experts of one level and the gates over them.

    Args:
        experts: those that read the shared path.
        own: of each task, read by its own path.
        gates: of each task, over the shared and its own experts; none where there is one expert.
        shared_gate: of the shared path, over all experts; None at the last level.
        own_serve_all: whether own experts feed the shared path of a level above.
        gates_serve_all: whether what gates decide is read by own experts that serve all.
    """

    def __init__(
        self,
        experts: Sequence[Expert],
        own: Mapping[str, Sequence[Expert]],
        gates: Mapping[str, nn.Module],
        shared_gate: nn.Module | None,
        *,
        own_serve_all: bool,
        gates_serve_all: bool,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        lots = {task: nn.ModuleList(lot) for task, lot in own.items()}
        self.own: ForAll | PerTask = ForAll(lots) if own_serve_all else PerTask(lots)
        self.gates: ForAll | PerTask = ForAll(gates) if gates_serve_all else PerTask(gates)
        self.shared_gate = shared_gate
        self.gates_serve_all = gates_serve_all

    @property
    def own_tasks(self) -> tuple[str, ...]:
        """The tasks whose own experts feed the shared path."""
        return self.own.tasks if isinstance(self.own, ForAll) else ()

    def gates_of(self, tasks: Sequence[str]) -> dict[str, nn.Module]:
        """The gates of these tasks; none where there is one expert."""
        return {task: _of(self.gates, task) for task in tasks} if len(self.gates) else {}

    def run_shared(self, h: Tensor, context: Context) -> list[Tensor]:
        """What the shared experts answer."""
        return [expert(h, context) for expert in self.experts]

    def run_own(self, task: str, h: Tensor, context: Context) -> list[Tensor]:
        """What the own experts of a task answer; nothing where it has none."""
        if not len(self.own):
            return []
        lot = _of(self.own, task)
        assert isinstance(lot, nn.ModuleList)
        return [expert(h, context) for expert in lot]

    def merge(self, task: str, read: Tensor, answers: Sequence[Tensor], context: Context) -> Tensor:
        """What a task takes of the shared experts and its own; `read` is by item, [N, C]."""
        weights = _of(self.gates, task)(read) if len(self.gates) else None
        return mix(weights, answers, context)

    def merge_shared(
        self, h: Tensor, answers: Sequence[Tensor], channel_dim: int, context: Context
    ) -> Tensor:
        """What the shared path takes of all experts."""
        weights = None
        if self.shared_gate is not None:
            weights = self.shared_gate(pooled(h, channel_dim, context))
        return mix(weights, answers, context)


def split(stages: int, shared: int, levels: int | None) -> list[tuple[int, int]]:
    """The stages of every level, as (first, one past the last): even parts, longer ones first.

    None is two levels, or one where a single stage is left. Raises `UserError` for more levels
    than stages.
    """
    left = stages - shared
    wanted = min(2, left) if levels is None else levels
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= left:
        raise UserError(
            f"levels must be a whole number from 1 to {left}, as the encoder has {stages} stages, "
            f"of which {shared} are shared, and every level needs one; found {levels!r}. Lower "
            "it, lower shared_stages, or bring an encoder of more stages."
        )
    # -(-a // b) is a / b rounded up, in whole numbers.
    ends = [shared + -(-level * left // wanted) for level in range(wanted + 1)]
    return list(pairwise(ends))


def _of(container: ForAll | PerTask, task: str) -> nn.Module:
    return container.of(task) if isinstance(container, ForAll) else container[task]
