"""Saved models as teachers: loaded, and checked to know this task, these inputs, but no test row.

A teacher reads the batches of the training, so it must have been given inputs of the same columns,
filled, coded and scaled alike. Models that `polytask train` saves know by hashes which rows they
were trained on and which they never saw.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from polytask.data import Dataset, Preprocessor
from polytask.errors import UserError, some, unknown
from polytask.tabular.fitted import Fitted
from polytask.tasks import Task
from polytask.training import Distillation

PARTS = ("train", "val", "test")
ALIKE = ("kind", "classes", "size", "places")
"""What must be the same of a task and of what its teacher has learned."""
READ = ("numeric", "categorical", "categories", "dates", "words", "unread")
"""What of `Dataset.columns` decides how a table becomes inputs."""


@dataclass(frozen=True)
class Lesson:
    """What teachers are for: the tasks, and the rows that they are learned from."""

    tasks: Mapping[str, Task]
    dataset: Dataset
    preprocessor: Preprocessor
    splits: Mapping[str, np.ndarray]


def saved_distillation(given: Mapping[str, Any], lesson: Lesson) -> tuple[Distillation, list[str]]:
    """The distillation that settings describe, and what a reader must know of its teachers.

    Args:
        given: "from", the folder of a saved model that teaches every task it has in common with
            these, or folders by task (several are an ensemble); and options of `Distillation`.
        lesson: what is taught.

    Raises:
        UserError: an unknown word; no model in a folder; one that has not learned such a task,
            reads other inputs, or has seen rows that are tested on here.
    """
    options = {str(word): value for word, value in given.items() if word != "from"}
    known = [word for word in inspect.signature(Distillation).parameters if word != "teachers"]
    for word in options:
        if word not in known:
            raise unknown("option of distill:", word, ("from", *known))
    loaded: dict[str, Fitted] = {}
    teachers: dict[str, list[nn.Module]] = {}
    remarks: list[str] = []
    for task, folders in _by_task(given.get("from"), lesson.tasks, loaded).items():
        for folder in folders:
            who = f"the teacher of {task!r} ({folder})"
            fitted = _load(folder, loaded, who)
            _check_task(fitted, lesson.tasks[task], who)
            remark = _check_rows(fitted, lesson, folder)
            if remark and remark not in remarks:
                remarks.append(remark)
            _check_inputs(fitted, lesson, who)
            same_scale = options.get("form") == "features"
            teachers.setdefault(task, []).append(
                fitted.network
                if same_scale or _scale(fitted.tasks[task]) == _scale(lesson.tasks[task])
                else Rescaled(fitted.network, fitted.tasks[task], lesson.tasks[task])
            )
    return Distillation(teachers, **options), remarks


def described(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a distillation with folders as text, for the card of a model."""

    def plain(source: Any) -> Any:
        if isinstance(source, Mapping):
            return {str(task): plain(folder) for task, folder in source.items()}
        if isinstance(source, list | tuple):
            return [plain(folder) for folder in source]
        return str(source)

    return {**given, "from": plain(given["from"])}


