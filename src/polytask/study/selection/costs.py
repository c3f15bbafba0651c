"""What an answer took: runs and seconds of the screen and of the proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polytask.study.plan import Outcomes, Unit
from polytask.study.selection.plan import SelectionPlan


def costs(plan: SelectionPlan, outcomes: Outcomes) -> dict[str, Any]:
    """`{"screen", "proof", "probes"}`, each with "runs" and "seconds", and "every_candidate".

    "every_candidate" is the number of runs that proving all candidates, instead of the finalists,
    would take. A training that belongs to both counts as one of the screen.
    """
    screening = plan.screening()
    shown = {unit.hash for unit in screening}
    known = plan.contenders(outcomes).values()
    proof = [unit for c in known for unit in plan.units(c, outcomes) if unit.hash not in shown]
    return {
        "screen": _spent(screening, outcomes),
        "proof": _spent(proof, outcomes),
        "probes": _spent(plan.probes(outcomes), outcomes),
        "planned": plan.total,
        "every_candidate": plan.total_for(len(plan.selection.candidates)),
    }


def _spent(units: Iterable[Unit], outcomes: Outcomes) -> dict[str, Any]:
    """Runs that have ended, and their seconds."""
    ended = [outcomes[unit.hash] for unit in units if unit.hash in outcomes]
    return {
        "runs": len(ended),
        "seconds": sum(float(outcome.get("seconds", 0.0)) for outcome in ended),
    }
