"""From ended runs to `results.json`: a pure function of settings, facts of the data, outcomes.

Everything is chosen on validation: a learning rate (seed 0), an epoch (inside each run), and
at last one candidate, baselines included. Test scores are only reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.names import BETWEEN, model_name
from polytask.study.conflict import conflicts
from polytask.study.distillation import distilled_remarks
from polytask.study.folder import Outcome, number
from polytask.study.plan import Contender, Outcomes, Plan
from polytask.study.regularization import terms
from polytask.study.remarks import remarks
from polytask.study.run_remarks import run_remarks
from polytask.study.scores import Yardstick, contrast, delta_m, gain_entries, single_entry
from polytask.study.set_facts import set_remarks
from polytask.study.statistics import holm, mean_defined, mean_ranks
from polytask.study.verdict import verdict

SCHEMA = 1
SELECTED, EQUAL_TIME = "selected", "equal_time"
CURVE_POINTS = 200
"""Most points of the curve of a network on a data set of its own."""

Runs = list[Outcome | None]
"""The finished runs of a contender at its chosen rate, by seed; None where there is none."""


def analyse(plan: Plan, facts: Mapping[str, Any], outcomes: Outcomes) -> dict[str, Any]:
    """The content of `results.json` (schema 1), also for a study that is not complete.

    `facts` says what is known of the data: "tasks", "dataset", and "redrawn" (n_test / n_train
    when every seed draws its own test split, else 0).
    """
    settings = plan.settings
    runs = {c.id: finished(plan, c, outcomes) for c in plan.contenders}
    yardstick = Yardstick(
        singles={c.tasks[0]: single_entry(runs[c.id], SELECTED, c.tasks[0]) for c in plan.singles},
        directions={t: task["direction"] for t, task in settings.tasks.items()},
        counted=settings.counted,
        judged=settings.judged,
        redrawn=float(facts["redrawn"]),
    )
    candidates = [_candidate(plan, c, runs[c.id], yardstick, outcomes) for c in plan.candidates]
    _rank(candidates, yardstick)
    _against_equal_weights(candidates, yardstick)
    chosen = choose(candidates)
    missing = _missing(plan, outcomes)
    conflict, unmeasured = conflicts(plan, runs)
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "tasks": facts["tasks"],
        "dataset": facts["dataset"],
        "interval": {"level": 0.95, "test_redrawn": yardstick.redrawn > 0},
        "single_task": {c.tasks[0]: _single(plan, c, runs[c.id], outcomes) for c in plan.singles},
        "candidates": candidates,
        "boosting": _boosting(plan, yardstick, outcomes, chosen),
        "conflict": conflict,
        "regularization": terms(plan, runs),
        "chosen": None if chosen is None else chosen["id"],
        "seeds": list(range(settings.seeds)),
        "seconds": sum(float(o.get("seconds", 0.0)) for o in outcomes.values()),
        "complete": not missing,
        "missing": missing,
    }
    results["remarks"] = [
        *remarks(results, chosen, plan, outcomes),
        *distilled_remarks(plan, outcomes),
        *set_remarks(plan, results, [] if chosen is None else runs[chosen["id"]]),
        *unmeasured,
    ]
    results["run_remarks"] = run_remarks(plan, runs, {c["id"]: c["name"] for c in candidates})
    return results | {"verdict": verdict(results, chosen, settings.judged)}


def finished(plan: Plan, contender: Contender, outcomes: Outcomes) -> Runs:
    """The results of a contender at its chosen rate, one per seed."""
    rate = plan.chosen_lr(contender, outcomes)
    found: Runs = []
    for seed in range(plan.settings.seeds):
        unit = None if rate is None else plan.unit(contender, rate, seed, outcomes)
        result = None if unit is None else outcomes.get(unit.hash)
        found.append(None if result is None or "error" in result else result)
    return found


def choose(candidates: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The best mean Δm on validation among those with the most seeds; a tie goes to the first.

    A candidate that lacks seeds could win by lacking the hard ones.
    """
    seeds = {c["id"]: sum(v is not None for v in c["delta_m"]["val"]) for c in candidates}
    most = max(seeds.values(), default=0)
    if most == 0:
        return None
    full = [c for c in candidates if seeds[c["id"]] == most]
    return max(full, key=lambda c: mean_defined(c["delta_m"]["val"]) or 0.0)


