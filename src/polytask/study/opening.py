"""What all studies do alike between their words and their first run.

A study reads the words of its own, makes an `Opening` of those that all studies have, and then,
inside `Opening.processes`: reads the data, makes its settings and its plan, has them checked,
and runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from polytask import plugins, registry
from polytask.files import locked
from polytask.study.executor import PRELOAD, Here, Processes
from polytask.study.folder import finished
from polytask.study.result import StudyResult
from polytask.study.settings import Choice, Settings, check_folder, check_select, positive, rates

if TYPE_CHECKING:
    from polytask.data import Dataset
    from polytask.study.carry_out import Planned, Runs
    from polytask.study.unit import EncoderMaker

P = TypeVar("P", bound="Planned")


def whole_numbers(**words: Any) -> None:
    """Raise `UserError` unless all of these are whole numbers above 0."""
    for word, value in words.items():
        positive(value, word, whole=True)


def without_none(words: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are set, for `study.yaml`."""
    return {word: value for word, value in words.items() if value is not None}


@dataclass(kw_only=True)
class Opening:
    """The words that all studies have, and what follows from them. See `polytask.compare`.

    Names and whole numbers come checked; the rest is, here: a wrong `lr`, `workers` or `max_time`
    is a `UserError` at once, before the data are read.
    """

    data: Any
    targets: Any
    drop: Sequence[str]
    split: str
    test: Any
    test_fraction: float
    val_fraction: float
    methods: tuple[Choice, ...]
    architectures: tuple[Choice, ...]
    encoder: Any
    statistic: str | None
    seeds: int
    epochs: int
    batch_size: int
    lr: float | Sequence[float]
    trainer: dict[str, Any]
    workers: int | None
    max_time: float | None
    out: str | Path | None
    dry_run: bool
    preload: tuple[str, ...] = ()
    """Modules that the runs of this kind of study need besides those of all."""

    grid: tuple[float, ...] = field(init=False)
    """The learning rates, smallest first."""
    limit: int = field(init=False)
    """Runs at once."""
    deadline: float = field(init=False)
    """When, of `time.monotonic`, no run is started any more."""
    folder: Path | None = field(init=False)
    """Where the study goes, if that was said."""

    def __post_init__(self) -> None:
        began = time.monotonic()
        self.grid = rates(self.lr)
        self.limit = processors()
        if self.workers is not None:
            self.limit = positive(self.workers, "workers", whole=True)
        self.deadline = float("inf")
        if self.max_time is not None:
            self.deadline = began + positive(self.max_time, "max_time")
        self.folder = None if self.out is None else Path(self.out)

    @cached_property
    def make_encoder(self) -> EncoderMaker | None:
        """A function that makes the encoder, for one that is given as an object; else None."""
        from polytask.study import setup

        return setup.encoder_maker(self.encoder)

    @cached_property
    def entries(self) -> tuple[registry.Entry, ...]:
        """What the registry knows of the architectures."""
        return tuple(registry.find("architecture", choice.name) for choice in self.architectures)

    @cached_property
    def here(self) -> bool:
        """Whether a part of the networks is known to this process alone."""
        return self.make_encoder is not None or any(map(plugins.here_only, self.entries))

    @contextlib.contextmanager
    def processes(self) -> Iterator[Processes | None]:
        """The pool of processes, importing beside our reading of the data; None if not needed."""
        if self.here:
            yield None
            return
        used = modules("method", self.methods) + modules("architecture", self.architectures)
        with Processes(self.limit, preload=(*PRELOAD, *self.preload, *used)) as pool:
            ended = self.folder is not None and (self.folder / "results.json").exists()
            if self.dry_run or not ended:
                pool.start()
            yield pool

    def read(self, on_data: Callable[[Dataset], None] | None = None) -> Dataset:
        """The data set, once `on_data` has seen it. Raises `UserError` for impossible data."""
        from polytask.study import setup

        dataset = setup.open_data(
            self.data, targets=self.targets, drop=self.drop, split=self.split, test=self.test
        )
        if on_data is not None:
            on_data(dataset)
        return dataset

    def settings(
        self,
        dataset: Dataset,
        tasks: dict[str, dict[str, Any]],
        *,
        methods: tuple[Choice, ...] | None = None,
        select: str = "mean_gain",
        **own: Any,
    ) -> Settings:
        """What decides what the runs compute; `own` are settings that not all studies have.

        Raises `UserError` for an encoder, a rule or a statistic that there is not.
        """
        from polytask.study import setup

        return Settings(
            name=dataset.name,
            tasks=tasks,
            fingerprint=setup.fingerprint(dataset),
            methods=methods or self.methods,
            architectures=self.architectures,
            encoder=setup.describe_encoder(self.encoder, dataset),
            seeds=self.seeds,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.grid,
            split=self.split,
            test_fraction=self.test_fraction,
            val_fraction=self.val_fraction,
            select=check_select(select, dataset.tasks),
            statistic=self.statistic,
            trainer=self.trainer,
            plugins=tuple(found for entry in self.entries if (found := plugins.origin(entry))),
            **own,
        )

    def check(
        self,
        how: Callable[
            [P, Dataset, EncoderMaker | None, Mapping[str, Any], Collection[str]], dict[str, Any]
        ],
        plan: P,
        dataset: Dataset,
        folder: Path,
        on_notes: Callable[[list[str]], None] | None = None,
    ) -> dict[str, Any]:
        """The facts of the data, from what checks this kind of study; `on_notes` sees its gaps.

        Raises `UserError` for a folder of other data or other files, and what `how` raises.
        """
        from polytask.study import setup
        from polytask.study.carry_out import mark, refuse_other_data
        from polytask.study.facts import left_out

        if not self.dry_run:
            refuse_other_data(check_folder(folder), mark(plan.settings, dataset))
        card = setup.card_of(self.data)
        known = how(plan, dataset, self.make_encoder, card, finished(folder))
        if on_notes is not None:
            on_notes(left_out(known, dataset))
        return known

    def run(
        self,
        study: Runs[Any],
        pool: Processes | None,
        dry: Callable[[Any, Dataset, Processes | Here, Path], StudyResult],
    ) -> StudyResult:
        """Run the study, alone in its folder; of a dry run, only what `dry` does."""
        from polytask.study import setup
        from polytask.study.unit import run_folder

        used: Processes | Here
        if pool is not None and setup.storable(study.dataset):
            used = pool
        else:
            target = partial(run_folder, dataset=study.dataset, make_encoder=self.make_encoder)
            used = Here(target)
        if self.dry_run:
            return dry(study.plan, study.dataset, used, study.out)
        with locked(study.out, "a study"):
            return study.run(used)

    def columns(self, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The words on columns, resolved, for `study.yaml`."""
        from polytask.study import setup

        return {
            "targets": setup.plain_targets(self.targets, tasks),
            "drop": [str(column) for column in self.drop] or None,
        }

    def trainings(self, settings: Settings, out: Path, select: str | None = None) -> dict[str, Any]:
        """The words from the encoder to `out` and those of trainers, resolved, likewise."""
        return {
            "encoder": settings.encoder.plain(),
            "seeds": settings.seeds,
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "lr": list(settings.lr),
            "split": settings.split,
            "test": str(self.test) if isinstance(self.test, str | Path) else None,
            "test_fraction": settings.test_fraction,
            "val_fraction": settings.val_fraction,
            "select": select,
            "statistic": settings.statistic,
            "out": str(out),
            **settings.trainer,
        }


def modules(kind: str, choices: Sequence[Choice]) -> tuple[str, ...]:
    """Where the chosen entries live; the user's own are imported by the runs alone."""
    entries = [registry.find(kind, choice.name) for choice in choices]
    return tuple(entry.module for entry in entries if entry.thing is None)


def processors() -> int:
    """CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
