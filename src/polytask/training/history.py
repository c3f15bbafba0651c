"""What a training run recorded: one flat dictionary per epoch, and what was chosen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polytask.errors import UserError
from polytask.metrics import Undefined

RUN = "run.json"
"""The file that a run folder gets when its training has ended."""


@dataclass
class History:
    """The record of a fit.

    `epochs[i]` holds the flat record of epoch `i + 1` (epochs are counted from 1): `epoch`,
    `step` (optimizer steps so far), `seconds`, `lr`, `skipped` (batches left out),
    `train/<task>/loss`, `val/<task>/<metric>`, `val/<task>/loss`, `weight/<task>` (mean weight),
    `examples/<task>` (labels seen), `paused/<task>` (the share of the batches stepped on that the
    task was paused in; left out for 0), `taking_part/<task>` (with `SelfPaced`: labelled rows with
    a weight above 0) and `select/<rule>` (higher is better; a mean rank is the one of that moment).
    A value is a number or `Undefined`.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    chosen: dict[str, int] = field(default_factory=dict)
    """Checkpoint name ("best", "equal_time", "last") -> the epoch it holds."""
    remarks: list[str] = field(default_factory=list)
    """What was left out of the choice and why; batches skipped; why training ended early; a task
    whose gradient was 100 times another's in the first steps (losses of different units)."""
    stopped_early: bool = False
    taken_up: str = field(default="", compare=False)
    """In words, what of an earlier fit in the same folder was gone on with or taken."""

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the chosen checkpoint; None before the fit has ended."""
        return self.chosen.get("best")

    @property
    def seconds(self) -> float:
        """Wall time of all epochs, validation included."""
        return float(sum(record["seconds"] for record in self.epochs))

    def series(self, key: str) -> list[Any]:
        """The values of one key over the epochs; None where an epoch has none."""
        return [record.get(key) for record in self.epochs]

    def to_jsonl(self) -> str:
        """One line of JSON per epoch; an undefined value is `{"undefined": reason}`."""
        return "".join(
            json.dumps({key: plain(value) for key, value in record.items()}, allow_nan=False) + "\n"
            for record in self.epochs
        )

    @classmethod
    def read(cls, folder: Path | str) -> History:
        """The record of a run folder; without choices while the run has not ended.

        Raises `UserError` when there is no `metrics.jsonl`.
        """
        path = Path(folder) / "metrics.jsonl"
        if not path.exists():
            raise UserError(f"{folder} holds no metrics.jsonl, so it is not a run folder.")
        lines = path.read_text(encoding="utf-8").splitlines()
        epochs = [{k: Undefined.from_dict(v) for k, v in json.loads(x).items()} for x in lines]
        run = read_run(Path(folder))
        if run is None:
            return cls(epochs)
        return cls(epochs, run["chosen"], run["remarks"], run["stopped_early"])


def read_run(folder: Path) -> dict[str, Any] | None:
    """The content of a finished run's `run.json`; None when there is no whole one."""
    try:
        content = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "weights" in content else None


def plain(value: Any) -> Any:
    """A value as JSON can hold it; not-a-number becomes an undefined that says so."""
    if isinstance(value, Undefined):
        return value.to_dict()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return Undefined(f"the value is {value}").to_dict()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
