"""What a study leaves on disk, and reading back what finished.

    OUT/study.yaml         the resolved settings, as arguments of `compare`
    OUT/data/              the data set, written once and loaded by every run
    OUT/runs/ID/unit.json  one run's configuration and hash
    OUT/runs/ID/result.json  present, with the same hash = this run is finished
    OUT/runs/ID/error.json   present, with the same hash = this run failed, and why
    OUT/results.json       the analysis; OUT/report.html the report

Every file is written atomically, so a reader, or a crash, sees the old one or the new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polytask.files import write_text

Outcome = dict[str, Any]
"""The content of a `result.json`, or of an `error.json` (which has the key "error")."""


def write_json(path: Path, content: Any) -> None:
    """Atomic JSON; NaN and infinity are refused: they are undefined values in disguise."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None when it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def run_folder(out: Path, unit_id: str) -> Path:
    """The folder of one run."""
    return out / "runs" / unit_id


def outcome(folder: Path, unit_hash: str) -> Outcome | None:
    """How the run with this hash ended in this folder; None when it has not."""
    for name in ("result.json", "error.json"):
        content = read_json(folder / name)
        if isinstance(content, dict) and content.get("hash") == unit_hash:
            return content
    return None


def outcomes(out: Path) -> dict[str, Outcome]:
    """All ended runs of a study folder, by the hash of their configuration."""
    found: dict[str, Outcome] = {}
    for file in sorted((out / "runs").glob("*/unit.json")):
        unit = read_json(file)
        if isinstance(unit, dict) and (ended := outcome(file.parent, unit.get("hash", ""))):
            found[unit["hash"]] = ended
    return found


def finished(out: Path) -> dict[str, Outcome]:
    """The finished runs in a folder, by hash.

    A failed one is not among them and is tried again: its cause may have been the machine's.
    """
    return {h: ended for h, ended in outcomes(out).items() if "error" not in ended}


def number(value: Any) -> float | None:
    """A score as a number, or None when it is undefined or absent."""
    return None if value is None or isinstance(value, dict) else float(value)
