"""A data set on disk: numbers in a safetensors file, everything else in `dataset.json`.

The JSON file names the array file by its content and is written last, so a reader finds the
old data set or the new one, whole, also when a write is cut off. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.errors import UserError, need
from polytask.files import atomic, sha256
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

FORMAT = 1
INDEX = "dataset.json"


def save(dataset: Dataset, folder: Path) -> Path:
    """Write `dataset` into `folder` and return the folder. See `Dataset.save`."""
    # Tasks first: one that cannot be written is refused before anything is.
    tasks = [task.to_dict() for task in dataset.tasks.values()]
    try:
        from safetensors.numpy import save as to_bytes
    except ImportError as error:
        raise need("safetensors", "app", "saving a data set") from error
    content = to_bytes({key: np.ascontiguousarray(a) for key, a in _arrays(dataset).items()})
    file = folder / f"arrays-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    with atomic(file) as stream:
        stream.write(content)
    index = {
        "format": FORMAT,
        "name": dataset.name,
        "arrays": file.name,
        "bytes": len(content),
        "inputs": list(dataset.inputs),
        "tasks": tasks,
        "columns": dataset.columns,
        "notes": dataset.notes,
    }
    with atomic(folder / INDEX) as stream:
        stream.write(json.dumps(index, indent=1, ensure_ascii=False).encode())
    for old in folder.glob("arrays-*.safetensors"):
        if old != file:
            old.unlink(missing_ok=True)
    return folder


def stored(folder: Path) -> bool:
    """Whether a whole, unchanged data set is in a folder."""
    try:
        return _unchanged(folder / str(_index(folder)["arrays"]))
    except (UserError, OSError, KeyError):
        return False


def _unchanged(file: Path) -> bool:
    """Whether an array file has the content that it is named by."""
    return file.stem.endswith(sha256(file)[:16])


def load(folder: Path) -> Dataset:
    """Read the data set in `folder`. See `Dataset.load`."""
    from polytask.data.dataset import Dataset

    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise need("safetensors", "app", "loading a data set") from error
    index = _index(folder)
    file = folder / str(index["arrays"])
    if not file.is_file() or file.stat().st_size != index["bytes"]:
        found = f"{file.stat().st_size} bytes" if file.is_file() else "nothing"
        raise UserError(
            f"the data set in {folder} is damaged: expected {index['bytes']} bytes in "
            f"{file.name}, found {found}. Save it again."
        )
    if not _unchanged(file):
        raise UserError(
            f"{file} is damaged: its content has another hash. Save the data set again."
        )
    try:
        arrays = load_file(file)
    except SafetensorError as error:
        raise UserError(f"{file} is damaged ({error}). Save the data set again.") from error
    tasks = [Task.from_dict(entry) for entry in index["tasks"]]
    fixed = {key.split("/", 1)[1]: a for key, a in arrays.items() if key.startswith("fixed/")}
    return Dataset(
        name=index["name"],
        inputs={key: arrays[f"input/{key}"] for key in index["inputs"]},
        targets={task.name: arrays[f"target/{task.name}"] for task in tasks},
        tasks={task.name: task for task in tasks},
        columns=index["columns"],
        groups=arrays.get("groups"),
        times=arrays.get("times"),
        coordinates=arrays.get("coordinates"),
        stratify_on=arrays.get("stratify_on"),
        fixed_split=fixed or None,
        notes=index["notes"],
    )


def _arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    """Every array of a data set, by its name in the file."""
    arrays = {f"input/{key}": value for key, value in dataset.inputs.items()}
    arrays |= {f"target/{key}": value for key, value in dataset.targets.items()}
    arrays |= {f"fixed/{part}": rows for part, rows in (dataset.fixed_split or {}).items()}
    for key in ("groups", "times", "coordinates", "stratify_on"):
        if (value := getattr(dataset, key)) is not None:
            arrays[key] = value
    return arrays


def _index(folder: Path) -> dict[str, Any]:
    """The parsed `dataset.json`."""
    file = folder / INDEX
    if not file.is_file():
        raise UserError(f"there is no saved data set in {folder}: expected the file {INDEX}.")
    try:
        index: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}). Save the data set again.") from error
    if index.get("format") != FORMAT:
        raise UserError(
            f"{file} has format {index.get('format')!r}; this version reads format {FORMAT}."
        )
    return index
