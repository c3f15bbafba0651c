"""The body of a report: everything a page says and shows of one study."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from polytask.report import reproduce
from polytask.report.cards import cards
from polytask.report.cells import Footnotes
from polytask.report.conflict import conflicts
from polytask.report.cost_table import cost_table
from polytask.report.frame import frame
from polytask.report.method_notes import how_made
from polytask.report.pages import fill
from polytask.report.plot_conflict import heat_maps
from polytask.report.plot_cost import cost_svg
from polytask.report.plot_data import (
    cost_points,
    delta_m_forests,
    learning_curves,
    task_forests,
    versus_linear_forest,
    weight_curves,
)
from polytask.report.plots import forest_svgs, panel_svg, swatch
from polytask.report.regularization import regularization
from polytask.report.regularization_words import HOW
from polytask.report.results import SINGLE_STYLE, Results, Style
from polytask.report.set_tables import set_tables
from polytask.report.tables import main_tables, seed_tables
from polytask.report.words import DIRECTION, facts, remarks

_NAMED = re.compile(r'(?<=\s)(id|href|clip-path|fill)="(url\(#|#)?([^"]*)"')


def study_body(results: Results) -> Markup:
    """All of one study, from the verdict to the versions, without the page around it."""
    return fill("study.html.j2", **_context(results))


def one_of_several(body: Markup, prefix: str) -> Markup:
    """A study's body as it stands beside others: its ids its own, its headings a level down."""

    def named(found: re.Match[str]) -> str:
        attribute, reference, name = found.groups()
        if attribute != "id" and not reference:
            return found.group()  # a colour, or a place elsewhere
        return f'{attribute}="{reference or ""}{prefix}{name}"'

    def tag(found: re.Match[str]) -> str:
        text = _NAMED.sub(named, found.group())
        return re.sub(r"^<h([1-5])", lambda h: f'{h[0]} aria-level="{int(h[1]) + 1}"', text)

    # What users named is escaped, so a "<" always opens a tag of ours.
    return Markup(re.sub(r"<[a-z][^>]*>", tag, body))


def _context(results: Results) -> dict[str, Any]:
    notes = Footnotes()
    tables = main_tables(results, notes)
    points = cost_points(results)
    curves = learning_curves(results)
    versus = versus_linear_forest(results)
    return {
        **frame(results),
        "facts": facts(results),
        "remarks": remarks(results),
        "cards": cards(results),
        "chosen": results.chosen.label if results.chosen else "",
        "direction": DIRECTION,
        "tables": tables,
        "notes": notes.reasons,
        "forests": forest_svgs(delta_m_forests(results) + ([versus] if versus else [])),
        "task_forests": forest_svgs([f for f in task_forests(results) if f.spans]),
        "heat_maps": heat_maps(conflicts(results), results),
        "terms": regularization(results),
        "terms_how": HOW,
        "curves": [(p.title, panel_svg(p, "Learning curves")) for p in curves],
        "single_curves": any(line.style.colour == "ink" for p in curves for line in p.lines),
        "weights": [(p.title, panel_svg(p, "Task weight")) for p in weight_curves(results)],
        "cost_table": cost_table(results),
        "cost": cost_svg(points) if points else "",
        "key": [(swatch(c.style), c.label) for c in results.candidates],
        "single_swatch": swatch(SINGLE_STYLE),
        "level_swatch": swatch(Style("muted", "", "dotted")),
        "set_tables": set_tables(results),
        "failures": results.failures,
        "how": how_made(results),
        "rates": reproduce.rates(results),
        "seed_tables": seed_tables(results),
    }
