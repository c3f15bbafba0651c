"""Architectures with one network a task, and the terms that tie corresponding weights."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from polytask.architectures._base import Architecture
from polytask.architectures._heads import as_new
from polytask.errors import UserError
from polytask.optimization.regularization import Regularizer, Terms, create_regularizers

TERMS = "regularizers."
"""What the names of the terms' buffers begin with."""


class Regularized(Architecture):
    """Base of architectures with one network a task: `regularize=` takes terms of their weights.

    A subclass answers `parallel_parameters`, and calls `tie` at the end of its `__init__`. Terms
    join `penalties` by their names, proximal steps are taken in `after_step`, one after the other
    in the order given (which is not the proximal step of their sum).
    """

    regularizers: nn.ModuleList

    @abstractmethod
    def parallel_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters of one task's network, by name, with those of all tasks in order."""

    def tie(self, wanted: Terms, like: nn.Module) -> None:
        """Make the terms and prepare them for the weights, on the device of `like`.

        Those given ready made are copied. Raises `UserError` for what is no term, two of one name,
        one that reads no weight, and weights of different shapes.
        """
        made = copy.deepcopy(create_regularizers(wanted))  # one given twice learns twice
        for regularizer in made:
            stacks = self._stacks(regularizer)
            if not stacks:
                raise UserError(
                    f"regularize: the term {regularizer.name!r} reads weights with "
                    f"{regularizer.least} or more dimensions, found none in the encoder. Use "
                    "'l2', which ties all parameters."
                )
            if len(self.outputs) > 1:
                regularizer.prepare(stacks, self.task_names)
        self.regularizers = nn.ModuleList(as_new(regularizer, like) for regularizer in made)

    def penalties(self) -> dict[str, Tensor]:
        """The terms by their names, without those taken by proximal steps; and other terms."""
        noted = super().penalties()
        for regularizer in self._active():
            if regularizer.by_steps:
                continue
            terms = [
                regularizer.penalty(stack, self.task_names, name)
                for name, stack in self._stacks(regularizer).items()
                if stack.requires_grad
            ]
            if terms:
                noted[regularizer.name] = torch.stack(terms).sum()
        return noted

    @torch.no_grad()
    def after_step(self, lr: float) -> None:
        """Proximal steps, and what is learned from the weights when it is due."""
        super().after_step(lr)
        for regularizer in self._active():
            if regularizer.by_steps:
                self._proximal_step(regularizer, lr)
            if regularizer.due():
                regularizer.update(self._stacks(regularizer), self.task_names)

    def observe(self, losses: Mapping[str, float]) -> None:
        """Hand the losses of a batch to terms that go by them."""
        for regularizer in self._active():
            regularizer.observe(losses)

    def regularization(self) -> dict[str, Any]:
        """What every term says of the weights as they are, by name; plain values.

        Its penalty, and what it finds: ranks, correlations of tasks, clusters, transfer.
        """
        return {
            regularizer.name: regularizer.diagnostics(self._stacks(regularizer), self.task_names)
            for regularizer in self._active()
        }

    def prune(self, *tasks: str) -> Self:
        """As of every architecture; terms are those of the tasks that stay."""
        pruned = super().prune(*tasks)
        for regularizer in pruned.regularizers:
            assert isinstance(regularizer, Regularizer)
            regularizer.keep(pruned.task_names)
        return pruned

    def take_over(self, smaller: Architecture, resized: Collection[str]) -> None:
        """As of every architecture; terms keep what they have learned of the tasks that were.

        Terms that are others than before, by another `regularize`, begin anew.
        """
        assert isinstance(smaller, Regularized)
        pairs = zip(self.regularizers, smaller.regularizers, strict=False)
        for place, (regularizer, old) in enumerate(pairs):
            if type(regularizer) is not type(old):
                continue
            assert isinstance(regularizer, Regularizer)
            assert isinstance(old, Regularizer)
            taken = regularizer.grow(old, self._stacks(regularizer), self.task_names)
            prefix = f"{TERMS}{place}."
            own = {name.removeprefix(prefix) for name in resized if name.startswith(prefix)}
            for name in sorted(own - set(taken)):
                raise UserError(
                    f"no task can be added to this {type(self).__name__}: the term "
                    f"{regularizer.name!r} does not say how its {name!r} grows with the tasks. "
                    "Write `grow` in its class, or build the model with all tasks and train it "
                    "anew."
                )
        super().take_over(smaller, [name for name in resized if not name.startswith(TERMS)])

    def _active(self) -> list[Regularizer]:
        """The terms that do something: those with a strength, of two tasks or more."""
        if len(self.outputs) < 2:
            return []
        terms = [one for one in self.regularizers if isinstance(one, Regularizer)]
        return [regularizer for regularizer in terms if regularizer.strength]

    def _stacks(self, regularizer: Regularizer) -> dict[str, Tensor]:
        """The weights that a term reads, [tasks, ...] each."""
        return {
            name: self._stacked(name, parameters)
            for name, parameters in self.parallel_parameters().items()
            if parameters[0].dim() >= regularizer.least
        }

    def _stacked(self, name: str, parameters: Sequence[nn.Parameter]) -> Tensor:
        """One weight of all networks. Raises `UserError` where it is not of one shape in all."""
        shapes = {task: tuple(p.shape) for task, p in zip(self.outputs, parameters, strict=True)}
        if len(set(shapes.values())) > 1:
            said = ", ".join(f"{shape} for {task}" for task, shape in shapes.items())
            raise UserError(
                f"regularize: terms tie weights that correspond, and {name!r} is of different "
                f"shapes: {said}. Leave such weights out of parallel_parameters()."
            )
        return torch.stack(tuple(parameters))

    def _proximal_step(self, regularizer: Regularizer, lr: float) -> None:
        parallel = self.parallel_parameters()
        for name, stack in self._stacks(regularizer).items():
            nearer = regularizer.prox(stack, lr, self.task_names)
            for parameter, value in zip(parallel[name], nearer, strict=True):
                if parameter.requires_grad:
                    parameter.copy_(value)


def parallel(networks: Sequence[nn.Module]) -> dict[str, list[nn.Parameter]]:
    """Floating-point parameters that all networks have and at least one of them trains."""
    named = [dict(network.named_parameters()) for network in networks]
    return {
        name: [own[name] for own in named]
        for name, parameter in named[0].items()
        if parameter.is_floating_point()
        and all(name in own for own in named)
        and any(own[name].requires_grad for own in named)
    }
