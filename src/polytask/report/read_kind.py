"""Reading the `results.json` of a study that is no comparison: what all of these have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.errors import UserError
from polytask.report.kinds import KINDS, raw_of
from polytask.report.load import locate
from polytask.report.results import SCHEMA, Results, mapping


def read_kind(
    source: Mapping[str, Any] | Path | str, kind: str, required: Mapping[str, type]
) -> Results:
    """Check the results of a study of this kind: a dict, a `results.json` or its folder.

    Args:
        source: what to read.
        kind: one of `polytask.report.kinds.KINDS`.
        required: keys that must be there, with the type of what they hold; "tasks" always is.

    Raises:
        UserError: another kind or schema, or results that lack a key.
    """
    raw = raw_of(source)
    what = KINDS[kind]
    if raw.get("kind") != kind or raw.get("schema") != SCHEMA:
        raise UserError(
            f"expected {what} of schema {SCHEMA}, found kind {raw.get('kind')!r} of schema "
            f"{raw.get('schema')!r}; give the results.json that `polytask {kind}` writes."
        )
    wanted = {"tasks": Mapping, **required}
    absent = [key for key, held in wanted.items() if not isinstance(raw.get(key), held)]
    if absent:
        raise lacking(kind, absent)
    return Results(
        raw=raw,
        tasks={str(name): mapping(task) for name, task in raw["tasks"].items()},
        candidates=(),
        seeds=tuple(raw.get("seeds") or ()),
        file=None if isinstance(source, Mapping) else locate(Path(source)),
    )


def lacking(kind: str, absent: list[str]) -> UserError:
    """The error for results of a kind without something that they must hold."""
    return UserError(
        f"expected {KINDS[kind]}, found no {' and no '.join(map(repr, absent))} in its results; "
        f"run the same `polytask {kind}` again, which writes them anew."
    )