def _single(plan: Plan, contender: Contender, runs: Runs, outcomes: Outcomes) -> dict[str, Any]:
    (task,) = contender.tasks
    return {
        "lr": plan.chosen_lr(contender, outcomes),
        **single_entry(runs, SELECTED, task),
        "cost": plan.relative_cost(contender, outcomes),
        "step_seconds": _probed(plan, contender, outcomes, "step_seconds"),
        "peak_memory_mb": _probed(plan, contender, outcomes, "peak_memory_mb"),
        "parameters": _probed(plan, contender, outcomes, "parameters"),
        "curves": _curve(runs, task),
        "failed": failures(plan, contender, outcomes),
        **_mixed(contender, runs),
    }


def _candidate(
    plan: Plan, contender: Contender, runs: Runs, yardstick: Yardstick, outcomes: Outcomes
) -> dict[str, Any]:
    tasks = contender.tasks
    limit = plan.equal_time(contender, outcomes)
    equal_time = None
    if limit is not None:
        equal_time = {
            "max_epoch": limit,
            "delta_m": delta_m(runs, EQUAL_TIME, yardstick),
            "tasks": gain_entries(runs, EQUAL_TIME, tasks, yardstick),
        }
    method, architecture = contender.method.label, contender.architecture.label
    if contender.distilled:
        method += ", distilled"
    if plan.scheduled and contender.schedule is not None:
        method += f"{BETWEEN}{contender.schedule.label}"
    return {
        "id": contender.id,
        "name": model_name(method, architecture, plan.several),
        "label": method,
        "architecture": architecture,
        "method": contender.method.name,
        "arguments": plan.settings.method(contender.method)["arguments"],
        "lr": plan.chosen_lr(contender, outcomes),
        "baseline": contender.baseline and contender.schedule == plan.unit_of_cost.schedule,
        "distilled": contender.distilled,
        "tasks": gain_entries(runs, SELECTED, tasks, yardstick),
        "delta_m": delta_m(runs, SELECTED, yardstick),
        "equal_time": equal_time,
        "cost": {
            "relative": plan.relative_cost(contender, outcomes),
            **{
                key: _probed(plan, contender, outcomes, key)
                for key in ("step_seconds", "peak_memory_mb", "parameters")
            },
        },
        "weights": {t: _mean_rows([r["weights"][t] for r in runs if r]) for t in tasks},
        "curves": {t: _curve(runs, t) for t in tasks},
        "failed": failures(plan, contender, outcomes),
        **_mixed(contender, runs),
    }


def _rank(candidates: list[dict[str, Any]], yardstick: Yardstick) -> None:
    """Add "mean_rank" to every candidate."""
    means = {
        c["id"]: {t: number(entry["mean"]) for t, entry in c["tasks"].items()} for c in candidates
    }
    directions = {t: yardstick.directions[t] for t in yardstick.counted}
    for candidate, rank in zip(candidates, mean_ranks(means, directions).values(), strict=True):
        candidate["mean_rank"] = rank


def _against_equal_weights(candidates: list[dict[str, Any]], yardstick: Yardstick) -> None:
    """Add "versus_linear": the paired difference of Δm to the first candidate, which is hard
    sharing with equal weights; corrected over all the others.
    """
    baseline, *others = candidates
    baseline["versus_linear"] = None
    theirs = baseline["delta_m"]["test"]
    for candidate in others:
        ours = candidate["delta_m"]["test"]
        candidate["versus_linear"] = contrast(ours, theirs, yardstick.redrawn)
    found = [candidate["versus_linear"] for candidate in others]
    for entry, p in zip(found, holm([entry["p"] for entry in found]), strict=True):
        entry["p_holm"] = p


