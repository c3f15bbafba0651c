"""From whatever names the data to a `Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from polytask import registry
from polytask.data import Dataset, load_dataset, read_table, table_dataset
from polytask.data._blocks import spatial_words
from polytask.data.catalog import dataset_card
from polytask.data.targets import parse_targets
from polytask.errors import UserError, nearest, some
from polytask.study.joined import is_joined
from polytask.study.mixing import maps_tasks
from polytask.study.settings import Choice

TABLES = (".csv", ".tsv", ".tab", ".gz", ".parquet", ".pq")


def open_data(
    data: Any,
    *,
    targets: Any = None,
    drop: Iterable[str] = (),
    split: str = "random",
    test: Any = None,
) -> Dataset:
    """The data set that `data` names: a `Dataset`, a DataFrame, a table's file, a registered
    name, `{name: {option: value}}`, or a folder written by `Dataset.save`.

    Raises:
        UserError: nothing of that name; a table without `targets`; options that only tables
            have (`drop`, `test`) with data that is no table.
    """
    if maps_tasks(data):
        raise UserError(
            f"data: expected one data set, found {len(data)} by task ({some(data, 60)}). "
            "polytask.compare (polytask compare, polytask train) takes one for each task."
        )
    dataset = None
    if isinstance(data, Dataset):
        dataset = data
    elif isinstance(data, Choice | Mapping):
        choice = data if isinstance(data, Choice) else _one(data)
        dataset = load_dataset(choice.name, **choice.arguments)
    elif isinstance(data, str) and not _is_file(data) and _registered(data):
        dataset = load_dataset(data)
    elif isinstance(data, str | Path) and (Path(data) / "dataset.json").is_file():
        dataset = Dataset.load(data)
    elif isinstance(data, str | Path) and is_joined(Path(data)):
        raise UserError(
            f"data: {data} holds several data sets of a study, and one was expected; name one of "
            "its folders (0, 1, ...)."
        )
    if dataset is None:
        return _table(data, targets, list(drop), split, test)
    if test is not None or list(drop):
        word = "test" if test is not None else "drop"
        raise UserError(
            f"{word}: only a table (a file or a DataFrame) takes it; {dataset.name!r} is a data "
            "set with its own columns and tasks."
        )
    return keep_tasks(dataset, targets)


def keep_tasks(dataset: Dataset, targets: Any) -> Dataset:
    """The data set with the tasks named in `targets` only, in that order; all when None.

    Each is written as for a table: `"income"`, `"income:binary"`, `"income:auxiliary"`.
    Raises `UserError` for an unknown task and for a kind that the task does not have.
    """
    if targets is None:
        return dataset
    wanted = parse_targets(targets, list(dataset.tasks), f"task of {dataset.name}:")
    tasks = {}
    for item in wanted:
        task = dataset.tasks[item.name]
        if item.task is not None and item.task != task:
            raise UserError(
                f"targets: {item.name} of {dataset.name} has its own description; name it as text."
            )
        if item.kind not in (None, task.kind):
            raise UserError(
                f"targets: {item.name} of {dataset.name} is {task.kind}, found {item.kind!r}; "
                f"write {item.name} alone."
            )
        tasks[item.name] = task if item.role == "main" else replace(task, role="auxiliary")
    return replace(dataset, targets={name: dataset.targets[name] for name in tasks}, tasks=tasks)


def card_of(data: Any) -> dict[str, Any]:
    """The data card when `data` is a registered name, else {}."""
    if maps_tasks(data):
        return {}
    if isinstance(data, Mapping):
        data = _one(data)
    name = data.name if isinstance(data, Choice) else data
    if isinstance(name, str) and not _is_file(name) and _registered(name):
        return dataset_card(name)
    return {}


def _table(data: Any, targets: Any, drop: list[str], split: str, test: Any) -> Dataset:
    """A data set from a table's file or frame."""
    from polytask.data import with_test_file

    frame, name = _frame(data)
    if targets is None:
        columns = ", ".join(map(str, list(frame.columns)[:20]))
        raise UserError(
            f"targets: which columns of {name} are to be predicted? Name them, as in "
            f"targets=['price:regression', 'sold:binary']; the columns are {columns}."
        )
    kind, _, column = split.partition(":")
    aside: dict[str, Any] = {kind: column} if kind in ("group", "time") and column else {}
    if kind == "spatial":
        aside = {"coordinates": spatial_words(split)[0]}
    if test is None:
        return table_dataset(frame, targets, drop=drop, name=name, **aside)
    return with_test_file(frame, _frame(test)[0], targets, drop=drop, name=name, **aside)


def _frame(data: Any) -> tuple[Any, str]:
    """A DataFrame and what to call it."""
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        if not path.exists() and path.suffix.lower() not in TABLES:
            known = registry.names("dataset")
            close = nearest(str(data), known)
            hint = f"; did you mean {close!r}?" if close else "."
            raise UserError(
                f"data: no data set and no file is called {str(data)!r}{hint} "
                f"Data sets: {', '.join(known)}."
            )
        return read_table(path), path.stem
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return data, "table"
    raise UserError(
        "data: expected a table's file, a DataFrame, a Dataset or a data set's name, "
        f"found {type(data).__name__}."
    )


def _one(data: Mapping[str, Any]) -> Choice:
    if len(data) != 1:
        raise UserError(f"data: expected one name with its options, found {dict(data)!r}.")
    name, options = next(iter(data.items()))
    entry = registry.find("dataset", str(name))
    registry.check_arguments("dataset", entry, dict(options or {}))
    return Choice(entry.name, dict(options or {}))


def _is_file(name: str) -> bool:
    return Path(name).suffix.lower() in TABLES or Path(name).is_dir()


def _registered(name: str) -> bool:
    return registry.squash(name) in map(registry.squash, registry.names("dataset"))
