"""Runs against outcomes: which could start now, what is left, and what ended ones took."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from polytask.study.plan import Outcomes, Unit


def waiting(first: Iterable[Unit], rest: Iterable[Unit], outcomes: Outcomes) -> list[Unit]:
    """Runs that have not ended, each once: the first as they come, the rest seed by seed."""
    later = sorted(rest, key=lambda unit: int(unit.config["seed"]))
    units = {unit.hash: unit for unit in [*first, *later]}
    return [unit for key, unit in units.items() if key not in outcomes]


def spent(units: Iterable[Unit], outcomes: Outcomes) -> dict[str, Any]:
    """`{"runs", "seconds"}` of the runs that have ended, each once."""
    ended = {unit.hash: outcomes[unit.hash] for unit in units if unit.hash in outcomes}
    return {
        "runs": len(ended),
        "seconds": sum(float(outcome.get("seconds", 0.0)) for outcome in ended.values()),
    }


def left(name: str, units: Sequence[Unit], rates: Iterable[float], outcomes: Outcomes) -> list[str]:
    """In words, what has not ended of a network's runs as far as they are known: empty for none.

    Its search over the learning rates, on seed 0; once that has ended, its other seeds.
    """
    searched = {u.config["lr"]: u.hash in outcomes for u in units if u.config["seed"] == 0}
    open_rates = [f"{lr:g}" for lr in rates if not searched.get(lr)]
    if open_rates:
        return [f"{name}: learning-rate search at {', '.join(open_rates)}"]
    seeds = [str(u.config["seed"]) for u in units if u.hash not in outcomes]
    return [f"{name}: seeds {', '.join(seeds)}"] if seeds else []
