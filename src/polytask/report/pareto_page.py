"""The body of the page of a front of trade-offs."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from polytask.report.cells import Footnotes
from polytask.report.frame import frame
from polytask.report.pages import fill
from polytask.report.pareto_plots import MOST_AXES, front_svg
from polytask.report.pareto_results import Front
from polytask.report.pareto_tables import point_table, steering_table
from polytask.report.pareto_words import facts, how_made, volume_sentence
from polytask.report.plots import swatch


def front_body(front: Front) -> Markup:
    """All of a front, from the verdict to the versions, without the page around it."""
    return fill("pareto.html.j2", **_context(front))


def _context(front: Front) -> dict[str, Any]:
    notes = Footnotes()
    points = point_table(front, notes)
    steering = steering_table(front, notes)
    plot = front_svg(front)
    return {
        **frame(front.results),
        "facts": facts(front),
        "plots": [plot] if plot else [],
        "two": len(front.tasks) == 2,
        "left_out": max(0, len(front.tasks) - MOST_AXES) if len(front.tasks) > 2 else 0,
        "key": [(swatch(p.style), f"{p.number}: {p.name}") for p in front.points],
        "points": points,
        "volume": volume_sentence(front),
        "steering": steering if front.steering else None,
        "remarks": [str(said) for said in front.raw.get("remarks") or []],
        "notes": notes.reasons,
        "failures": front.failures,
        "how": how_made(front),
    }
