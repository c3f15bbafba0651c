"""MetaBalance."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import check_word
from polytask.optimization.main_task._main import MainTask


class MetaBalance(MainTask):
    """Every helper's gradient is brought near the main one's length, tensor by tensor.

    With m the running mean of a gradient's length on one parameter tensor, the helper's gradient
    there becomes g_k <- r (m_main / m_k) g_k + (1 - r) g_k, and the direction is the sum (He,
    Feng, Cheng, Ji, Guo & Caverlee 2022, https://arxiv.org/abs/2203.06801, algorithm 1). r = 0
    leaves all as it is, r = 1 makes all equally long. Directions stay: a helper that pulls
    against the main task is only made shorter, or longer.

    Where the main gradient has always been zero on a tensor, and in steps before its first,
    there is no length to bring helpers to and they stay as they are. A step without the main
    task's loss uses its newest means.

    Cost: T walks of the shared part and one backward pass; T x p numbers while it lasts. State:
    one number for each task and tensor. Heads are plain. Deviations: means are divided by
    1 - beta^steps of their task, so that a task that came later is not taken for a short one
    (with all tasks in every step the official code's ratios are the same); where a helper's
    mean is 0 the official code divides by it. Official code balances whatever its parameter
    groups hold; here it is what two tasks share, tensor by tensor, and on
    statistic='features' each tensor of the representation.

    Args:
        main: the main task's name, or its row; the first task by default.
        r: how near the lengths are brought, in [0, 1].
        beta: share of its past that a mean length keeps, in [0, 1).
        strategy: 'both', or only 'shorten' the helpers that are longer than the main gradient,
            or only 'lengthen' those that are shorter.
        options: those of every `Balancer`.
    """

    statistic_kind = "jacobian"
    default_heads = "plain"
    default_statistic = "exact"

    def __init__(
        self,
        main: str | int = 0,
        r: float = 0.7,
        beta: float = 0.9,
        strategy: Literal["both", "shorten", "lengthen"] = "both",
        **options: Any,
    ) -> None:
        super().__init__(main, **options)
        check_word("strategy", strategy, ("both", "shorten", "lengthen"))
        if not 0 <= r <= 1:
            raise UserError(f"r must be in [0, 1], found {r}.")
        if not 0 <= beta < 1:
            raise UserError(f"beta must be at least 0 and below 1, found {beta}.")
        self.r = r
        self.beta = beta
        self.strategy = strategy

    def decide(self, statistic: Statistic) -> Tensor:
        """The sum of the gradients at their new lengths, with the Jacobian's columns."""
        rows, tasks = statistic.need_jacobian(), statistic.tasks
        row = self.row(tasks)
        if statistic.source == "one task":
            return rows[0]  # nothing was measured, the backward pass is the ordinary one
        pieces = rows.split(list(statistic.sizes or (rows.shape[1],)), dim=1)
        lengths = torch.stack([_lengths(piece) for piece in pieces], dim=1).cpu()
        means = torch.stack([self._renew(t, new) for t, new in zip(tasks, lengths, strict=True)])
        if row is not None:
            self.table["main_mean", ""] = means[row].clone()
        target = self.table.get(("main_mean", ""), torch.zeros_like(means[0])).to(means)
        factors = self._factors(target, means)
        if row is not None:
            factors[row] = 1.0
        factors = factors.to(rows)
        return torch.cat([factors[:, i] @ piece for i, piece in enumerate(pieces)])

    def _factors(self, target: Tensor, means: Tensor) -> Tensor:
        """What each gradient is multiplied by on each tensor, [T, tensors]."""
        known = (target > 0) & (means > 0)
        ratio = torch.where(known, target / torch.where(known, means, 1.0), 1.0)
        if self.strategy == "shorten":
            ratio = ratio.clamp_max(1)
        elif self.strategy == "lengthen":
            ratio = ratio.clamp_min(1)
        return self.r * ratio + (1 - self.r)

    def _renew(self, task: str, lengths: Tensor) -> Tensor:
        """Move the task's mean lengths, [tensors], and return them without their start's bias."""
        held = self.table.get(("length", task), torch.zeros_like(lengths)).to(lengths)
        if held.shape != lengths.shape:
            raise UserError(
                f"the gradient of task {task!r} was on {len(held)} tensors and now is on "
                f"{len(lengths)}: the shared parameters changed with the present tasks or were "
                "frozen. Pass shared= with the same parameters at every step, or call reset()."
            )
        mean = torch.lerp(lengths, held, self.beta)
        steps = self.entry("steps", (task,), 0.0, lengths)[0] + 1
        self.table["length", task] = mean
        self.table["steps", task] = steps
        return mean / (1 - self.beta**steps)


def _lengths(piece: Tensor) -> Tensor:
    """Length of each row in float64, of rows of any magnitude, shape [T]."""
    largest = piece.abs().amax(dim=1)
    unit = piece / torch.where(largest > 0, largest, 1.0)[:, None]
    return unit.norm(dim=1).double() * largest.double()
