"""Affinities as JSON, in the result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from polytask.relationships import Affinity


def to_json(table: Affinity) -> dict[str, Any]:
    """Names, numbers (None where undefined), their errors, and how they were measured."""
    errors = table.standard_errors
    return {
        "tasks": list(table.tasks),
        "values": _rows(table.values),
        "standard_errors": None if errors is None else _rows(errors),
        "measured": table.measured,
    }


def from_json(content: Mapping[str, Any]) -> Affinity:
    """What `to_json` wrote."""
    return Affinity(**content)


def _rows(values: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]