def _boosting(
    plan: Plan, yardstick: Yardstick, outcomes: Outcomes, chosen: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Gradient boosting: scores, gains over single-task, and its lead over the chosen network."""
    if not plan.settings.boosting:
        return None
    entries: dict[str, Any] = {}
    for task in plan.settings.judged:
        if plan.settings.tasks[task]["kind"] == "custom":
            continue
        ended = [outcomes.get(plan.boosting_unit(task, s).hash) for s in range(plan.settings.seeds)]
        runs = [None if run is None or "error" in run else run for run in ended]
        entry = gain_entries(runs, SELECTED, [task], yardstick)[task]
        theirs = chosen["tasks"][task]["gain"] if chosen else [None] * len(runs)
        entry["versus_chosen"] = contrast(entry["gain"], theirs, yardstick.redrawn)
        entry["failed"] = [
            {"seed": seed, "cause": run["error"]}
            for seed, run in enumerate(ended)
            if run is not None and "error" in run
        ]
        entries[task] = entry
    for kind in (list(entries.values()), [e["versus_chosen"] for e in entries.values()]):
        for entry, p in zip(kind, holm([e["p"] for e in kind]), strict=True):
            entry["p_holm"] = p
    return entries


def failures(plan: Plan, contender: Contender, outcomes: Outcomes) -> list[dict[str, Any]]:
    """Seed, rate and cause of every failed run of a contender, those of the search included."""
    units = [plan.unit(contender, lr, 0, outcomes) for lr in plan.settings.lr]
    rate = plan.chosen_lr(contender, outcomes)
    if rate is not None:
        more = range(1, plan.settings.seeds)
        units += [plan.unit(contender, rate, seed, outcomes) for seed in more]
    return [
        {"seed": unit.config["seed"], "lr": unit.config["lr"], "cause": ended["error"]}
        for unit in units
        if unit is not None and (ended := outcomes.get(unit.hash)) and "error" in ended
    ]


def _missing(plan: Plan, outcomes: Outcomes) -> list[str]:
    """In words, what has neither finished nor failed."""
    waiting: list[str] = []
    for contender in plan.contenders:
        searched = [plan.unit(contender, lr, 0, outcomes) for lr in plan.settings.lr]
        ended = [unit is not None and unit.hash in outcomes for unit in searched]
        if not all(ended):
            rates = [f"{lr:g}" for lr, e in zip(plan.settings.lr, ended, strict=True) if not e]
            waiting.append(f"{contender.id}: learning-rate search at {', '.join(rates)}")
            continue
        rate = plan.chosen_lr(contender, outcomes)
        if rate is None:
            continue
        seeds = [
            str(seed)
            for seed in range(1, plan.settings.seeds)
            if (unit := plan.unit(contender, rate, seed, outcomes)) and unit.hash not in outcomes
        ]
        if seeds:
            waiting.append(f"{contender.id}: seeds {', '.join(seeds)}")
    waiting += [u.id for u in plan.boosting() if u.hash not in outcomes]
    return waiting


def _probed(plan: Plan, contender: Contender, outcomes: Outcomes, key: str) -> Any:
    return outcomes.get(plan.probe(contender).hash, {}).get(key)


def _mixed(contender: Contender, runs: Runs) -> dict[str, Any]:
    """Of several data sets: the schedule, and how many labels of each task training has seen."""
    mixtures = [run["mixture"] for run in runs if run and "mixture" in run]
    if not mixtures:
        return {}
    schedule = None if contender.schedule is None else contender.schedule.label
    seen = {t: mean_defined([m["examples"].get(t, 0) for m in mixtures]) for t in contender.tasks}
    return {"schedule": schedule, "examples": seen}


def _curve(runs: Runs, task: str) -> dict[str, Any]:
    """Mean validation score by epoch over the seeds that reached it.

    A network on a data set of its own may be judged many times in the steps of an epoch of the
    others; of these, `CURVE_POINTS` are kept.
    """
    values = _mean_rows([run["curves"][task] for run in runs if run])
    passes = mean_defined([run.get("mixture", {}).get("passes", 1.0) for run in runs if run])
    epochs: list[float] = list(range(1, len(values) + 1))
    if passes is not None and passes != 1.0:
        every = max(1, -(-len(values) // CURVE_POINTS))
        epochs = [round(epoch / passes, 4) for epoch in epochs][every - 1 :: every]
        values = values[every - 1 :: every]
    return {"epochs": epochs, "val": values}


def _mean_rows(rows: Sequence[Sequence[Any]]) -> list[float | None]:
    """Means by position of rows that may have different lengths."""
    length = max(map(len, rows), default=0)
    return [mean_defined([number(row[i]) for row in rows if i < len(row)]) for i in range(length)]
