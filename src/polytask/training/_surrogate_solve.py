"""Training in the linearised network: a few numbers per group of tasks, found exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from polytask.tasks import Task
from polytask.training._surrogate_curvature import curvature, straight
from polytask.training._surrogate_linear import Linear

ITERATIONS = 100
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
        places, directions, size = self._places(learning)

        def at(name: str, values: Tensor) -> Point:
            begin, middle, end = places[name]
            along = torch.cat([values[: self.shared], values[begin:middle]])
            return Point(along, values[middle:end])

        def objective(values: Tensor) -> Tensor:
            terms = [loss(self.tasks[n], self.train[n], at(n, values)) for n in learning]
            return torch.stack([*terms, self.ridge * values[directions].square().sum()]).sum()

        found = next(iter(self.train.values())).start.new_zeros(size)
        if learning:
            for name in learning:
                found[places[name][1] : places[name][2]] = self._begins[name]
            way = straight(self._bend(learning, places, directions, size))
            begin = found
            found = begin + way @ minimise(
                lambda z: objective(begin + way @ z), way.new_zeros(len(way))
            )
        nothing = Point(torch.cat([found[: self.shared], found.new_zeros(self.own)]), found[:0])
        with torch.no_grad():
            return {n: self._judged(n, at(n, found) if n in places else nothing) for n in group}

    def start(self, name: str) -> float:
        """The task's held-out loss before any training."""
        like = next(iter(self.train.values())).start
        with torch.no_grad():
            zeros = like.new_zeros(self.shared + self.own)
            return self._judged(name, Point(zeros, zeros[:0]))

    def _places(
        self, learning: Sequence[str]
    ) -> tuple[dict[str, tuple[int, int, int]], list[int], int]:
        """Where each task's own coordinates and constants lie; all that are no constants; how many.

        The coordinates that tasks share come first.
        """
        places, directions, end = {}, list(range(self.shared)), self.shared
        for name in learning:
            width = self.train[name].start[0].numel() if self.constants else 0
            places[name] = (end, end + self.own, end + self.own + width)
            directions += range(end, end + self.own)
            end += self.own + width
        return places, directions, end

    @cached_property
    def _begins(self) -> dict[str, Tensor]:
        """By task, the constants that suit it best while nothing moves: all groups begin there.

        Rare classes lie far from where all classes are alike, and bend otherwise there.
        """
        found = {}
        for name, one in self.train.items():
            task, bare = self.tasks[name], replace(one, derivatives=one.derivatives[..., :0])
            found[name] = one.start.new_zeros(one.start[0].numel() if self.constants else 0)
            if self.constants:
                found[name] = constants_alone(task, bare)
        return found

    @cached_property
    def _curvatures(self) -> dict[str, Tensor]:
        """By task, where it begins, once for all groups."""
        return {
            name: curvature(
                self.tasks[name],
                replace(one, start=moved(one.start, self._begins[name])),
                self.constants,
            )
            for name, one in self.train.items()
        }

    def _bend(
        self,
        learning: Sequence[str],
        places: Mapping[str, tuple[int, int, int]],
        directions: list[int],
        size: int,
    ) -> Tensor:
        """The second derivatives of a group's objective where it begins, [size, size]."""
        bend = next(iter(self.train.values())).start.new_zeros(size, size)
        bend[directions, directions] = 2 * self.ridge
        for name in learning:
            begin, _, end = places[name]
            where = torch.tensor([*range(self.shared), *range(begin, end)], device=bend.device)
            bend[where[:, None], where] += self._curvatures[name]
        return bend

    def _judged(self, name: str, at: Point) -> float:
        if name not in self.held_out:
            return math.nan
        return float(loss(self.tasks[name], self.held_out[name], at))


def loss(task: Task, linear: Linear, at: Point) -> Tensor:
    """The task's own mean loss with the linearised outputs."""
    outputs = moved(linear.start + linear.derivatives @ at.along, at.constants)
    return task.item_losses(outputs, linear.target).mean()


def moved(outputs: Tensor, constants: Tensor) -> Tensor:
    """Outputs with their constants, if there are any."""
    return outputs + constants.reshape(outputs.shape[1:]) if len(constants) else outputs


def constants_alone(task: Task, bare: Linear) -> Tensor:
    """The constants of the least loss of items that have no derivatives."""
    way = straight(curvature(task, bare, constants=True))
    nothing = way.new_zeros(0)
    return way @ minimise(
        lambda z: loss(task, bare, Point(nothing, way @ z)), way.new_zeros(len(way))
    )


def minimise(objective: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """L-BFGS with strong Wolfe steps, in float64, at most `ITERATIONS` of them.

    Ten to twenty do where the objective bends by about 1 every way at the start.
    """
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
