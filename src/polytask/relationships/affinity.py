"""How much training with one task helps another: one table, however it was measured."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polytask.errors import UserError, count, need, some, unknown
from polytask.files import write_text

if TYPE_CHECKING:
    import pandas

Array = NDArray[np.float64]
PARTS = ("tasks", "values", "standard_errors", "measured", "cost")
"""What a table is made of, and what its file holds."""


@dataclass(frozen=True, eq=False)
class Affinity:
    """Affinities of all pairs of T tasks; larger is better, NaN is a pair that was not measured.

    `affinity[scored][companion]` tells how much training with the companion helps the scored task.
    The table need not be symmetric. What a number means depends on how it was measured (a relative
    gain of the loss, a cosine, a score of transfer): compare numbers of one table only.

    Args:
        tasks: their names, all different.
        values: [T, T]; rows are the scored tasks, columns the companions. The diagonal, a task
            with itself, is kept and not used for grouping.
        standard_errors: [T, T], not negative, NaN where unknown; None for none at all.
        measured: how, in words.
        cost: of measuring, a number (say, in ordinary training runs) or words; None is unknown.

    Raises:
        UserError: names that repeat, a table of another shape, an infinite value, a negative error.
    """

    tasks: tuple[str, ...]
    values: Array
    standard_errors: Array | None = None
    measured: str = ""
    cost: float | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", _names(self.tasks))
        object.__setattr__(self, "values", _table("values", self.values, len(self.tasks)))
        if self.standard_errors is not None:
            errors = _table("standard_errors", self.standard_errors, len(self.tasks))
            if (errors < 0).any():
                raise UserError(
                    f"affinity: expected standard errors of at least 0, found {np.nanmin(errors)}."
                )
            object.__setattr__(self, "standard_errors", errors)

    def __getitem__(self, scored: str) -> dict[str, float]:
        """What every companion does for one task, by name; its own entry too."""
        if scored not in self.tasks:
            raise unknown("task", scored, self.tasks)
        row = self.values[self.tasks.index(scored)]
        return dict(zip(self.tasks, row.tolist(), strict=True))

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Mapping[str, float | None]],
        *,
        measured: str = "",
        cost: float | str | None = None,
    ) -> Affinity:
        """From `{scored: {companion: value}}`; a pair that is absent or None was not measured.

        Raises:
            UserError: a companion that is not a scored task, or a value that is no number.
        """
        tasks = _names(mapping)
        values = np.full((len(tasks), len(tasks)), np.nan)
        for i, scored in enumerate(tasks):
            row = mapping[scored]
            if not isinstance(row, Mapping):
                raise UserError(
                    f"affinity of {scored!r}: expected a mapping from companions to numbers, "
                    f"found {row!r}."
                )
            for companion, value in row.items():
                if companion not in tasks:
                    raise unknown(f"companion of task {scored!r}:", companion, tasks)
                if value is not None:
                    values[i, tasks.index(companion)] = _number(scored, companion, value)
        return cls(tasks, values, measured=measured, cost=cost)

    @classmethod
    def from_frame(
        cls, frame: pandas.DataFrame, *, measured: str = "", cost: float | str | None = None
    ) -> Affinity:
        """From a DataFrame whose rows are the scored tasks and whose columns the companions.

        Raises:
            UserError: rows and columns with different names, or a value that is no number.
        """
        tasks = _names(frame.index)
        companions = _names(frame.columns)
        if set(tasks) != set(companions):
            raise UserError(
                "affinity: expected the same tasks in rows and columns, found rows "
                f"{some(tasks)} and columns {some(companions)}."
            )
        ordered = frame.loc[list(tasks), list(tasks)]
        try:
            values = ordered.to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise UserError(f"affinity: expected a table of numbers; {error}.") from error
        return cls(tasks, values, measured=measured, cost=cost)

    def to_frame(self) -> pandas.DataFrame:
        """A DataFrame, scored tasks in rows and companions in columns.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise need("pandas", "app", "a DataFrame of affinities") from error
        names = list(self.tasks)
        return pd.DataFrame(
            self.values.copy(),
            index=pd.Index(names, name="scored"),
            columns=pd.Index(names, name="companion"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and words, fit for JSON: None where nothing was measured."""
        errors = self.standard_errors
        return {
            "tasks": list(self.tasks),
            "values": _lists(self.values),
            "standard_errors": None if errors is None else _lists(errors),
            "measured": self.measured,
            "cost": self.cost,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Affinity:
        """What `to_dict` made, with the very same numbers; all but tasks and values may be absent.

        Raises:
            UserError: another content.
        """
        try:
            parts = {name: content[name] for name in ("tasks", "values")}
        except (KeyError, TypeError) as error:
            raise UserError(
                f"affinity: expected a mapping that Affinity.to_dict made, found something else "
                f"({type(error).__name__}: {error})."
            ) from error
        return cls(**parts, **{name: content[name] for name in PARTS[2:] if name in content})

    def save(self, path: str | Path) -> None:
        """Write JSON, whole or not at all; `load` reads the very same numbers."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_text(Path(path), text + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Affinity:
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or another content.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            whole = {name: content[name] for name in PARTS}
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: expected a file that Affinity.save wrote, found something else "
                f"({type(error).__name__}: {error})."
            ) from error
        return cls.from_dict(whole)


def as_affinity(given: Any) -> Affinity:
    """An `Affinity` from one, from `{scored: {companion: value}}` or from a DataFrame."""
    if isinstance(given, Affinity):
        return given
    if isinstance(given, Mapping):
        return Affinity.from_mapping(given)
    if hasattr(given, "columns") and hasattr(given, "index"):
        return Affinity.from_frame(given)
    raise UserError(
        "affinity: expected an Affinity, a mapping {scored: {companion: value}} or a DataFrame, "
        f"found {type(given).__name__}. For an array, use Affinity(tasks, values)."
    )


def _names(given: Iterable[Any]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise UserError(f"affinity: expected a list of task names, found the text {given!r}.")
    names = tuple(given)
    odd = [name for name in names if not isinstance(name, str) or not name]
    if odd:
        raise UserError(f"affinity: expected names of tasks (text), found {odd[0]!r}.")
    if not names:
        raise UserError("affinity: expected at least one task, found none.")
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise UserError(f"affinity: each task may be there once, found {some(twice)} again.")
    return names


def _table(what: str, given: Any, size: int) -> Array:
    """A read-only table [T, T] without infinities."""
    try:
        table = np.array(given, dtype=np.float64)  # None becomes NaN
    except (TypeError, ValueError) as error:
        raise UserError(f"affinity: expected {what} to be a table of numbers; {error}.") from error
    if table.shape != (size, size):
        raise UserError(
            f"affinity: expected {what} of shape [{size}, {size}] for {count(size, 'task')}, "
            f"found {list(table.shape)}."
        )
    if np.isinf(table).any():
        raise UserError(f"affinity: expected finite {what}, or NaN where not measured; found inf.")
    table.flags.writeable = False
    return table


def _number(scored: str, companion: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"affinity of {scored!r} with {companion!r}: expected a number, found {value!r}."
        ) from None


def _lists(table: Array) -> list[list[float | None]]:
    return [[None if math.isnan(v) else v for v in row] for row in table.tolist()]
