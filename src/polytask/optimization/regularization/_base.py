"""The base class of every regularizer: one method to write, `value`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from polytask.errors import UserError
from polytask.optimization.scheduling._check import number

Stacks = Mapping[str, Tensor]
"""Corresponding weights of K networks, [K, ...] each, by the name of the weight."""


class Regularizer(nn.Module):
    """A term of the weights of K networks, one a task, minimised beside the tasks' losses.

    A weight of K networks is one tensor [K, ...], stacked along the first dimension in the order
    of `tasks`. The term of a model is the sum over its weights; a lone task has none. A subclass
    implements `value`, and `_proximal` as well where the proximal map has a closed form; one that
    learns from the weights is a `Learned`. What is learned lies in buffers, with tasks in the
    order of their names, so a saved state does not depend on the order in which they were given.

    `polytask.testing.regularizers.RegularizerConformance` checks all of this of a new term.

    Attributes:
        name: as in lists.
        paper: the source.
        least: the least number of dimensions of the weights it reads: 2 leaves out biases and
            norms.
        proximal: whether it has a proximal step.
        zero_of_equals: whether networks that are all the same have no term, by default options.
        tells: what the entries of its diagnostics are, by their names, for the report.

    Args:
        strength: weight of the term; 0 is none.
        prox: whether the term is taken by a proximal step after each optimizer step, with the
            learning rate as the step, in place of its gradient. Meant for SGD: with Adam the
            optimizer's own steps are of another scale.

    Raises:
        UserError: an option out of range, or `prox` of a term without a proximal step.

    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    least: ClassVar[int] = 2
    proximal: ClassVar[bool] = False
    zero_of_equals: ClassVar[bool] = False
    tells: ClassVar[dict[str, str]] = {}

    def __init__(self, strength: float = 1e-2, prox: bool = False) -> None:
        super().__init__()
        self.strength = number("strength", strength, 0)
        self.by_steps = bool(prox)
        if prox and not self.proximal:
            raise UserError(
                f"the term {self.name!r} has no proximal step in closed form, found prox=True. "
                "Leave it out."
            )

    def value(self, stack: Tensor, tasks: Sequence[str], weight: str) -> Tensor:
        """The term of one weight [K, ...] of two tasks or more, for a strength of 1."""
        raise NotImplementedError

    def penalty(self, stack: Tensor, tasks: Sequence[str], weight: str = "") -> Tensor:
        """The term of one weight, times the strength: a scalar with a graph; 0 for a lone task.

        Args:
            stack: the weight of all networks, [K, ...].
            tasks: their K tasks, in the order of the stack.
            weight: name of the weight, for terms that learn something of each.

        Raises:
            UserError: other tasks than the term was prepared for, or another number of them than
                the stack has networks.
        """
        _check_rows(stack, tasks)
        if len(tasks) < 2 or not self.strength:
            return stack.new_zeros(())
        return self.strength * self.value(stack, tasks, weight)

    @torch.no_grad()
    def prox(self, stack: Tensor, step: float, tasks: Sequence[str] = ()) -> Tensor:
        """argmin over X of penalty(X) + ||X - stack||^2 / (2 step).

        `tasks` is asked for by terms that know tasks apart. Raises `UserError` where there is no
        closed form, and as `penalty`.
        """
        if not self.proximal:
            raise UserError(
                f"the term {self.name!r} has no proximal step in closed form. Use its gradient."
            )
        if tasks:
            _check_rows(stack, tasks)
        lone = len(stack) < 2 or not self.strength
        return stack.clone() if lone else self._proximal(stack, step * self.strength, tasks)

    def _proximal(self, stack: Tensor, step: float, tasks: Sequence[str]) -> Tensor:
        """The proximal map of `step` times `value`."""
        raise NotImplementedError

    def prepare(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """Told once, before training, which weights of which tasks there will be."""

    def observe(self, losses: Mapping[str, float]) -> None:
        """Told the tasks' losses of a batch; terms that go by them use it."""

    def due(self) -> bool:
        """Told of every optimizer step; whether `update` is to be called after it."""
        return False

    def update(self, stacks: Stacks, tasks: Sequence[str]) -> None:
        """Learn from the weights as they are now."""

    def keep(self, tasks: Sequence[str]) -> None:
        """Forget all tasks but these."""

    def grow(self, smaller: Self, stacks: Stacks, tasks: Sequence[str]) -> Collection[str]:
        """For a model that gets a task more: take over what `smaller` has learned of the others.

        Called on the term of all `tasks`, prepared for them, with their weights as they are;
        `smaller` is the one that there was. Buffers of the same shape in both have been taken
        over by then. Answers the names of the others, that it has set.
        """
        return ()

    @torch.no_grad()
    def diagnostics(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """What the term says of the weights as they are: plain values, the penalty and more."""
        total = sum(float(self.penalty(stack, tasks, name)) for name, stack in stacks.items())
        return {"penalty": total} | (self.details(stacks, tasks) if len(tasks) > 1 else {})

    def details(self, stacks: Stacks, tasks: Sequence[str]) -> dict[str, Any]:
        """What `diagnostics` tells beside the penalty, of two tasks or more.

        By name: a number; or numbers by weight (one, a list, or several by name), by task, or by
        two tasks, the first one's row; or the latter by weight. These the report can show.
        """
        return {}


def _check_rows(stack: Tensor, tasks: Sequence[str]) -> None:
    """Raise `UserError` unless the stack has a network for every task."""
    if stack.dim() == 0 or len(stack) != len(tasks):
        raise UserError(
            f"a weight of the tasks {', '.join(tasks)} is one tensor with {len(tasks)} networks "
            f"along its first dimension, found the shape {tuple(stack.shape)}. Stack one weight a "
            "task, in the order of the tasks."
        )


def by_pair(matrix: Tensor, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """A [K, K] matrix as plain numbers by the tasks of row and column."""
    rows = matrix.double().tolist()
    return {task: dict(zip(tasks, row, strict=True)) for task, row in zip(tasks, rows, strict=True)}


def gramian(stacks: Stacks) -> Tensor:
    """Inner products of the tasks' weights over all stacks, float64 [K, K]."""
    rows = [stack.detach().flatten(1).double() for stack in stacks.values()]
    return torch.stack([flat @ flat.T for flat in rows]).sum(dim=0)
