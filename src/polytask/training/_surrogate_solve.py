"""Training in the linearised network: a few numbers per group of tasks, found exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polytask.tasks import Task
from polytask.training._surrogate_linear import Linear

ITERATIONS = 300
HISTORY = 20


@dataclass(frozen=True)
class Point:
    """Coordinates of one task: along the directions, and the constants of its outputs."""

    along: Tensor
    constants: Tensor


@dataclass(frozen=True)
class Surrogate:
    """Both parts of the data as linear functions of directions, and the weight of the ridge.

    At least one task has training items. With `constants` every output of a task has a constant
    of its own, which the ridge leaves alone.
    """

    tasks: Mapping[str, Task]
    train: Mapping[str, Linear]
    held_out: Mapping[str, Linear]
    shared: int
    own: int
    ridge: float
    constants: bool

    def losses(self, group: Sequence[str]) -> dict[str, float]:
        """Held-out losses of these tasks after training them together.

        NaN where a task has no held-out label, or the training did not end in finite numbers. A
        task without training labels is judged with what the others make of the shared directions.
        """
        learning = [name for name in group if name in self.train]
        places, directions = self._places(learning)

        def at(name: str, values: Tensor) -> Point:
            begin, middle, end = places[name]
            along = torch.cat([values[: self.shared], values[begin:middle]])
            return Point(along, values[middle:end])

        def objective(values: Tensor) -> Tensor:
            terms = [loss(self.tasks[n], self.train[n], at(n, values)) for n in learning]
            return torch.stack([*terms, self.ridge * values[directions].square().sum()]).sum()

        like = next(iter(self.train.values())).start
        found = like.new_zeros(max((end for _, _, end in places.values()), default=self.shared))
        if learning:
            found = minimise(objective, found)
        nothing = Point(torch.cat([found[: self.shared], like.new_zeros(self.own)]), found[:0])
        with torch.no_grad():
            return {n: self._judged(n, at(n, found) if n in places else nothing) for n in group}

    def start(self, name: str) -> float:
        """The task's held-out loss before any training."""
        like = next(iter(self.train.values())).start
        with torch.no_grad():
            zeros = like.new_zeros(self.shared + self.own)
            return self._judged(name, Point(zeros, zeros[:0]))

    def _places(self, learning: Sequence[str]) -> tuple[dict[str, tuple[int, int, int]], list[int]]:
        """Where each task's own coordinates and constants lie; and all that are no constants."""
        places, directions, end = {}, list(range(self.shared)), self.shared
        for name in learning:
            width = self.train[name].start[0].numel() if self.constants else 0
            places[name] = (end, end + self.own, end + self.own + width)
            directions += range(end, end + self.own)
            end += self.own + width
        return places, directions

    def _judged(self, name: str, at: Point) -> float:
        if name not in self.held_out:
            return math.nan
        return float(loss(self.tasks[name], self.held_out[name], at))


def loss(task: Task, linear: Linear, at: Point) -> Tensor:
    """The task's own mean loss with the linearised outputs."""
    outputs = linear.start + linear.derivatives @ at.along
    if len(at.constants):
        outputs = outputs + at.constants.reshape(outputs.shape[1:])
    return task.item_losses(outputs, linear.target).mean()


def minimise(objective: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """L-BFGS with strong Wolfe steps, in float64, at most `ITERATIONS` of them."""
    point = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [point],
        max_iter=ITERATIONS,
        history_size=HISTORY,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        solver.zero_grad()
        value = objective(point)
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(closure)
    return point.detach()
