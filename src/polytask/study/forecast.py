"""What a study would take, from its cost probes: runs, minutes, disk."""

from __future__ import annotations

from collections.abc import Mapping
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
        row: dict[str, Any] = {"id": contender.id, "runs": each}
        if "error" in found:
            row["error"] = found["error"]
        elif found:
            per_run = _run_seconds(found, s.epochs)
            seconds += each * per_run
            disk += each * (CHECKPOINTS * 4 * found["parameters"] + BYTES_OF_FILES)
            row |= {
                "run_seconds": per_run,
                "step_seconds": found["step_seconds"],
                "relative": plan.relative_cost(contender, outcomes),
                "parameters": found["parameters"],
                "peak_memory_mb": found["peak_memory_mb"],
            }
        rows.append(row)
    boosting = plan.boosting()
    seconds += sum(_boosting_seconds(dataset, unit.config["tasks"][0]) for unit in boosting)
    disk += BYTES_OF_FILES * len(boosting)
    wall = START + seconds / workers
    failed = [row["id"] for row in rows if "error" in row]
    sentence = (
        f"{plan.total} runs ({len(plan.contenders)} networks x {each}"
        f"{f', {len(boosting)} of gradient boosting' if boosting else ''}), about "
        f"{duration(wall)} with {workers} at once, about {fixed(disk / 1e6, 0)} MB on disk. "
        "Nothing has been trained."
    )
    if failed:
        sentence += f" The probe failed for {', '.join(failed)}."
    return {
        "runs": plan.total,
        "networks": rows,
        "boosting_runs": len(boosting),
        "workers": workers,
        "minutes": wall / 60,
        "disk_mb": disk / 1e6,
        "sentence": sentence,
    }


def _run_seconds(probe: Mapping[str, Any], epochs: int) -> float:
    """Training and validation of all epochs, and the judgement on test."""
    steps = probe["steps_per_epoch"] * probe["step_seconds"]
    return float(OVERHEAD + epochs * (steps + probe["evaluation_seconds"]))


def _boosting_seconds(dataset: Dataset, task: str) -> float:
    columns = sum(value[0].size for value in dataset.inputs.values())
    models = dataset.tasks[task].output_size
    return max(0.3, BOOSTING * dataset.n * columns * TREES * models)