def rows_seen(dataset: Dataset, splits: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Hashes of the inputs of a data set and of the rows in each part of its split.

    Two models with the same hash under "inputs" and "test" were tested on the same rows and trained
    on none of them.
    """
    empty = np.empty(0, np.int64)
    parts = {part: _digest({"rows": np.sort(splits.get(part, empty))}) for part in PARTS}
    return {"inputs": _digest(dataset.inputs), **parts}


class Rescaled(nn.Module):
    """A network whose answers to a regression are put on the scale of another training's target."""

    def __init__(self, network: nn.Module, known: Task, wanted: Task) -> None:
        super().__init__()
        self.network = network
        self.known = known
        self.wanted = wanted

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """The one answer, standardised as the target that is learned here."""
        output = self.network(inputs, tasks=[self.known.name])[self.known.name]
        shape = (1, -1, *[1] * (output.dim() - 2))
        (mean, std), (ours, unit) = (
            [output.new_tensor(value).reshape(-1).view(shape) for value in (task.mean, task.std)]
            for task in (self.known, self.wanted)
        )
        return {self.known.name: (output * std + mean - ours) / unit}


def _by_task(
    source: Any, tasks: Mapping[str, Task], loaded: dict[str, Fitted]
) -> dict[str, list[str]]:
    """The folders that teach each task."""
    if isinstance(source, Mapping):
        for task in source:
            if task not in tasks:
                raise unknown("task in distill:", task, tasks)
        listed = {
            str(task): [str(each) for each in (own if isinstance(own, list | tuple) else [own])]
            for task, own in source.items()
        }
        if listed and all(listed.values()):
            return listed
    elif isinstance(source, str | Path):
        folder = str(source)
        fitted = _load(folder, loaded, f"the teacher ({folder})")
        if both := [task for task in fitted.tasks if task in tasks]:
            return {task: [folder] for task in both}
        raise UserError(
            f"distill: the model in {folder} has learned {some(fitted.tasks, 80)}, none of the "
            f"tasks {some(tasks, 80)}. Give a model of one of these."
        )
    raise UserError(
        "distill: expected from: FOLDER, a model that was saved, or folders by task, as in "
        f"{{from: {{price: models/price}}}}; found {source!r}. Say whom to learn from."
    )


def _load(folder: str, loaded: dict[str, Fitted], who: str) -> Fitted:
    """A saved model, read once however many tasks it teaches."""
    if folder not in loaded:
        try:
            loaded[folder] = Fitted.load(folder)
        except UserError as error:
            raise UserError(f"distill: {who} cannot be read: {error}") from error
    return loaded[folder]


def _check_task(fitted: Fitted, task: Task, who: str) -> None:
    """Raise `UserError` unless a model has learned the task as it is here."""
    if task.name not in fitted.tasks:
        raise unknown(f"distill: task for {who}:", task.name, fitted.tasks)
    known = fitted.tasks[task.name]
    differs = [word for word in ALIKE if getattr(known, word) != getattr(task, word)]
    if differs:
        shown = "; ".join(
            f"{word} {getattr(known, word)!r}, here {getattr(task, word)!r}" for word in differs
        )
        raise UserError(
            f"distill: {who} has learned another task ({shown[:200]}), so its answers mean "
            "something else. Use a teacher of this very task, with the same classes."
        )


def _check_rows(fitted: Fitted, lesson: Lesson, folder: str) -> str:
    """What cannot be shown of a teacher's rows, in words; '' when all is well.

    Raises `UserError` for a teacher of the same data that was split otherwise.
    """
    seen, now = fitted.settings.get("seen", {}), rows_seen(lesson.dataset, lesson.splits)
    if seen.get("inputs") != now["inputs"]:
        return (
            f"it could not be shown that the teacher in {folder} has not seen the rows tested on "
            "here, as it was not trained on this very data set; test scores may be too good."
        )
    if seen["test"] != now["test"]:
        raise UserError(
            f"distill: the teacher in {folder} was trained on the same rows under another split, "
            "so it has seen rows that are tested on here. Train it with the same split, seed, "
            "test_fraction and val_fraction."
        )
    return ""


def _check_inputs(fitted: Fitted, lesson: Lesson, who: str) -> None:
    """Raise `UserError` for a model that reads other inputs, or the same prepared otherwise."""
    theirs, ours = fitted.columns, lesson.dataset.columns
    if any(theirs.get(word) != ours.get(word) for word in READ):
        one, other = (
            {*columns.get("numeric", []), *columns.get("categorical", [])}
            for columns in (theirs, ours)
        )
        lacks = [f"{name!r} is not here" for name in sorted(one - other)]
        lacks += [f"{name!r} is not read by it" for name in sorted(other - one)]
        what = some(lacks, 120) if lacks else "the same names, coded otherwise"
        raise UserError(
            f"distill: {who} reads other input columns: {what}. Train it on the same table, with "
            "the targets that it does not learn under drop."
        )
    theirs, ours = (p.to_dict() for p in (fitted.preprocessor, lesson.preprocessor))
    # As text: not a number is equal to itself there.
    if json.dumps(theirs) != json.dumps(ours):
        raise UserError(
            f"distill: {who} was given inputs that were filled, coded or scaled by other training "
            "rows, so it would misread those of this training. Train it on the same data with the "
            "same split, seed, test_fraction and val_fraction."
        )


def _scale(task: Task) -> tuple[Any, Any]:
    return task.mean, task.std


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """32 hexadecimal digits of names, types, shapes and values."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name} {array.dtype} {array.shape};".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:32]
