"""Data sets of their own for each task, mixed into one stream of batches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from polytask.data._mixing_join import Pair, Parts, concatenated, joined
from polytask.data._mixing_report import Starved
from polytask.data._mixing_settings import (
    build_sources,
    check_count,
    check_processes,
    known_sizes,
    per_step,
    steps_of,
)
from polytask.data._mixing_source import Collate, Source
from polytask.errors import UserError
from polytask.optimization.scheduling import DEFAULT, Schedule, create_schedule

STREAM = 3
"""Keeps the numbers drawn here apart from others of the same seed and epoch."""


class Mixture:
    """Batches of several data sets, each with labels of its own tasks, by a schedule.

    Iterates `(inputs, targets)` as `Batches` does: each step draws one data set (or several) by
    the schedule, and takes the next batch of it. `targets` holds the tasks of what was drawn, so
    all others are absent from the step. A data set is a `Batches` (whose own order plays no part),
    a pair of dictionaries of tensors, a torch data set with rows by number, one to iterate, a
    `DataLoader`, a Hugging Face `datasets.Dataset`, a DataFrame or the path of a table. Tables are
    prepared together, see `polytask.data.sources.read_tables`; what came of it is in `tables`.

    Every data set is walked in a random order of its own that goes on from one epoch to the next:
    no row comes twice before all have come once; then a new order begins. What can only be iterated
    keeps its own order. The last batch of a pass may be smaller.

    An epoch has `steps_per_epoch` steps; by default as many as one pass over all data sets has
    batches (with several a step: divided by them, rounded up; with all: as the longest has).

    A step of several data sets is one batch where their inputs agree (the same names, types and
    shapes of a row): rows of all of them, with targets marked as missing where a data set has none.
    Where inputs differ it is `Parts`, a tuple of pairs, and the Trainer runs the model on each
    and balances the losses of all in one step.

    Everything drawn is a function of (seed, epoch, position) and of what the schedule observed, so
    every process draws the same data sets in the same order; the rows of a batch are divided among
    the processes. Processes that observe must be told the same.

    Args:
        sources: data sets by task, or by a tuple of tasks; the latter are called 'pos+chunk'.
        schedule: a name, `{name: arguments}`, or a `Schedule`; see
            `polytask.optimization.scheduling.list_schedules`. Not asked when all are in every step.
            None is `temperature` with alpha .5: by the square roots of the numbers of rows.
        steps_per_epoch: as above.
        tasks_per_step: how many data sets a step draws from, without repetition, or "all".
        batch_size: rows a batch over all processes, one number or by name; by default that of a
            `Batches`, otherwise 256.
        collate_fn: makes a batch of a list of rows, one function or by name.
        kinds: of the targets in tables, by name; inferred where not given.
        sizes: rows by name, where a data set does not tell or should count for more or less.
        epochs: how many there will be, for schedules that follow it; the Trainer says so itself.
        shuffle, drop_last: of every walk.
        seed: of everything that is drawn.
        rank, world: this process, and how many there are.

    `epoch` counts from 1; `drawn` is how many batches of each data set the running epoch had, and
    `rate` what the schedule multiplies the learning rate of the newest step with.

    Raises:
        UserError: data sets, words or numbers that cannot be; an empty data set; no known length.
    """

    def __init__(
        self,
        sources: Mapping[Any, Any],
        schedule: str | Mapping[str, Any] | Schedule | None = None,
        *,
        steps_per_epoch: int | None = None,
        tasks_per_step: int | str = 1,
        batch_size: int | Mapping[str, int] | None = None,
        collate_fn: Collate | Mapping[str, Collate] | None = None,
        kinds: Mapping[str, Any] | None = None,
        sizes: Mapping[str, int] | None = None,
        epochs: int | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_processes(seed, rank, world)
        check_count("steps_per_epoch", steps_per_epoch)
        check_count("epochs", epochs)
        self.schedule = create_schedule(DEFAULT if schedule is None else schedule)
        walk = {"shuffle": shuffle, "drop_last": drop_last, "seed": seed}
        self.sources, self.tables = build_sources(
            sources, batch_size, collate_fn, kinds, {**walk, "rank": rank, "world": world}
        )
        self._all = tasks_per_step == "all"
        word = type(self.schedule).__name__
        self._draws = per_step(tasks_per_step, len(self.sources), self.schedule.one_task, word)
        self.sizes = known_sizes(self.sources, sizes)
        self.schedule.group({name: source.tasks for name, source in self.sources.items()})
        self.steps = steps_per_epoch or steps_of(self.sources, None if self._all else self._draws)
        self.seed, self.world = seed, world
        self.epochs = self._epochs = epochs
        self.epoch, self.position, self.rate = 1, 0, 1.0
        self.drawn: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._start = self._begun = 0
        self._starved = Starved()
        # As given: what follows from the data is told by their fingerprints.
        self._how = {
            **walk,
            "steps_per_epoch": steps_per_epoch,
            "tasks_per_step": tasks_per_step,
            "batch_size": {name: source.size for name, source in self._named()},
            "sizes": dict(sizes or {}),
            "world": world,
        }
        self._resting: frozenset[str] = frozenset()
        self._rewind()
        self._order()  # a schedule that cannot order these data sets says so now

    @property
    def names(self) -> tuple[str, ...]:
        """The data sets, in the order given."""
        return tuple(self.sources)

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order of the data sets."""
        return tuple(dict.fromkeys(task for _, source in self._named() for task in source.tasks))

    @property
    def targets(self) -> dict[str, Tensor]:
        """The targets of all rows by task, which may take a pass over the data.

        Of a data set without a known end, those of an epoch's first batches.
        """
        parts: dict[str, list[Tensor]] = {}
        for _, source in self._named():
            for task, target in source.targets(self.steps).items():
                parts.setdefault(task, []).append(target)
        return {task: concatenated(task, part) for task, part in parts.items()}

    @property
    def several(self) -> bool:
        """Whether steps draw from several data sets."""
        return self._draws > 1

    @property
    def everything(self) -> bool:
        """Whether every step draws from all data sets."""
        return self._draws == len(self.sources)

    def __len__(self) -> int:
        """Steps per epoch."""
        return self.steps

    def __iter__(self) -> Iterator[Pair | Parts]:
        order, uniform = self._order(), self._uniform()
        first, self._start = self._start, 0
        if first == 0:
            self._begun = self.epoch
            self.drawn = dict.fromkeys(self.names, 0)
            self._starved.begin()
        for step in range(first, self.steps):
            chosen = self._choose(step, order, uniform)
            self._starved.rested(self.names, self._active())
            pairs = [self._next(name) for name in chosen]
            self.rate = float(self.schedule.rates(chosen).mean())
            # Counted as given out before it is, so a state taken in the loop goes on after it.
            self.position = step + 1
            yield joined(pairs)
        self._starved.close(self.epoch, self.drawn)
        self.epoch += 1
        self.position = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin epoch `epoch` (from 1) with the next iteration.

        The data sets go on from where they are. An epoch that was begun before, or one before
        that, begins the whole mixture anew, and what the schedule has learned is forgotten.
        """
        if epoch <= self._begun:
            self.restart()
        self.epoch = epoch
        self.position = self._start = 0

    def restart(self) -> None:
        """As new: epoch 1, first orders, nothing observed."""
        self._rewind()
        self.schedule.reset()

    def expect(self, epochs: int) -> None:
        """Say how many epochs there will be, where it was not said when the mixture was made."""
        self.epochs = self._epochs or epochs

    def leave_out(self, tasks: frozenset[str] | Sequence[str]) -> None:
        """Draw no data set of which all tasks are among these, until told otherwise.

        Where an order names one, another is drawn by the probabilities of the rest. Raises
        `UserError` when none would be left.
        """
        before, self._resting = self._resting, frozenset(tasks)
        if not self._active():
            self._resting = before
            raise UserError(
                f"leaving out {', '.join(sorted(tasks))} leaves no data set to draw from; expected "
                "at least one. Leave a task of another one active."
            )

    def observe(
        self,
        *,
        scores: Mapping[str, float] | None = None,
        losses: Mapping[str, float] | None = None,
        gramian: tuple[Sequence[str], Tensor] | None = None,
        epoch: int | None = None,
    ) -> None:
        """Tell the schedule how training goes, by task, as `Schedule.observe` takes it."""
        self.schedule.observe(scores=scores, losses=losses, gramian=gramian, epoch=epoch)

    def peek(self) -> list[Pair]:
        """The first rows of every data set that can be read by number; nothing is moved by it."""
        known = [source for _, source in self._named() if source.peekable]
        return [next(source.in_order()) for source in known]

    def state_dict(self) -> dict[str, Any]:
        """Where it is, as plain values: epoch, position, every walk, and what was observed."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "begun": self._begun,
            "given": dict(self._given),
            "drawn": dict(self.drawn),
            "starved": self._starved.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly after the last batch given out when `state` was taken.

        Raises `UserError` for the state of other data sets, or of another seed.
        """
        if set(state["given"]) != set(self.names) or state["seed"] != self.seed:
            raise UserError(
                f"the state is of a mixture of {', '.join(sorted(state['given']))} with seed "
                f"{state['seed']}; expected {', '.join(sorted(self.names))} and {self.seed}. Mix "
                "the same data sets again."
            )
        self.epoch, self._begun = int(state["epoch"]), int(state["begun"])
        self.position = self._start = int(state["position"])
        self._given = {name: int(state["given"][name]) for name in self.names}
        self.drawn = {name: int(state["drawn"][name]) for name in self.names}
        self._starved.load_state_dict(state["starved"])
        self.schedule.load_state_dict(state["schedule"])

    def fingerprints(self) -> dict[str, str]:
        """A hash of each data set's content, by name; reads every tensor once."""
        return {name: source.fingerprint() for name, source in self._named()}

    def how(self) -> str:
        """How the data sets are mixed, in one line of JSON."""
        known = {**self.schedule.settings(), **self._how}
        return json.dumps(known, sort_keys=True, default=str)

    def fingerprint(self) -> str:
        """A hash of the data, and of how they are mixed."""
        return json.dumps(self.fingerprints(), sort_keys=True) + self.how()

    def remarks(self) -> list[str]:
        """What should be known of the epochs so far: data sets that hardly came."""
        rows = {name: self.sizes[name] for name in self.names}
        return self._starved.remarks(rows, type(self.schedule).__name__)

    def _rewind(self) -> None:
        self.epoch, self.position, self.rate = 1, 0, 1.0
        self.drawn = dict.fromkeys(self.names, 0)
        self._given = dict.fromkeys(self.names, 0)
        self._start = self._begun = 0
        self._starved = Starved()

    def _named(self) -> list[tuple[str, Source]]:
        return list(self.sources.items())

    def _active(self) -> list[str]:
        if not self._resting:
            return list(self.sources)
        return [n for n, source in self.sources.items() if not set(source.tasks) <= self._resting]

    def _order(self) -> list[int] | None:
        """The places that the draws of this epoch take, where the schedule has an order."""
        if self._all:
            return None
        batches = {name: source.batches for name, source in self._named()}
        draws = self.steps * self._draws
        return self.schedule.order(self.names, batches, draws, self.epoch, self.seed)

    def _uniform(self) -> np.ndarray:
        """float64 [steps, draws] in [0, 1): what decides the random draws of this epoch."""
        generator = np.random.default_rng([self.seed, self.epoch, STREAM])
        return generator.random((self.steps, self._draws))

    def _choose(self, step: int, order: list[int] | None, uniform: np.ndarray) -> list[str]:
        """The data sets of a step."""
        active = self._active()
        if self._all:
            chosen = active
        else:
            chosen = []
            for i in range(min(self._draws, len(active))):
                wanted = "" if order is None else self.names[order[step * self._draws + i]]
                if wanted not in active or wanted in chosen:
                    wanted = self._draw(active, chosen, float(uniform[step, i]))
                if wanted:
                    chosen.append(wanted)
        for name in chosen:
            self.schedule.drawn(name)
            self.drawn[name] += 1
        return chosen

    def _draw(self, active: list[str], chosen: list[str], uniform: float) -> str:
        """One more data set of a step; '' when all that are left have probability 0."""
        p = self.schedule.probabilities(active, self.sizes, max(self.epoch, 1), self.epochs)
        left = np.asarray(
            [0.0 if name in chosen else x for name, x in zip(active, p.tolist(), strict=True)]
        )
        if not left.any():
            return ""
        heights = np.cumsum(left)
        place = int(np.searchsorted(heights, uniform * heights[-1], side="right"))
        # Rounding may lift the last height above the number by nothing at all.
        return active[min(place, int(np.flatnonzero(left)[-1]))]

    def _next(self, name: str) -> Pair:
        number = self._given[name]
        self._given[name] = number + 1
        return self.sources[name].batch(number)
