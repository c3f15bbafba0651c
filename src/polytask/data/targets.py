"""Target columns of a table: what was asked for, what was found, and the encoded labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._content import content
from polytask.data._encode import described, encode_columns, encode_target, label_sets
from polytask.data._labels import label, label_text
from polytask.data.dataset import MISSING_CODE
from polytask.data.infer import MANY_INTEGERS, infer_kind
from polytask.errors import UserError, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("regression", "binary", "multiclass", "multilabel")
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
    if isinstance(targets, str):
        targets = [targets]
    if isinstance(targets, Mapping):
        wanted = [_from_pair(name, spec) for name, spec in targets.items()]
    else:
        wanted = [_from_item(spec, names) for spec in targets]
    if not wanted:
        raise UserError("no targets were given; expected at least one, such as price:regression.")
    seen: set[str] = set()
    for item in wanted:
        if item.name in seen:
            raise UserError(f"the target {item.name!r} was given twice.")
        seen.add(item.name)
        if item.kind is not None and item.kind not in KINDS:
            raise unknown(f"target kind of {item.name!r}:", item.kind, [*KINDS, *ROLES])
        if item.role not in ROLES:
            raise unknown(f"role of target {item.name!r}:", item.role, ROLES)
        for column in item.reads(names):
            if column not in names:
                raise unknown(what, column, names)
    return wanted


def _from_pair(name: str, spec: TargetSpec | Mapping[str, str] | None) -> Wanted:
    if isinstance(spec, Task):
        if spec.name != name:
            raise UserError(f"the task of target {name!r} is called {spec.name!r}.")
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
    spec = str(spec)
    if spec in names or ":" not in spec:
        return Wanted(spec)
    name, _, last = spec.rpartition(":")
    if last not in ROLES:
        return Wanted(name, kind=last)
    return dataclasses.replace(_from_item(name, names), role=last)


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
        raise UserError(f"target {task.name!r} has no labels: all values are missing.")
    if task.kind != "multilabel" and present.min() == present.max():
        value = present.flat[0]
        shown = task.classes[int(value)] if task.kind in ("binary", "multiclass") else value
        raise UserError(
            f"target {task.name!r} is constant: every label is {label_text(shown)!r}; "
            f"there is nothing to learn."
        )


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
            f"target {name!r} holds {described(found, series)}; expected labels for a {kind} task."
        )
    if kind == "multilabel":
        return tuple(sorted({part for parts in label_sets(series).dropna() for part in parts}))
    # Blank text is missing in any column; infinite numbers are not classes.
    values = [value for value in series.dropna().unique() if label_text(value).strip()]
    labels = {label_text(value): label(value) for value in values}
    labels.pop(str(MISSING_CODE), None)
    if any(isinstance(v, float) for v in labels.values()) and found.what != "mixed":
        fractions = [v for v in labels.values() if isinstance(v, float)]
        if len(labels) > MANY_INTEGERS or not np.isfinite(fractions).all():
            raise UserError(
                f"target {name!r} holds numbers with fractions ({len(labels)} distinct values); "
                f"expected class labels for a {kind} task."
            )
    if kind == "binary" and len(labels) > 2:
        shown = ", ".join(repr(text) for text in sorted(labels)[:5])
        raise UserError(
            f"target {name!r} has {len(labels)} different labels ({shown}, ...); expected 2 for "
            f"a binary task. Ask for {name}:multiclass or {name}:regression."
        )
    if len(labels) == series.notna().sum() > MANY_INTEGERS:
        raise UserError(
            f"target {name!r} has a different label in each of {len(labels)} rows; expected "
            f"classes that repeat for a {kind} task."
        )
    if len(labels) == 1:
        raise UserError(
            f"target {name!r} is constant: every label is {next(iter(labels))!r}; "
            f"there is nothing to learn."
        )
    if not labels:
        raise UserError(f"target {name!r} has no labels: all {len(series)} values are missing.")
    numeric = all(isinstance(value, int | float) for value in labels.values())
    return tuple(sorted(labels.values(), key=None if numeric else str))
