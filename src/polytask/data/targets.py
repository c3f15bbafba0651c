"""Target columns of a table: what was asked for, what was found, and the encoded labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._content import content
from polytask.data._encode import described, encode_columns, encode_target, label_sets
from polytask.data._labels import constant, label, label_text, unlabelled
from polytask.data.dataset import MISSING_CODE
from polytask.data.infer import MANY_INTEGERS, infer_kind
from polytask.errors import UserError, some, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("regression", "binary", "multiclass", "multilabel")
MEANT = {
    "classification": "binary or multiclass",
    "categorical": "multiclass",
    "category": "multiclass",
    "ordinal": "multiclass or regression",
    "bool": "binary",
    "boolean": "binary",
    "numeric": "regression",
    "number": "regression",
    "float": "regression",
    "continuous": "regression",
    "count": "regression",
    "tags": "multilabel",
    "multi-label": "multilabel",
}
"""What other libraries call a kind of target."""
ROLES = ("main", "auxiliary")
TargetSpec = str | Task
Targets = Sequence[TargetSpec] | Mapping[str, TargetSpec | Mapping[str, str] | None] | str


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One target as asked for."""

    name: str
    kind: str | None = None
    task: Task | None = None
    role: str = "main"

    def reads(self, names: Sequence[str]) -> list[str]:
        """The columns it takes: its own, or for a multilabel task one column per label."""
        classes = [str(c) for c in self.task.classes] if self.task else []
        several = self.task is not None and self.task.kind == "multilabel"
        return classes if several and self.name not in names else [self.name]


def parse_targets(
    targets: Targets, names: Sequence[str], what: str = "target column"
) -> list[Wanted]:
    """What `targets` asks for, checked against the column names.

    Accepts `"price:regression"` or `"price"` (the kind is inferred), with a role behind it as in
    `"price:regression:auxiliary"` or `"price:auxiliary"`, a `Task`, or a mapping from name to a
    kind, `{"kind": ..., "role": ...}`, a `Task` or None. `what` says in errors what names are.

    Raises:
        UserError: no target; a column, kind or role that does not exist; a target named twice.
    """
    if isinstance(targets, str | Task):
        targets = [targets]
    if not isinstance(targets, Iterable):
        raise UserError(
            f"targets should be a list such as ['price:regression', 'sold'], found {targets!r}."
        )
    if isinstance(targets, Mapping):
        wanted = [_from_pair(name, spec) for name, spec in targets.items()]
    else:
        wanted = [_from_item(spec, names) for spec in targets]
    if not wanted:
        raise UserError("no targets were given; expected at least one, such as price:regression.")
    seen: set[str] = set()
    for item in wanted:
        if item.name in seen:
            raise UserError(
                f"the target {item.name!r} was given twice; expected every column once. Leave one "
                "out."
            )
        seen.add(item.name)
        for column in item.reads(names):
            if column not in names:
                raise _no_column(what, column, names)
        if item.kind is not None and item.kind not in KINDS:
            raise _no_kind(item.name, item.kind)
        if item.role not in ROLES:
            raise unknown(f"role of target {item.name!r}:", item.role, ROLES)
    return wanted


def _no_column(what: str, column: str, names: Sequence[str]) -> UserError:
    """The error for a name that is not there; names that are numbers betray a missing header."""
    numbers = [name for name in names if re.fullmatch(r"-?\d+\.\d+", str(name))]
    if 2 * len(numbers) > len(names):
        return UserError(
            f"there is no column {column!r} among {some(names, 100)}; expected names, and these "
            "look like the first row. Is the header missing?"
        )
    return unknown(what, column, names)


def _no_kind(name: str, kind: str) -> UserError:
    meant = MEANT.get(str(kind).lower())
    if meant is None:
        return unknown(f"target kind of {name!r}:", kind, [*KINDS, *ROLES])
    return UserError(
        f"unknown target kind of {name!r}: {kind!r}; it is {meant} here, as in "
        f"{name}:{meant.split()[-1]}. Known: {', '.join(sorted(KINDS))}."
    )


def _from_pair(name: str, spec: TargetSpec | Mapping[str, str] | None) -> Wanted:
    if isinstance(spec, Task):
        if spec.name != name:
            raise UserError(
                f"the task of target {name!r} is called {spec.name!r}; expected one name for both. "
                "Rename the task."
            )
        return Wanted(name, task=spec)
    if isinstance(spec, Mapping):
        for word in spec:
            if word not in ("kind", "role"):
                raise unknown(f"word for target {name!r}:", word, ("kind", "role"))
        return Wanted(name, kind=spec.get("kind"), role=spec.get("role") or "main")
    if spec is None:
        return Wanted(name)
    head, colon, role = str(spec).partition(":")
    if head in ROLES and not colon:
        return Wanted(name, role=head)
    return Wanted(name, kind=head, role=role if colon else "main")


def _from_item(spec: TargetSpec, names: Sequence[str]) -> Wanted:
    if isinstance(spec, Task):
        return Wanted(spec.name, task=spec)
    parts = str(spec).split(":")
    # The longest beginning that is a column: a column's name may hold colons.
    known = [n for n in range(len(parts), 0, -1) if ":".join(parts[:n]) in names]
    end = known[0] if known else len(parts)
    while not known and end > 1 and parts[end - 1] in (*KINDS, *ROLES):
        end -= 1
    if not known and end == len(parts) > 1:
        end -= 1  # a name and a kind that are both misspelt
    name, words = ":".join(parts[:end]), parts[end:]
    if len(words) > 2:
        raise UserError(
            f"target {str(spec)!r} has {len(words)} words behind the column {name!r}; expected "
            "COLUMN, COLUMN:KIND or COLUMN:KIND:ROLE."
        )
    if len(words) == 1 and words[0] in ROLES:
        return Wanted(name, role=words[0])
    kind, role = [*words, None, None][:2]
    return Wanted(name, kind, role=role or "main")


