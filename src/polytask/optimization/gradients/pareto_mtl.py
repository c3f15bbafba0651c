"""Pareto multi-task learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.solvers import min_norm_point
from polytask.kernel.solvers.correlation import NOISE
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_range
from polytask.optimization.gradients._references import (
    Vector,
    checked_choice,
    checked_vectors,
    reference_vectors,
)
from polytask.optimization.loss_weighting._losses import need_positive

ROUNDING = 1e-12


class ParetoMTL(Balancer):
    """MGDA within one of several cones that divide the losses' space: one trade-off a cone.

    Unit vectors u_j divide the space of losses; with the k-th chosen, (u_j - u_k)ᵀL <= 0 for all
    j says that L is nearer to u_k than to any other. A constraint is active where
    (u_j - u_k)ᵀL / |L| > 0, its gradient is Jᵀ(u_j - u_k) (Lin et al. 2019,
    https://arxiv.org/abs/1912.12854, algorithm 1):

    - at first the step is the min-norm point of the active constraints' gradients, until one
      step finds none active or the warm-up is over;
    - then it is that of the tasks' and the active constraints' gradients together.

    Every such point is a combination of the tasks' gradients, so only their Gramian is needed. A
    preference is a direction of the losses: a task with the larger number ends with the *larger*
    loss, the other way round from `epo`. The trade-off is one of loss values: bring losses of
    different units to one scale first (`Task` standardises regression targets).

    Call `balancer.observe(epoch=...)` at the end of every epoch; the warm-up may end by it. Cost:
    that of the statistic and one backward pass; a few numbers of state. Losses must not be
    negative. Absolute weights sum to T; some may be negative, as leaving the wrong cone raises
    losses. Heads are plain, each learns from its own loss; official code gives heads the weights
    too. With absent tasks the vectors lose those parts and are brought back to length 1.
    Deviations: the weights are normalised in the first phase too, where official code takes them
    as they are, so that its steps are as long as the second's; a constraint whose gradient is zero
    within the noise is left out, as no step could help it and the min-norm point would be zero.

    Args:
        preference: the chosen vector, by its place among `preferences` (from 0) or as task name
            to part; equal losses when left out.
        preferences: all vectors, which are what the chosen one is told from: a list of mappings,
            task name to part, or how many to spread evenly. For two tasks these are at equal
            angles, from the first task's axis to the second's; for more they are a lattice on
            the simplex with at least as many points.
        warmup_epochs: the longest that the first phase may last; 2 in the official code.
        warmup_steps: the same, in steps; no limit when left out.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"
    needs = ("epoch",)

    def __init__(
        self,
        preference: int | Vector | None = None,
        preferences: int | Sequence[Vector] = 5,
        warmup_epochs: int = 2,
        warmup_steps: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_range("warmup_epochs", warmup_epochs, 0)
        check_range("warmup_steps", warmup_steps or 0, 0)
        if self.transform == "log":
            raise UserError(
                "pareto_mtl divides the space of the losses themselves, and their logarithms "
                "have any sign; leave transform='log' out."
            )
        self.preferences = checked_vectors(preferences)
        chosen = checked_choice(preference, self.preferences)
        self.preference = chosen if isinstance(chosen, dict) else None
        self.place = chosen if isinstance(chosen, int) else None
        self.warmup_epochs = warmup_epochs
        self.warmup_steps = warmup_steps

    def decide(self, statistic: Statistic) -> Tensor:
        """The min-norm weights of this step's phase; their absolute values sum to T."""
        tasks = statistic.tasks
        need_positive("pareto_mtl", tasks, statistic.losses, zero=True)
        g = statistic.need_gramian()
        largest = g.diagonal().max()
        if not bool(largest > 0):
            return torch.ones_like(g[0])
        g = g / largest
        active = self._active(tasks, statistic.losses.double())
        searching = self._searching(len(active) > 0)
        active = _movable(active, g)
        rows = active if searching and len(active) else torch.cat([torch.eye(len(g)).to(g), active])
        w = min_norm_point(rows @ g @ rows.T) @ rows
        size = w.abs().sum()
        return w * (len(w) / size) if bool(size > 0) else w

    def observe(
        self, *, scores: Mapping[str, float] | None = None, epoch: int | None = None
    ) -> None:
        """With `epoch`, the running epoch is over."""
        super().observe(scores=scores, epoch=epoch)
        if epoch is not None:
            self._count("epochs")

    def _searching(self, outside: bool) -> bool:
        """Whether the step belongs to the first phase, which never comes back once it is over."""
        if self.has("found"):
            return False
        steps = self._count("steps")
        epochs = int(self.table.get(("epochs", ""), torch.tensor(0)))
        late = epochs >= self.warmup_epochs or (
            self.warmup_steps is not None and steps >= self.warmup_steps
        )
        if late or not outside:
            self.table["found", ""] = torch.tensor(1)
            return False
        return True

    def _active(self, tasks: tuple[str, ...], losses: Tensor) -> Tensor:
        """u_j - u_k of the constraints that the losses do not meet, shape [n, T]."""
        chosen, others = self._vectors(tasks)
        away = others - chosen
        length = losses.norm()
        if not bool(length > 0):
            return away[:0]
        return away[away @ (losses / length) > ROUNDING]

    def _vectors(self, tasks: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        """u_k, shape [T], and all vectors, [n, T], over the present tasks."""
        every = self._seen(tasks)
        choice = self.preference if self.place is None else self.place
        chosen, vectors = reference_vectors(choice, self.preferences, every)
        here = torch.tensor([every.index(task) for task in tasks])
        vectors, chosen = vectors[:, here], chosen[here]
        if not bool(chosen.norm() > 0):
            chosen = torch.ones_like(chosen)  # it says nothing about these tasks
        length = vectors.norm(dim=1)
        vectors = vectors[length > 0] / length[length > 0, None]
        return chosen / chosen.norm(), vectors

    def _seen(self, tasks: tuple[str, ...]) -> list[str]:
        """All tasks so far, in the order in which they came."""
        known = [task for name, task in self.table if name == "place"]
        for task in tasks:
            if task not in known:
                self.table["place", task] = torch.tensor(len(known))
                known.append(task)
        return sorted(known, key=lambda task: int(self.table["place", task]))


def _movable(active: Tensor, g: Tensor) -> Tensor:
    """The constraints whose gradients can be told from zero."""
    size = g.diagonal().clamp_min(0).sqrt()
    square = ((active @ g) * active).sum(dim=1)
    return active[square > NOISE * (active.abs() @ size) ** 2]
