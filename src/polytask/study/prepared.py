"""The rows of a run, cut and made ready: of one data set, or of one for each task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from polytask.data import Batches, Dataset, InputSpec, Mixture, Preprocessor, make_splits
from polytask.data.data_sets import Splits
from polytask.data.sources import name_of
from polytask.study.helpers import with_helpers
from polytask.study.joined import Joined
from polytask.tasks import Task
from polytask.training._rows import judging_rows

Pair = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Inputs and targets."""


@dataclass(frozen=True)
class Prepared:
    """A data set cut and preprocessed for one seed; inputs and targets are tensors by part."""

    tasks: dict[str, Task]
    parts: dict[str, Pair]
    spec: InputSpec
    passes: float = 1.0
    """Passes over the training rows in an epoch of the study; above 1 for a task with a data set of
    its own, whose network takes as many steps as those that are trained on all of them."""

    @property
    def sources(self) -> int:
        """How many data sets steps are drawn from."""
        return 1

    def train(self, config: Mapping[str, Any]) -> Batches | Mixture:
        """The training batches of a run with this configuration."""
        return self.batches("train", config["batch_size"], shuffle=True, seed=config["seed"])

    def epochs(self, epochs: int) -> int:
        """The epochs of a run whose study has so many."""
        return math.ceil(epochs * self.passes)

    def batches(self, part: str, size: int, *, shuffle: bool = False, seed: int = 0) -> Batches:
        """The batches of one part."""
        inputs, targets = self.parts[part]
        return Batches(inputs, targets, size, shuffle=shuffle, seed=seed)

    def judging(self, part: str, size: int) -> Batches:
        """The batches of one part, for evaluation."""
        return self.batches(part, judging_rows(self.tasks, size))

    def enough(self, steps: int, size: int) -> Prepared:
        """The same with training batches for so many steps only, to time them."""
        return self.start(steps * size)

    def rehearsal(self, config: Mapping[str, Any], rows: int, batches: int) -> Batches | Mixture:
        """A few rows as training batches, as many as one step of a method reads."""
        known = min(rows, len(next(iter(self.parts["train"][1].values()))))
        return self.batches("train", max(1, known // batches))

    def start(self, rows: int) -> Prepared:
        """The same with the first rows of the training part only.

        If they hold no label at all, the rows with most labels are taken instead.
        """
        labels = self._labels()
        return self._only(slice(rows) if bool(labels[:rows].any()) else self._order(labels)[:rows])

    def labelled(self, rows: int) -> Prepared:
        """The same with those rows of the training part that have most labels."""
        return self._only(self._order(self._labels())[:rows])

    def _labels(self) -> Tensor:
        """How many tasks have a label, by row of the training part."""
        targets = self.parts["train"][1]
        known = [task.labelled(targets[name]) for name, task in self.tasks.items()]
        return torch.stack([mask.reshape(len(mask), -1).any(1) for mask in known]).sum(0)

    @staticmethod
    def _order(labels: Tensor) -> Tensor:
        return labels.argsort(descending=True, stable=True)

    def _only(self, rows: slice | Tensor) -> Prepared:
        inputs, targets = self.parts["train"]
        few = ({k: v[rows] for k, v in inputs.items()}, {k: v[rows] for k, v in targets.items()})
        return replace(self, parts={**self.parts, "train": few})


@dataclass(frozen=True)
class PreparedSets(Prepared):
    """Data sets of their own for each task, one below the other in each part."""

    places: Mapping[str, tuple[tuple[str, ...], int, int]] | None = None
    """Tasks, first and last row of each data set in the training part, by name."""
    steps: int | None = None
    """Steps an epoch, where the configuration does not decide."""

    @property
    def sources(self) -> int:
        """How many data sets steps are drawn from."""
        return len(self.places or ())

    def train(self, config: Mapping[str, Any]) -> Batches | Mixture:
        """The training batches, drawn by the schedule of the run."""
        inputs, targets = self.parts["train"]
        pairs = {
            tasks: (
                {name: value[low:high] for name, value in inputs.items()},
                {task: targets[task][low:high] for task in tasks},
            )
            for tasks, low, high in (self.places or {}).values()
        }
        words = config["mixture"]
        schedule = words["schedule"]
        return Mixture(
            pairs,
            {schedule["name"]: schedule["arguments"]},
            tasks_per_step=words["tasks_per_step"],
            steps_per_epoch=self.steps or words["steps_per_epoch"],
            batch_size=words["batch_size"],
            seed=config["seed"],
        )

    def enough(self, steps: int, size: int) -> Prepared:
        """The same with so many steps an epoch, of batches as they are."""
        return replace(self, steps=steps)

    def rehearsal(self, config: Mapping[str, Any], rows: int, batches: int) -> Batches | Mixture:
        """The training part as the schedule draws it, in an epoch of a few steps."""
        return replace(self, steps=max(batches, 2 * self.sources)).train(config)

    def labelled(self, rows: int) -> Prepared:
        """The same with the first labelled rows of every data set, `rows` of each."""
        labels = self._labels()
        kept, places, low = [], {}, 0
        for name, (tasks, first, last) in (self.places or {}).items():
            there = self._order(labels[first:last])[:rows] + first
            kept.append(there)
            places[name] = (tasks, low, low + len(there))
            low += len(there)
        few = self._only(torch.cat(kept))
        assert isinstance(few, PreparedSets)
        return replace(few, places=places)


def prepare(config: Mapping[str, Any], dataset: Dataset) -> Prepared:
    """Split by the seed, add helper tasks, learn the preprocessing, fit the tasks.

    Preprocessing and the data set's own tasks are learned from its own training rows, whatever
    rows helper tasks add. Of several data sets, a network of one task learns from that of its own
    alone, how inputs are filled and scaled too, and the others from the rows of all.
    """
    if isinstance(dataset, Joined):
        splits = dataset.split(**cut(config))
        if len(config["tasks"]) == 1:
            return _alone(config, dataset, splits)
        found = _prepared(config, dataset, dataset.sets.rows(splits))
        return PreparedSets(found.tasks, found.parts, found.spec, places=dataset.places(splits))
    return _prepared(config, dataset, make_splits(dataset, **cut(config)))


def cut(config: Mapping[str, Any]) -> dict[str, Any]:
    """How the rows of a run are split, as `make_splits` takes it."""
    return {word: config[word] for word in ("split", "test_fraction", "val_fraction", "seed")}


def shared_steps(words: Mapping[str, Any], rows: Mapping[str, int]) -> int:
    """The steps of an epoch on several data sets, as `Mixture` counts them.

    Args:
        words: the part of a run's configuration that says how they are mixed.
        rows: training rows by data set.
    """
    if words["steps_per_epoch"]:
        return int(words["steps_per_epoch"])
    batches = [-(-count // words["batch_size"][name]) for name, count in rows.items()]
    if words["tasks_per_step"] == "all":
        return max(batches)
    return -(-sum(batches) // int(words["tasks_per_step"]))


def _alone(config: Mapping[str, Any], dataset: Joined, splits: Splits) -> Prepared:
    """The rows of the one task of a run."""
    (task,) = config["tasks"]
    own, parts = dataset.own(task, splits)
    found = _prepared(config, own, parts)
    if "mixture" not in config:
        return found
    rows = {name_of(key): len(splits[name_of(key)]["train"]) for key in dataset.sets.sets}
    pass_over_own = -(-len(parts["train"]) // config["batch_size"])
    return replace(found, passes=shared_steps(config["mixture"], rows) / pass_over_own)


def _prepared(config: Mapping[str, Any], dataset: Dataset, splits: Mapping[str, Any]) -> Prepared:
    """Helper tasks, preprocessing and tasks on parts that are known."""
    parts_of, train, own = dict(splits), splits["train"], dataset.tasks
    if config.get("auxiliary"):
        dataset, parts_of = with_helpers(config, dataset, splits)
    preprocessor = Preprocessor.fit(dataset, train)
    names = config["tasks"]
    learned = {t: train if t in own else parts_of["train"] for t in names}
    tasks = {t: dataset.tasks[t].fitted(dataset.targets[t][learned[t]]) for t in names}
    if all(task.role != "main" for task in tasks.values()):
        # A network of its own for an auxiliary task is about that task.
        tasks = {name: replace(task, role="main", reverse=0.0) for name, task in tasks.items()}
    parts = {
        part: (
            preprocessor.transform({k: v[rows] for k, v in dataset.inputs.items()}),
            {t: torch.from_numpy(dataset.targets[t][rows]) for t in names},
        )
        for part, rows in parts_of.items()
    }
    return Prepared(tasks, parts, preprocessor.spec)
