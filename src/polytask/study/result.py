"""What a study gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.relationships import Affinity


@dataclass
class StudyResult:
    """What a study found and where it is."""

    results: dict[str, Any]
    """The content of `results.json`; of a dry run, its plan."""
    folder: Path
    report: Path | None = None
    """`report.html`; None for a dry run."""
    verdict: str = ""
    """The verdict in words; of a dry run, the plan in words."""
    complete: bool = False
    """Whether every run has finished or failed."""
    affinities: dict[str, Affinity] = field(default_factory=dict)
    """Of `relate`: what each estimator measured, by its name."""

    def __str__(self) -> str:
        return self.verdict
