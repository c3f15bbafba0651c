"""Which kind of study a `results.json` is of: a comparison, or one of those with their own page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.report.load import load

SELECTION, RELATION, PARETO = "auxiliary", "relate", "pareto"
KINDS = {
    SELECTION: "a selection of helper tasks",
    RELATION: "a study of task relationships",
    PARETO: "a front of trade-offs",
}
"""The "kind" in the file, which is also the verb that makes it, and what that is in words."""


def raw_of(source: Mapping[str, Any] | Path | str) -> Mapping[str, Any]:
    """The content of a `results.json`, given itself, its file or its folder.

    Raises `UserError` when there is none.
    """
    return source if isinstance(source, Mapping) else load(Path(source))


def kind_of(raw: Mapping[str, Any]) -> str:
    """One of `KINDS`, '' for a comparison."""
    kind = raw.get("kind")
    return kind if isinstance(kind, str) and kind in KINDS else ""
