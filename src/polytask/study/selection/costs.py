"""What an answer took: runs and seconds of the screen and of the proof."""

from __future__ import annotations

from typing import Any

from polytask.study.ledger import spent
from polytask.study.plan import Outcomes
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
        "screen": spent(screening, outcomes),
        "proof": spent(proof, outcomes),
        "probes": spent(plan.probes(outcomes), outcomes),
        "planned": plan.total,
        "every_candidate": plan.total_for(len(plan.selection.candidates)),
    }
