"""The body of the page of a selection of helper tasks."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from polytask.report.cards import Card, strip
from polytask.report.cells import Footnotes
from polytask.report.frame import frame
from polytask.report.numbers import number, numbers
from polytask.report.pages import fill
from polytask.report.plots import forest_svgs, panel_svg, swatch
from polytask.report.results import triple
from polytask.report.selection_plots import curves, helper_forests, set_forest
from polytask.report.selection_results import Helper, Selection
from polytask.report.selection_tables import cost_rows, helper_table, screen_table, set_table
from polytask.report.selection_words import every_candidate, facts, how_made, screen_sentences


def selection_body(selection: Selection) -> Markup:
    """All of a selection, from the verdict to the versions, without the page around it."""
    return fill("selection.html.j2", **_context(selection))


def _context(selection: Selection) -> dict[str, Any]:
    results, notes = selection.results, Footnotes()
    helpers = helper_table(selection, notes)
    sets = set_table(selection, notes)
    return {
        **frame(results),
        "main": selection.main,
        "facts": facts(selection),
        "cards": cards(selection.helpers),
        "helpers": helpers if selection.helpers else None,
        "sets": sets if selection.sets else None,
        "notes": notes.reasons,
        "forests": forest_svgs(helper_forests(selection)),
        "set_forests": forest_svgs(set_forest(selection)),
        "curves": [
            (panel.title, panel_svg(panel, "Learning curves")) for panel in curves(selection)
        ],
        "key": [
            (swatch(s.style), s.name) for s in selection.sets if len(s.helpers) < 2 or s.chosen
        ],
        "screen": screen_table(selection) if selection.screen else None,
        "screened": screen_sentences(selection),
        "trial": selection.tried,
        "costs": cost_rows(selection),
        "every": every_candidate(selection),
        "single_curves": False,
        "failures": selection.failures,
        "how": how_made(selection),
    }


def cards(helpers: tuple[Helper, ...]) -> list[Card]:
    """One card a finalist, its gain when added alone on a scale shared by all."""
    gains = {helper.task: triple(helper.add, "") for helper in helpers}
    ends = [0.0, *(end for gain in gains.values() for end in numbers(gain))]
    air = 0.04 * (max(ends) - min(ends)) or 1.0
    limits = (min(ends) - air, max(ends) + air)
    return [
        Card(
            task=helper.task,
            word=helper.word,
            sign=helper.sign,
            tone=helper.tone,
            sentence=helper.sentence,
            gain="" if number(gains[helper.task][0]) is not None else "undefined",
            title="",
            strip=strip(gains[helper.task], limits),
        )
        for helper in helpers
    ]
