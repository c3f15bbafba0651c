"""Covariances of tasks, outputs and inputs as a prior of the weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from polytask.errors import unknown
from polytask.optimization.regularization._base import Stacks, by_pair
from polytask.optimization.regularization._learned import Learned
from polytask.optimization.regularization._tensor_normal import TensorNormal
from polytask.optimization.scheduling._check import number

MODES = {"task": (0,), "all": (0, 1, 2)}


class MRN(Learned):
    """Related tasks are found and drawn together: a tensor-normal prior of the weights.

    strength/2 vec(W)^T (S_task x S_outputs x S_inputs)^-1 vec(W), the positions of a kernel
    counted with its inputs. M. Long et al., "Learning Multiple Tasks with Multilinear Relationship
    Networks", NeurIPS 2017, https://arxiv.org/abs/1506.02117. Covariances start as the identity
    (then it is a ridge) and are estimated from the weights every `every` steps, each given the
    others (flip-flop). Each is scaled to mean variance 1, and `epsilon` is added to the diagonal
    before that is restored. Weights of two and more dimensions are tied, each with covariances of
    its own.

    The paper estimates all three covariances; its published code the task covariance alone, as
    `covariance="task"` does here. That code adds 1e-5 and, in its inverse, leaves what is below
    .1 as it is, so that directions in which tasks hardly differ are hardly penalised, against the
    prior; here it is the plain inverse with an `epsilon` of .1. It also caps the trace at 3000
    where it is fixed here.

    Cost of an update: products of the weights with the covariances and their inverses; for "all",
    matrices as large as inputs squared. Diagnostics: `correlation` of the tasks, by weight.

    Args:
        strength: see `Regularizer`.
        covariance: which covariances are estimated: "task", or "all" three.
        every: optimizer steps between two estimates.
        epsilon: least variance along any direction in units of the mean, about; above 0.

    Raises:
        UserError: options out of range.

    """

    name = "mrn"
    paper = "Long 2017"
    tells: ClassVar[dict[str, str]] = {
        "correlation": "how the weights of two tasks are correlated, by the prior it learned"
    }

    def __init__(
        self,
        strength: float = 1e-2,
        covariance: Literal["task", "all"] = "task",
        every: int = 100,
        epsilon: float = 0.1,
    ) -> None:
        super().__init__(strength, every=every)
        if covariance not in MODES:
            raise unknown("covariance", covariance, MODES)
        self.covariance = covariance
        self.epsilon = number("epsilon", epsilon, 0, above=True)
        self.weights: tuple[str, ...] = ()
        self.priors = nn.ModuleList()

    def prepare(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """A prior for every weight, at the identity."""
        super().prepare(stacks, tasks)
        self.weights = tuple(stacks)
        self.priors = nn.ModuleList(
            TensorNormal(_matrices(stack).shape, MODES[self.covariance], self.epsilon).to(
                device=stack.device, dtype=stack.dtype
            )
            for stack in stacks.values()
        )

    def prior(self, weight: str) -> TensorNormal:
        """The prior of a weight it was prepared for, tasks in the order of their names."""
        found = self.priors[self.weights.index(weight)]
        assert isinstance(found, TensorNormal)
        return found

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """Half the quadratic form; of a weight that it was not prepared for, half the squares."""
        if weight not in self.weights:
            return stack.square().sum() / 2
        form: Tensor = self.prior(weight)(_matrices(stack)[self.order(tasks)])
        return form / 2

    @torch.no_grad()
    def update(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """The next estimate of the covariances."""
        order = self.order(tasks)
        for weight in self.weights:
            if weight in stacks:
                self.prior(weight).update(_matrices(stacks[weight])[order])

    def keep(self, tasks: Sequence[str]) -> None:
        """The covariances of these tasks alone."""
        rows = [place for place, task in enumerate(self.tasks) if task in tasks]
        super().keep(tasks)
        if len(rows) < 2:
            self.weights, self.priors = (), nn.ModuleList()
        for prior in self.priors:
            assert isinstance(prior, TensorNormal)
            prior.keep_tasks(rows)

    def grow(self, smaller: MRN, stacks: Stacks, tasks: Sequence[str]) -> Collection[str]:
        """The covariance that there was; the new task has variance 1 and goes with no other."""
        rows = [self.tasks.index(task) for task in smaller.tasks]
        taken = []
        for place, weight in enumerate(self.weights):
            if weight in smaller.weights:
                self.prior(weight).take_tasks(rows, smaller.prior(weight))
                taken += [f"priors.{place}.{matrix}_0" for matrix in ("covariance", "precision")]
        return taken

    def correlations(self, weight: str, tasks: Sequence[str]) -> Tensor:
        """How a weight of the tasks is related, [K, K] in the order of `tasks`."""
        places = self.places(tasks)
        covariance = self.prior(weight).covariance(0)[places][:, places]
        deviations = covariance.diagonal().sqrt()
        return covariance / deviations / deviations[:, None]

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """Correlations of the tasks, of every weight."""
        known = [weight for weight in self.weights if weight in stacks]
        found = {weight: by_pair(self.correlations(weight, tasks), tasks) for weight in known}
        return {"correlation": found}


def _matrices(stack: Tensor) -> Tensor:
    """[tasks, outputs, inputs]; a vector a task is one output."""
    return stack.flatten(2) if stack.dim() > 2 else stack[:, None]