def read_target(frame: pd.DataFrame, wanted: Wanted, notes: list[str]) -> tuple[Task, np.ndarray]:
    """The task and its encoded labels; what was decided is added to `notes`.

    Raises:
        UserError: the column is all missing, constant, or not of the kind asked for.
    """
    name = wanted.name
    if wanted.task is not None and wanted.task.kind == "multilabel" and name not in frame:
        matrix = encode_columns(frame, wanted.task)
        return wanted.task, _noted(wanted.task, matrix, "asked for", notes)
    series = frame[name].rename(name)
    if wanted.task is not None:
        task, reason = wanted.task, "asked for"
    elif wanted.kind is not None:
        task, reason = _task(series, wanted.kind), "asked for"
    else:
        guess = infer_kind(series)
        task, reason = _task(series, guess.kind), guess.reason
        if guess.ambiguous:
            other = "multiclass" if guess.kind == "regression" else "regression"
            reason += f"; a guess: write {name}:{other} if it is not"
    if wanted.role != "main":
        task = dataclasses.replace(task, role="auxiliary")
        reason += "; auxiliary: trains along, is not judged"
    return task, _noted(task, encode_target(series, task, notes), reason, notes)


def check_labels(task: Task, encoded: np.ndarray) -> None:
    """Raise `UserError` when there is nothing to learn: no labels, or all of them the same."""
    if np.issubdtype(encoded.dtype, np.integer):
        present = encoded[encoded != MISSING_CODE]
    else:
        present = encoded[~np.isnan(encoded)]
    if len(present) == 0:
        raise unlabelled(task.name, len(encoded))
    if task.kind != "multilabel" and present.min() == present.max():
        value = present.flat[0]
        shown = task.classes[int(value)] if task.kind in ("binary", "multiclass") else value
        raise constant(task.name, label_text(shown))


def _noted(task: Task, encoded: np.ndarray, reason: str, notes: list[str]) -> np.ndarray:
    check_labels(task, encoded)
    integer = np.issubdtype(encoded.dtype, np.integer)
    present = encoded != MISSING_CODE if integer else ~np.isnan(encoded)
    rows = int(present.reshape(len(present), -1).any(axis=1).sum())
    kind = f"{task.kind} with {len(task.classes)} classes" if len(task.classes) > 2 else task.kind
    labelled = "" if rows == len(encoded) else f"; {rows} of {len(encoded)} rows labelled"
    notes.append(f"target {task.name}: {kind} ({reason}){labelled}")
    if task.kind in ("binary", "multiclass"):
        counts = np.bincount(encoded[present], minlength=len(task.classes))
        rare = [f"{label_text(task.classes[i])!r}" for i in np.flatnonzero(counts < 3)]
        if rare:
            notes.append(f"target {task.name}: fewer than 3 rows have {', '.join(rare[:5])}")
    return encoded


def _task(series: pd.Series, kind: str) -> Task:
    """A task of `kind` with the classes found in the column."""
    built: dict[str, Any] = {"name": series.name, "kind": kind, "classes": _classes(series, kind)}
    return Task(**built)


def _classes(series: pd.Series, kind: str) -> tuple[Any, ...]:
    """Class labels in code order: sorted, numbers as numbers."""
    if kind == "regression":
        return ()
    name = series.name
    found = content(series)
    if found.what in ("nested", "date") and kind != "multilabel":
        raise UserError(
            f"target {name!r} holds {described(found, series)}; expected labels for a {kind} task. "
            "Name another column, or turn it into classes."
        )
    if kind == "multilabel":
        found_labels = {part for parts in label_sets(series).dropna() for part in parts}
        if not found_labels:
            raise unlabelled(name, len(series))
        return tuple(sorted(found_labels))
    # Blank text is missing in any column; infinite numbers are not classes.
    values = [value for value in series.dropna().unique() if label_text(value).strip()]
    labels = {label_text(value): label(value) for value in values}
    labels.pop(str(MISSING_CODE), None)
    if any(isinstance(v, float) for v in labels.values()) and found.what != "mixed":
        fractions = [v for v in labels.values() if isinstance(v, float)]
        if len(labels) > MANY_INTEGERS or not np.isfinite(fractions).all():
            raise UserError(
                f"target {name!r} holds numbers with fractions ({len(labels)} distinct values); "
                f"expected class labels for a {kind} task. Ask for {name}:regression, or make "
                "classes of ranges."
            )
    if kind == "binary" and len(labels) > 2:
        shown = some((repr(text) for text in sorted(labels)), 60)
        numbers = all(isinstance(value, int | float) for value in labels.values())
        raise UserError(
            f"target {name!r} has {len(labels)} different labels ({shown}); expected 2 for a "
            f"binary task. Ask for {name}:multiclass{f' or {name}:regression' * numbers}."
        )
    if len(labels) == series.notna().sum() > MANY_INTEGERS:
        raise UserError(
            f"target {name!r} has a different label in each of {len(labels)} rows; expected "
            f"classes that repeat for a {kind} task. If it is an identifier, drop it."
        )
    if len(labels) == 1:
        raise constant(name, next(iter(labels)))
    if not labels:
        raise unlabelled(name, len(series))
    numeric = all(isinstance(value, int | float) for value in labels.values())
    return tuple(sorted(labels.values(), key=None if numeric else str))
