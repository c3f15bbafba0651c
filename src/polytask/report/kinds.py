"""Which kind of study a `results.json` is of: a comparison, or a selection of helper tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.report.load import load

SELECTION = "auxiliary"


def raw_of(source: Mapping[str, Any] | Path | str) -> Mapping[str, Any]:
    """The content of a `results.json`, given itself, its file or its folder.

    Raises `UserError` when there is none.
    """
    return source if isinstance(source, Mapping) else load(Path(source))


def is_selection(raw: Mapping[str, Any]) -> bool:
    """Whether a selection of helper tasks made it."""
    return raw.get("kind") == SELECTION
