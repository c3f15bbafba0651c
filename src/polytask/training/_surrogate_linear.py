"""A network as a linear function of a few numbers: its answers and their derivatives."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError, some
from polytask.tasks import Task
from polytask.training._forward import Batch, batches_on
from polytask.training._rows import count_rows, cut_rows
from polytask.training._surrogate_directions import Answers, Users

NUMBERS = 2**25
"""Most derivatives that are kept of one part of the data: 256 MB in float64."""


@dataclass(frozen=True)
class Linear:
    """One task's labelled items: outputs there = start + derivatives @ (w, u), all float64.

    w are the coordinates that all tasks share, u the task's own.
    """

    start: Tensor
    """[n, ...]: outputs of the network as it is, as `Task.items` gives them."""
    derivatives: Tensor
    """[n, ..., directions + head_directions]."""
    target: Tensor


@dataclass(frozen=True)
class Directions:
    """How many directions, from which seed, and how derivatives along them are taken."""

    shared: int
    own: int
    seed: int
    users: Users
    forward_mode: bool

    def derivatives(
        self, answers: Answers, inputs: Any, outputs: Mapping[str, Tensor]
    ) -> Iterable[dict[str, Tensor]]:
        """The derivatives of all outputs along one direction after the other.

        `outputs` are those of the parameters as they are. First come the directions that two tasks
        or more share, then each task's own, all tasks' at once, since no other task's outputs move
        along them.
        """
        for names, count, seed in (
            (self.users.shared, self.shared, self.seed),
            (self.users.own, self.own, self.seed + 1_000_000_007),
        ):
            for number in range(count):
                tangent = answers.direction(names, number, count, seed)
                if self.forward_mode:
                    yield answers.forward_mode(inputs, tangent)
                else:
                    yield answers.differences(inputs, tangent, outputs)

    @property
    def passes(self) -> int:
        """Forward passes over every row that is read, those for the outputs themselves too.

        A pass in forward mode is counted as two.
        """
        return 1 + (2 if self.forward_mode else 1) * (self.shared + self.own)


def read_rows(batches: Iterable[Any], rows: int, answers: Answers, part: str) -> list[Batch]:
    """The first `rows` rows, as batches. Raises `UserError` when there is none."""
    read: list[Batch] = []
    left = rows
    for inputs, targets in batches_on(batches, answers.device):
        number = count_rows(targets)
        read.append(first_rows((inputs, targets), left))
        left -= min(number, left)
        if not left:
            break
    if not count(read):
        raise UserError(f"the {part} batches hold no rows; expected at least one.")
    return read


def first_rows(batch: Batch, rows: int) -> Batch:
    """The first rows of a batch; the whole batch where it holds something that cannot be cut."""
    number = count_rows(batch[1])
    if number <= rows:
        return batch
    try:
        found: Batch = cut_rows(batch, torch.arange(rows), number)
    except UserError:
        return batch
    return found


def count(batches: Iterable[Batch]) -> int:
    """Rows of all batches together."""
    return sum(count_rows(targets) for _, targets in batches)


def linearise(
    answers: Answers,
    tasks: Mapping[str, Task],
    batches: list[Batch],
    directions: Directions,
    items: int,
    seed: int,
) -> dict[str, Linear]:
    """At most `items` labelled items a task in the rows read; tasks without any are left out.

    Where the derivatives would be more than `NUMBERS`, every task keeps equally many items at
    most. Which ones is drawn by the seed: of dense tasks items are places.
    """
    width = directions.shared + directions.own
    numbers = width * sum(task.output_size for task in tasks.values())
    chosen = _choose(tasks, batches, min(items, max(1, NUMBERS // numbers)), seed)
    pieces: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in chosen}
    for number, (inputs, targets) in enumerate(batches):
        with torch.no_grad():
            outputs = answers(inputs)
        places, columns = {}, {}
        for name in chosen:
            if name in targets and len(chosen[name][number]):
                places[name], target = _places(
                    tasks[name], outputs[name], targets[name], chosen[name][number]
                )
                start = outputs[name].flatten()[places[name]].double()
                columns[name] = start.new_empty(*start.shape, width)
                pieces[name].append((start, columns[name], target))
        for turn, found in enumerate(directions.derivatives(answers, inputs, outputs)):
            for name, where in places.items():
                columns[name][..., turn] = found[name].flatten()[where]
    return {
        name: Linear(*(torch.cat(parts) for parts in zip(*several, strict=True)))
        for name, several in pieces.items()
        if several
    }


def _places(task: Task, output: Tensor, target: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Where in the flat output the kept items of a batch are, [n, ...], and their targets.

    The numbers of places go through `Task.items` as outputs do.
    """
    numbers = torch.arange(output.numel(), dtype=torch.float64, device=output.device)
    places, known = task.items(numbers.reshape(output.shape), target)
    kept = kept.to(places.device)
    return places[kept].long(), known[kept]


def _choose(
    tasks: Mapping[str, Task], batches: list[Batch], most: int, seed: int
) -> dict[str, list[Tensor]]:
    """By task and batch, which of the batch's labelled items are kept: `most` of a task."""
    chosen = {}
    for name, task in tasks.items():
        counts = [
            int(task.labelled(targets[name]).sum()) if name in targets else 0
            for _, targets in batches
        ]
        kept = np.arange(sum(counts))
        if len(kept) > most:
            chance = np.random.default_rng([seed, zlib.crc32(name.encode())])
            kept = np.sort(chance.choice(len(kept), most, replace=False))
        ends = np.cumsum([0, *counts])
        chosen[name] = [
            torch.from_numpy(kept[(kept >= low) & (kept < high)] - low)
            for low, high in pairwise(ends)
        ]
    return chosen


def check_answers(found: Mapping[str, Linear]) -> None:
    """Raise `UserError` when an output or a derivative is not finite."""
    odd = [
        name
        for name, linear in found.items()
        if not bool(linear.start.isfinite().all() and linear.derivatives.isfinite().all())
    ]
    if odd:
        raise UserError(
            f"the network's outputs or their derivatives are not finite for {some(odd, 80)}: it "
            "cannot be followed from there. Train it with a smaller learning rate."
        )
