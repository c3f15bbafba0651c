"""Every task's network as a mixture of those of tasks that are learned well."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from polytask.optimization.regularization._base import Stacks, by_pair, gramian
from polytask.optimization.regularization._lasso import nonnegative_lasso
from polytask.optimization.regularization._learned import Learned
from polytask.optimization.scheduling._check import number


class AMTL(Learned):
    """Transfer goes from tasks with small losses to others: each network near a mixture of others.

    strength * sum_s ||W_s - sum_t B[t, s] W_t||^2 with B >= 0 and a zero diagonal. G. Lee, E. Yang
    & S. J. Hwang, "Asymmetric Multi-task Learning Based on Task Relatedness and Loss", ICML 2016,
    https://proceedings.mlr.press/v48/leeb16.html, who minimise over weights and B

        sum_t (1 + sparsity * sum_s B[t, s]) L_t + strength * ||W - W B||^2

    so that what a task gives to others costs its loss. They alternate; here B is found anew every
    `every` steps from the weights as they are and the mean of the losses that were observed since
    the last time: for every s a lasso without signs, solved exactly. B starts at 0, where the term
    is a ridge. B is one for the network; the term is summed over its weights of two and more
    dimensions. Left out: the factor 1 + sparsity * sum_s B[t, s] of the loss of task t in the
    gradients of the weights, which is a loss weighting (no term of the weights). The paper is for
    linear models and leaves both weights to tuning.

    Traps: losses should be of one scale, as a task's loss is its price; negative ones count as 0,
    and tasks whose loss nobody reported cost the mean of the others. Rows of different networks
    correspond only if these start alike (`fresh=False`).

    Cost of an update: inner products of the networks. Diagnostics: `transfer`, B by giver and
    taker.

    Args:
        strength: see `Regularizer`.
        sparsity: weight of the prices; 0 leaves least squares without signs.
        every: optimizer steps between two solutions.

    Raises:
        UserError: options out of range.

    """

    name = "amtl"
    paper = "Lee 2016"
    tells: ClassVar[dict[str, str]] = {
        "transfer": "how much of the row's network is in the mixture that the column's is drawn to"
    }
    transfer: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(self, strength: float = 1e-2, sparsity: float = 1e-2, every: int = 100) -> None:
        super().__init__(strength, every=every)
        self.sparsity = number("sparsity", sparsity, 0)

    def prepare(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """B at 0, and no loss observed."""
        super().prepare(stacks, tasks)
        first = next(iter(stacks.values()))
        size = len(self.tasks)
        self.register_buffer("transfer", first.new_zeros(size, size))
        self.register_buffer("sums", first.new_zeros(size))
        self.register_buffer("counts", first.new_zeros(size))

    def observe(self, losses: Mapping[str, float]) -> None:
        """Add the losses of a batch to what B will go by."""
        for place, task in enumerate(self.tasks):
            if task in losses:
                self.sums[place] += float(losses[task])
                self.counts[place] += 1

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The squares of what the mixtures leave."""
        if not self.tasks:
            return stack.square().sum()
        places = self.places(tasks)
        mixing = self.transfer[places][:, places].to(stack.dtype)
        return (stack - torch.tensordot(mixing.T, stack, dims=1)).square().sum()

    @torch.no_grad()
    def update(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """B that minimises the objective, given the weights and the losses."""
        order = self.order(tasks)
        products = gramian(stacks)[order][:, order]
        price = self.sparsity * self._losses().to(products) / (2 * self.strength)
        self.transfer.copy_(nonnegative_lasso(products, price))
        self.sums.zero_()
        self.counts.zero_()

    def _losses(self) -> Tensor:
        """Mean losses by task, 0 at least; 1 for all where none was observed."""
        known = self.counts > 0
        if not bool(known.any()):
            return torch.ones_like(self.sums)
        means = (self.sums / self.counts.clamp(min=1)).clamp(min=0)
        return torch.where(known, means, means[known].mean())

    def keep(self, tasks: Sequence[str]) -> None:
        """B of these tasks alone, until it is found anew."""
        rows = [place for place, task in enumerate(self.tasks) if task in tasks]
        if self.tasks:
            self.transfer = self.transfer[rows][:, rows]
            self.sums, self.counts = self.sums[rows], self.counts[rows]
        super().keep(tasks)

    def grow(self, smaller: AMTL, stacks: Stacks, tasks: Sequence[str]) -> Collection[str]:
        """B between the old tasks; the new one gives and takes nothing until B is found anew."""
        if not smaller.tasks:
            return ()
        rows = [self.tasks.index(task) for task in smaller.tasks]
        self.transfer[torch.tensor(rows)[:, None], rows] = smaller.transfer
        self.sums[rows], self.counts[rows] = smaller.sums, smaller.counts
        return ("transfer", "sums", "counts")

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """B, by giver and taker."""
        if not self.tasks:
            return {}
        places = self.places(tasks)
        return {"transfer": by_pair(self.transfer[places][:, places], tasks)}
