"""Networks are drawn to the means of clusters of tasks, which are found on the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.regularization._base import Stacks, gramian
from polytask.optimization.regularization._learned import Learned
from polytask.optimization.regularization._partition import nearest, partition
from polytask.optimization.scheduling._check import number, whole

Parts = tuple[Tensor, Tensor, Tensor]


class Cluster(Learned):
    """Tasks fall into clusters: each network is drawn to the mean of its cluster.

    L. Jacob, F. Bach & J.-P. Vert, "Clustered Multi-Task Learning: A Convex Formulation", NeurIPS
    2008, https://arxiv.org/abs/0809.2085: with m tasks, their mean w and the means w_c of
    clusters of m_c tasks, strength/2 times

        mean * m ||w||^2 + between * sum_c m_c ||w_c - w||^2
            + within * sum_c sum_{i in c} ||w_i - w_c||^2,    within >= between >= mean

    The paper relaxes the unknown clusters to a convex set of matrices and solves for these. Here
    they are clusters: found by k-means from the networks as they are, every `every` steps (the
    alternating form of the same objective, not convex: it may rest at a partition that is not the
    best). All tasks are one cluster before the first time. Clusters are of whole networks; the
    term is summed over weights of two and more dimensions. Units of networks drawn apart do not
    correspond: let them start alike (`fresh=False`).

    Proximal step, in closed form: each of the three parts of a weight is divided by 1 + lr *
    strength * its coefficient. Cost of an update: inner products of the networks. Diagnostics:
    `cluster`, the number of each task's; `within`, the share of the networks' squared distances
    from their mean that is left inside clusters.

    Args:
        strength, prox: see `Regularizer`.
        clusters: how many there are, at most.
        within, between, mean: see above; the paper asks for mean > 0 too, a ridge of the mean.
        every: optimizer steps between two partitions.

    Raises:
        UserError: options out of range or order.

    """

    name = "cluster"
    paper = "Jacob 2008"
    proximal = True
    zero_of_equals = True
    tells: ClassVar[dict[str, str]] = {
        "cluster": "which tasks are in one cluster",
        "within": "share of the squared distances from the mean network that is left inside "
        "clusters",
    }
    assignment: Tensor

    def __init__(
        self,
        strength: float = 1e-2,
        prox: bool = False,
        clusters: int = 2,
        within: float = 1.0,
        between: float = 0.1,
        mean: float = 0.0,
        every: int = 100,
    ) -> None:
        super().__init__(strength, prox, every)
        self.clusters = whole("clusters", clusters, 1)
        self.within = number("within", within, 0)
        self.between = number("between", between, 0)
        self.mean = number("mean", mean, 0)
        if not self.within >= self.between >= self.mean:
            raise UserError(
                "cluster needs within >= between >= mean, or tasks would be drawn to others more "
                f"than to those like them; found {within}, {between} and {mean}. Lower the latter."
            )

    def prepare(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """One cluster of all."""
        super().prepare(stacks, tasks)
        device = next(iter(stacks.values())).device
        found = torch.zeros(len(self.tasks), dtype=torch.int64, device=device)
        self.register_buffer("assignment", found)

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """Half the sum of the three parts."""
        mean, between, within = (part.square().sum() for part in self._parts(stack, tasks))
        return (self.mean * mean + self.between * between + self.within * within) / 2

    def _proximal(self, stack: Tensor, step: float, tasks: Sequence[str]) -> Tensor:
        mean, between, within = self._parts(stack, tasks)
        nearer = mean / (1 + step * self.mean) + between / (1 + step * self.between)
        lower: Tensor = nearer + within / (1 + step * self.within)
        return lower

    def _parts(self, stack: Tensor, tasks: Sequence[str]) -> Parts:
        """The mean of all, the clusters' difference from it, and the tasks' from their clusters.

        They are orthogonal, and the stack is their sum.
        """
        mean = stack.mean(dim=0, keepdim=True).expand_as(stack)
        if not self.tasks:
            return mean, torch.zeros_like(stack), stack - mean
        labels = self.assignment[self.places(tasks)]
        same = (labels[:, None] == labels).to(stack.dtype)
        centres = torch.tensordot(same / same.sum(dim=1, keepdim=True), stack, dims=1)
        return mean, centres - mean, stack - centres

    @torch.no_grad()
    def update(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """The partition of the networks as they are."""
        order = self.order(tasks)
        # Distances do not change by taking the mean off, and rounding errors shrink.
        centred = {name: stack - stack.mean(dim=0) for name, stack in stacks.items()}
        products = gramian(centred)[order][:, order].cpu()
        self.assignment.copy_(partition(products, self.clusters))

    def keep(self, tasks: Sequence[str]) -> None:
        """The clusters of these tasks alone."""
        if self.tasks:
            rows = [place for place, task in enumerate(self.tasks) if task in tasks]
            self.assignment = self.assignment[rows]
        super().keep(tasks)

    def grow(self, smaller: Cluster, stacks: Stacks, tasks: Sequence[str]) -> Collection[str]:
        """The clusters that there were; the new task is in the one whose mean is nearest to it."""
        if not smaller.tasks:
            return ()
        rows = [self.tasks.index(task) for task in smaller.tasks]
        order = self.order(tasks)
        products = gramian(stacks)[order][:, order].cpu()
        labels = smaller.assignment.cpu()
        self.assignment[rows] = smaller.assignment
        for place in range(len(self.tasks)):
            if place not in rows:
                self.assignment[place] = nearest(products, place, rows, labels)
        return ("assignment",)

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """The clusters, and what they leave."""
        if not self.tasks:
            return {}
        parts = [self._parts(stack.double(), tasks)[1:] for stack in stacks.values()]
        between, within = (sum(float(p[i].square().sum()) for p in parts) for i in (0, 1))
        total = between + within
        labels = self.assignment[self.places(tasks)].tolist()
        return {
            "cluster": dict(zip(tasks, labels, strict=True)),
            "within": within / total if total else 0.0,
        }
