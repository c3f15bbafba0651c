"""What `compare` gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


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

    def __str__(self) -> str:
        return self.verdict
