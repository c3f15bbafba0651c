"""From a path to the JSON of a study; what is no study is named for what it is, with the way on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.errors import UserError, nearest

FILE = "results.json"
_MOST = 6  # studies named in a hint


def locate(path: Path) -> Path:
    """The `results.json` meant by a file or a study's folder, whether or not it is there."""
    return path / FILE if path.is_dir() else path


def load(path: Path) -> Mapping[str, Any]:
    """The content of a `results.json`, given itself or its folder.

    Raises:
        UserError: there is none, or it is no JSON object; the message says what was found.
    """
    file = locate(path)
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(_instead(path, file)) from None
    except OSError as cause:
        raise UserError(
            f"cannot read {str(file)!r}: {cause.strerror or cause}; "
            "check the path and its permissions."
        ) from None
    except (ValueError, RecursionError) as cause:
        raise UserError(
            f"expected JSON in {str(file)!r}, found a file that cannot be read ({cause}); "
            "run the same command again, which writes it anew from the finished runs."
        ) from None
    if not isinstance(raw, Mapping):
        raise UserError(
            f"expected a JSON object in {str(file)!r}, found a {type(raw).__name__}; "
            "give the results.json that `polytask compare` writes."
        )
    return raw


def _instead(path: Path, file: Path) -> str:
    """What a path without results is, and what to do about it."""
    if not path.is_dir():
        beside = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        hint = f"; did you mean {str(path.with_name(close))!r}?" if close else ""
        return (
            f"expected the results of a study at {str(path)!r}, found no such file"
            f"{hint or '; run `polytask compare` first.'}"
        )
    if (path / "unit.json").exists():
        return (
            f"expected a study, found one of its runs in {str(path)!r}; give the study's folder: "
            f"polytask report {shlex.quote(str(path.parent.parent))}"
        )
    if (path / "polytask.json").exists() or (path / "metrics.jsonl").exists():
        return (
            f"expected a study, found a trained model in {str(path)!r}: one training has no other "
            "to be judged against. `polytask compare` makes a study; the course of this training "
            "is in its metrics.jsonl."
        )
    if (path / "study.yaml").exists():
        again = f"{_verb(path / 'study.yaml')} {shlex.quote(str(path / 'study.yaml'))}"
        return (
            f"the study in {str(path)!r} has no results yet; `polytask {again}` goes on with it "
            "and keeps what is finished."
        )
    inside = sorted(found.parent for found in path.glob(f"*/{FILE}"))
    if inside:
        named = " ".join(shlex.quote(str(folder)) for folder in inside[:_MOST])
        more = " ..." if len(inside) > _MOST else ""
        return (
            f"{str(path)!r} is no study, but holds {len(inside)}; "
            f"name them: polytask report {named}{more}"
        )
    return (
        f"expected the results of a study, found no {file.name} in {str(path)!r}; "
        "run `polytask compare` first."
    )


def _verb(settings: Path) -> str:
    """The verb whose settings a `study.yaml` holds: each has a word that the others lack."""
    lines = settings.read_text(encoding="utf-8").splitlines()
    words = {line.partition(":")[0] for line in lines}
    telling = {"max_groups": "relate", "main": "auxiliary", "points": "pareto"}
    return next((verb for word, verb in telling.items() if word in words), "compare")
