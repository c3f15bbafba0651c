"""Networks of single tasks on real digits, trained as a study trains them, and what reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from polytask.data import Dataset
from polytask.data.sets.digits import digits
from polytask.study.folder import Outcome
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator
from polytask.study.relations.plan import RelationPlan
from polytask.study.relations.settings import Relation
from polytask.study.settings import Choice, Settings
from polytask.study.unit import run_folder

TASKS = ("digit", "parity", "size")


def few_digits(rows: int = 500) -> Dataset:
    whole = digits()
    return replace(
        whole,
        inputs={name: value[:rows] for name, value in whole.inputs.items()},
        targets={name: value[:rows] for name, value in whole.targets.items()},
    )


def digits_plan(name: str = "rsa", seeds: int = 1, **changes: Any) -> RelationPlan:
    """A plan that measures with one estimator: three tasks on a small residual network."""
    facts = {"role": "main", "metric": "accuracy", "direction": "max"}
    kinds = {"digit": "multiclass", "parity": "binary", "size": "binary"}
    study = Settings(
        name="digits",
        tasks={task: {"kind": kinds[task], **facts} for task in TASKS},
        fingerprint="d161",
        methods=(Choice("linear"),),
        architectures=(Choice("hard_sharing"),),
        encoder=Choice("resnet", {"width": 4, "blocks": [1, 1]}),
        seeds=2,
        epochs=3,
        batch_size=64,
        lr=(3e-3, 1e-2, 3e-2),
    )
    chosen = (Choice(name, changes),)
    return RelationPlan(Relation(study, chosen, seeds_measured=seeds))


def carried_out(out: Path, unit: Unit, dataset: Dataset) -> Outcome:
    """What one run left in its folder."""
    folder = out / "runs" / unit.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unit.json").write_text(json.dumps(unit.to_dict()))
    run_folder(folder, dataset)
    for name in ("result.json", "error.json"):
        if (folder / name).exists():
            outcome: Outcome = json.loads((folder / name).read_text())
            return outcome
    raise AssertionError("a run leaves a result or an error")


def measured(
    out: Path,
    plan: RelationPlan,
    estimator: Estimator,
    dataset: Dataset,
    known: Outcomes | None = None,
) -> tuple[Outcomes, list[str]]:
    """Outcomes of an estimator's runs, by hash, and the names of those carried out here."""
    ended: dict[str, Outcome] = dict(known or {})
    order = []
    while ready := [u for u in estimator.units(plan, ended) if u.hash not in ended]:
        for unit in ready:
            ended[unit.hash] = carried_out(out, unit, dataset)
            order.append(unit.id)
    return ended, order
