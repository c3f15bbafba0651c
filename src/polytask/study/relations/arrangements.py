"""What arrangements of tasks are worth on test: numbers with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.study.folder import Outcome
from polytask.study.plan import Contender, Outcomes
from polytask.study.relations.groups import (
    ALL_IN_ONE,
    ALONE,
    BRANCHED,
    RANDOM,
    RECOMMENDED,
    Arrangement,
)
from polytask.study.relations.plan import RelationPlan
from polytask.study.scores import Yardstick, contrast, delta_m, gain_entries, single_entry
from polytask.study.statistics import holm, mean_defined, word

Entry = dict[str, Any]
SELECTED = "selected"


def check(plan: RelationPlan, outcomes: Outcomes, redrawn: float) -> Entry | None:
    """The "check" of `results.json`: arrangements and contrasts; None where none was asked for.

    Every task is judged by the network that serves it. Gains are on test, in percent of the task's
    mean score alone, paired by seed, positive = better.
    """
    if not plan.relation.check:
        return None
    runs = {c.id: finished(plan, c, outcomes) for c in plan.contenders(outcomes).values()}
    singles = {t: runs[plan.contender([t]).id] for t in plan.tasks}
    yardstick = Yardstick(
        singles={t: single_entry(singles[t], SELECTED, t) for t in plan.tasks},
        directions={t: facts["direction"] for t, facts in plan.settings.tasks.items()},
        counted=plan.tasks,
        judged=plan.tasks,
        redrawn=redrawn,
    )
    found = [_entry(plan, a, runs, yardstick, outcomes) for a in plan.arrangements(outcomes)]
    return {
        "arrangements": found,
        "contrasts": _contrasts(plan, found, outcomes, redrawn),
        "branched": _branched(found, redrawn),
    }


def finished(plan: RelationPlan, contender: Contender, outcomes: Outcomes) -> list[Outcome | None]:
    """The results of a network at its chosen rate, one per seed; None where there is none."""
    rate = plan.chosen_lr(contender, outcomes)
    found: list[Outcome | None] = []
    for seed in range(plan.settings.seeds):
        unit = None if rate is None else plan.unit(contender, rate, seed, outcomes)
        result = None if unit is None else outcomes.get(unit.hash)
        found.append(None if result is None or "error" in result else result)
    return found


def merged(
    plan: RelationPlan, arrangement: Arrangement, runs: Mapping[str, Sequence[Outcome | None]]
) -> list[Outcome | None]:
    """One outcome a seed, as of one network: each task's scores are those of who serves it.

    A task whose network is missing has None; an outcome without any score is None.
    """
    serving = {
        task: runs[plan.serving(arrangement, group).id]
        for task, group in arrangement.assignment.items()
    }
    found: list[Outcome | None] = []
    for seed in range(plan.settings.seeds):
        parts: Outcome = {
            part: {
                task: None if (run := serving[task][seed]) is None else run[SELECTED][part][task]
                for task in plan.tasks
            }
            for part in ("val", "test")
        }
        known = any(serving[task][seed] is not None for task in plan.tasks)
        found.append({SELECTED: parts} if known else None)
    return found


def _entry(
    plan: RelationPlan,
    arrangement: Arrangement,
    runs: Mapping[str, Sequence[Outcome | None]],
    yardstick: Yardstick,
    outcomes: Outcomes,
) -> Entry:
    own = merged(plan, arrangement, runs)
    tasks = gain_entries(own, SELECTED, plan.tasks, yardstick)
    total = delta_m(own, SELECTED, yardstick)
    networks = [plan.serving(arrangement, group) for group in arrangement.groups]
    return {
        "id": arrangement.id,
        "name": arrangement.name,
        "groups": [list(group) for group in arrangement.groups],
        "assignment": {task: list(group) for task, group in arrangement.assignment.items()},
        "networks": len(networks),
        "lr": [plan.chosen_lr(contender, outcomes) for contender in networks],
        "parameters": _sum(plan, networks, outcomes, "parameters"),
        "step": _relative(plan, networks, outcomes, "step_seconds"),
        "inference": _relative(plan, networks, outcomes, "inference_seconds"),
        "tasks": {task: _task(entry) for task, entry in tasks.items()},
        "delta_m": {
            "values": total["test"],
            **{key: total[key] for key in ("val", "mean", "low", "high", "left_out")},
        },
        "failed": [f for contender in networks for f in failures(plan, contender, outcomes)],
    }


def _task(entry: Entry) -> Entry:
    """Scores and gains of one task, and the word on it."""
    gained = [gain for gain in entry["gain"] if gain is not None]
    return {
        "test": entry["test"],
        "val": entry["val"],
        "test_mean": entry["mean"],
        "test_sd": entry["sd"],
        **{key: entry[key] for key in ("gain", "gain_mean", "gain_low", "gain_high")},
        **{key: entry[key] for key in ("p", "p_holm")},
        "word": word(gained, entry["p_holm"]),
    }


def _contrasts(
    plan: RelationPlan, found: Sequence[Entry], outcomes: Outcomes, redrawn: float
) -> list[Entry]:
    """Δm of the recommended groups minus that of the others, corrected over these questions.

    One that trains the same networks as the recommended groups is left out: it is no other.
    """
    known = {a.id: a for a in plan.arrangements(outcomes)}
    values = {entry["id"]: entry["delta_m"]["values"] for entry in found}
    if RECOMMENDED not in known:
        return []
    theirs = {
        which: values[which]
        for which in (ALL_IN_ONE, ALONE)
        if not known[which].same(known[RECOMMENDED])
    }
    if randoms := [v for which, v in values.items() if which.startswith(RANDOM)]:
        # A seed counts where all of them have it, or means of different groups would be compared.
        rows = list(zip(*randoms, strict=True))
        theirs[RANDOM] = [None if None in row else mean_defined(row) for row in rows]
    return _compared(RECOMMENDED, values[RECOMMENDED], theirs, redrawn)


def _branched(found: Sequence[Entry], redrawn: float) -> list[Entry]:
    """Δm of the branched network minus that of all in one and of every task alone.

    A family of its own: whether to branch one network is another question than how to group.
    """
    values = {entry["id"]: entry["delta_m"]["values"] for entry in found}
    if BRANCHED not in values:
        return []
    theirs = {which: values[which] for which in (ALL_IN_ONE, ALONE)}
    return _compared(BRANCHED, values[BRANCHED], theirs, redrawn)


def _compared(
    ours: str, values: Sequence[Any], theirs: Mapping[str, Sequence[Any]], redrawn: float
) -> list[Entry]:
    """One entry for each of the others, with p-values corrected over them."""
    entries: list[Entry] = [
        {"ours": ours, "theirs": which, **contrast(values, other, redrawn)}
        for which, other in theirs.items()
    ]
    for entry, p in zip(entries, holm([entry["p"] for entry in entries]), strict=True):
        entry["p_holm"] = p
        entry["word"] = word(entry["differences"], p)
    return entries


def failures(plan: RelationPlan, contender: Contender, outcomes: Outcomes) -> list[Entry]:
    """Seed, rate and cause of every failed run of a network, those of the search included."""
    return [
        {
            "tasks": list(contender.tasks),
            "seed": unit.config["seed"],
            "lr": unit.config["lr"],
            "cause": ended["error"],
        }
        for unit in plan.units(contender, outcomes)
        if (ended := outcomes.get(unit.hash)) and "error" in ended
    ]


def _relative(
    plan: RelationPlan, networks: Sequence[Contender], outcomes: Outcomes, key: str
) -> float | None:
    """Times of all networks together, in that of the network of all tasks."""
    ours = _sum(plan, networks, outcomes, key)
    base = _sum(plan, [plan.everyone], outcomes, key)
    return ours / base if ours and base else None


def _sum(plan: RelationPlan, networks: Sequence[Contender], outcomes: Outcomes, key: str) -> Any:
    """What the probes of some networks measured, added up; None where one is not in."""
    values = [outcomes.get(plan.probe(contender).hash, {}).get(key) for contender in networks]
    return None if None in values else sum(values)
