"""What a study would take, from its cost probes: runs, minutes, disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from polytask.report.numbers import duration, fixed
from polytask.study.boosting import TREES
from polytask.study.folder import Outcome
from polytask.study.plan import Plan

if TYPE_CHECKING:
    from polytask.data import Dataset

OVERHEAD = 0.5
"""Seconds a run takes besides its epochs: its process, its data, its files."""
START = 6.0
"""Seconds until the first run starts: the imports."""
BOOSTING = 1.5e-8
"""Seconds a row, column and tree; rough, and the only figure here that is not measured."""
BYTES_OF_FILES = 60_000
CHECKPOINTS = 2


def forecast(
    plan: Plan,
    dataset: Dataset,
    outcomes: Mapping[str, Outcome],
    workers: int,
    data_bytes: int,
) -> dict[str, Any]:
    """The plan of a dry run: counts of runs, expected minutes and megabytes, cost per network."""
    s = plan.settings
    each = len(s.lr) + s.seeds - 1
    seconds, disk, rows = 0.0, float(data_bytes), []
    for contender in plan.contenders:
        found = outcomes.get(plan.probe(contender).hash, {})
        relative = plan.relative_cost(contender, outcomes)
        row = network(contender.id, each, found, s.epochs, relative=relative)
        if "run_seconds" in row:
            seconds += each * row["run_seconds"]
            disk += each * (CHECKPOINTS * 4 * found["parameters"] + BYTES_OF_FILES)
        rows.append(row)
    boosting = plan.boosting()
    seconds += sum(_boosting_seconds(dataset, unit.config["tasks"][0]) for unit in boosting)
    disk += BYTES_OF_FILES * len(boosting)
    wall = START + seconds / workers
    sentence = (
        f"{plan.total} runs ({len(plan.contenders)} networks x {each}"
        f"{f', {len(boosting)} of gradient boosting' if boosting else ''}), about "
        f"{duration(wall)} with {workers} at once, about {fixed(disk / 1e6, 0)} MB on disk. "
        f"Nothing has been trained.{failures(rows)}"
    )
    return {
        "runs": plan.total,
        "networks": rows,
        "boosting_runs": len(boosting),
        "workers": workers,
        "minutes": wall / 60,
        "disk_mb": disk / 1e6,
        "sentence": sentence,
    }


def network(
    name: str, runs: int, found: Mapping[str, Any], epochs: int, **more: Any
) -> dict[str, Any]:
    """A network of a dry run: how many runs it has, and what its probe `found` of one of them.

    "run_seconds" is training and validation of all epochs, and the judgement on test. `more` is
    told beside the seconds where the probe has not failed.
    """
    row: dict[str, Any] = {"id": name, "runs": runs}
    if "error" in found:
        return row | {"error": found["error"]}
    if not found:
        return row
    steps = found["steps_per_epoch"] * found["step_seconds"]
    return {
        **row,
        "run_seconds": OVERHEAD
        + epochs * found.get("passes", 1.0) * (steps + found["evaluation_seconds"]),
        "step_seconds": found["step_seconds"],
        **more,
        "parameters": found["parameters"],
        "peak_memory_mb": found["peak_memory_mb"],
    }


def longest(rows: Iterable[Mapping[str, Any]]) -> float:
    """Seconds of a run of the slowest network that was probed."""
    return float(max((row["run_seconds"] for row in rows if "run_seconds" in row), default=0.0))


def failures(rows: Iterable[Mapping[str, Any]]) -> str:
    """The end of a dry run's sentence: which networks could not be probed, if any."""
    failed = [row["id"] for row in rows if "error" in row]
    return f" The probe failed for {', '.join(failed)}." if failed else ""


def _boosting_seconds(dataset: Dataset, task: str) -> float:
    columns = sum(value[0].size for value in dataset.inputs.values())
    models = dataset.tasks[task].output_size
    return max(0.3, BOOSTING * dataset.n * columns * TREES * models)
