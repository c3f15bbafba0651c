"""Distillation in a study: networks that learn from the study's own single-task networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from polytask.errors import UserError
from polytask.report.words import listing
from polytask.study.folder import read_json
from polytask.training import Distillation
from polytask.training._weights import put
from polytask.training.run_folder import RunFolder

if TYPE_CHECKING:
    from polytask.study.plan import Outcomes, Plan
    from polytask.study.unit import EncoderMaker, Prepared


def distillation(
    config: Mapping[str, Any],
    prepared: Prepared,
    make_encoder: EncoderMaker | None = None,
    runs: Path | None = None,
) -> Distillation | None:
    """What a run's configuration has its network taught; None when nothing is.

    Args:
        config: of the run; "distill" holds "options" of a `Distillation`, the "network" of the
            teachers, their "tasks", and "teachers", the run of each task: name and hash.
        prepared: the run's data.
        make_encoder: of a study whose encoder is an object.
        runs: the folder of all runs. Without it the teachers have their first weights, which
            cost what trained ones do: for probes and rehearsals.

    Raises:
        UserError: no teacher, or one whose run in the folder is not the one of the configuration.
    """
    how = config.get("distill")
    if how is None:
        return None
    taught = how["tasks"] if runs is None else how["teachers"]
    if not taught:
        raise UserError(
            "there is no teacher to learn from: the separate networks of all tasks failed. See "
            "their error.json; other learning rates may help."
        )
    return Distillation(
        {task: _teacher(config, prepared, make_encoder, runs, task) for task in taught},
        **how["options"],
    )


def _teacher(
    config: Mapping[str, Any],
    prepared: Prepared,
    make_encoder: EncoderMaker | None,
    runs: Path | None,
    task: str,
) -> nn.Module:
    """The single-task network of a task, with the weights of its run."""
    from polytask.study.unit import build

    alone = {task: replace(prepared.tasks[task], role="main", reverse=0.0)}
    own = {**config, **config["distill"]["network"], "tasks": [task]}
    network = build(own, replace(prepared, tasks=alone), make_encoder)
    if runs is not None:
        run = config["distill"]["teachers"][task]
        folder = runs / run["run"]
        if (read_json(folder / "unit.json") or {}).get("hash") != run["hash"]:
            raise UserError(
                f"the teacher of {task!r} should be in {folder}, and what is there is another run. "
                "Start the same command again."
            )
        put(network, RunFolder(folder).load("best"), folder)
    return network


def distilled_remarks(plan: Plan, outcomes: Outcomes) -> list[str]:
    """What a reader must know of the distilled networks; nothing where there are none."""
    if not any(contender.distilled for contender in plan.candidates):
        return []
    taught = plan.taught
    said = [
        f"Distilled networks learn from {len(taught)} separate "
        f"{'network' if len(taught) == 1 else 'networks'} of the same seed, which must be trained "
        "first: their cost holds the teachers' answers in every step, not their training."
    ]
    if alone := [task for task in plan.settings.tasks if task not in taught]:
        said.append(f"Nobody teaches {listing(alone)}: distilled networks learn it from labels.")
    for seed in range(plan.settings.seeds):
        teachers = plan.teachers(seed, outcomes)
        failed = [] if teachers is None else [task for task in taught if task not in teachers]
        if failed:
            said.append(
                f"Seed {seed}: the separate network of {listing(failed)} failed, so distilled "
                "networks learned from labels alone there."
            )
    return said
