"""Dual-balancing multi-task learning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_range


class DBMTL(Balancer):
    """Logarithms balance the losses; running means of their gradients are made equally long.

    With g_t the gradient of log L_t: ĝ_t <- g_t + beta_k (ĝ_t - g_t), beta_k = beta / k^sigma,
    and d = sum_t (max_s |ĝ_s| / |ĝ_t|) ĝ_t (Lin et al. 2023,
    https://arxiv.org/abs/2308.12029, algorithm 1).

    Cost: T walks of the shared part and one backward pass. State: one running gradient a task
    by name, T x p numbers of the gradients' type beside the T x p of the step itself; see
    `state_bytes`. Heads are plain: they learn from log L_t. Losses must be positive unless
    transform='none'. Deviation: the running mean starts at the first gradient where official
    code starts at zero, which makes its first steps shorter by 1 - beta. A step in which one
    task alone is present, and shared= is not given, is an ordinary one. Where tasks that share
    only parts of the trunk come and go, pass shared=, so that rows always mean the same.

    Args:
        beta: share of the past in the running mean, in [0, 1).
        sigma: how fast that share falls with the number of steps; 0 keeps it.
        options: those of every `Balancer`. statistic='tail' balances the last shared layers
            only, the rest gets the plain sum; 'features' has no meaning from batch to batch.
    """

    statistic_kind = "jacobian"
    default_heads = "plain"
    default_statistic = "exact"
    default_transform = "log"

    def __init__(self, beta: float = 0.9, sigma: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= beta < 1:
            raise UserError(f"beta must be at least 0 and below 1, found {beta}.")
        check_range("sigma", sigma, 0)
        self.beta = beta
        self.sigma = sigma

    @property
    def state_bytes(self) -> int:
        """Bytes that the running gradients take now."""
        return sum(
            value.numel() * value.element_size()
            for (name, _), value in self.table.items()
            if name == "mean_gradient"
        )

    def decide(self, statistic: Statistic) -> Tensor:
        """The sum of the running gradients at the longest one's length."""
        rows = statistic.need_jacobian()
        if statistic.source == "one task":
            return rows[0]  # nothing was measured, the backward pass is the ordinary one
        means = [self._renew(task, row) for task, row in zip(statistic.tasks, rows, strict=True)]
        size = torch.stack([_length(mean) for mean in means])
        factor = torch.where(size > 0, size.max() / torch.where(size > 0, size, 1.0), 0.0)
        total = torch.zeros_like(means[0])
        for mean, one in zip(means, factor.to(total.dtype), strict=True):
            total += one * mean
        return total

    def _renew(self, task: str, row: Tensor) -> Tensor:
        """Move the task's running gradient and return it."""
        count = self.entry("steps", (task,), 0.0, torch.zeros(1))[0] + 1
        self.table["steps", task] = count
        held = self.table.get(("mean_gradient", task))
        if held is not None and held.shape != row.shape:
            raise UserError(
                f"the gradient of task {task!r} had {held.numel():,} numbers and now has "
                f"{row.numel():,}: the shared parameters changed with the present tasks or were "
                "frozen. Pass shared= with the same parameters at every step, or call reset()."
            )
        if held is None:
            mean = row.detach().clone()
        else:
            share = self.beta / float(count) ** self.sigma
            mean = torch.lerp(row.detach(), held.to(row), share)
        self.table["mean_gradient", task] = mean
        return mean

    def _check_statistic(self, statistic: str | None) -> None:
        super()._check_statistic(statistic)
        if statistic == "features":
            raise UserError(
                "DBMTL keeps running means of gradients, and those of features belong to one "
                "batch's samples; use statistic='exact' or 'tail'."
            )


def _length(vector: Tensor) -> Tensor:
    """Length in float64 of a vector of any magnitude."""
    largest = vector.abs().max()
    unit = vector / torch.where(largest > 0, largest, 1.0)
    return unit.norm().double() * largest.double()
