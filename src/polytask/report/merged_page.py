"""The page of several studies: what they say together, then each of them, folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from polytask.report.cells import NOTHING, Cell, Column, Footnotes, Row, Table
from polytask.report.cost_table import measured
from polytask.report.merged import Method, Studies, Study, alike, methods
from polytask.report.merged_words import averaging, headline
from polytask.report.names import short
from polytask.report.numbers import column_decimals, fixed, interval_decimals, plural, ratio, signed
from polytask.report.pages import fill
from polytask.report.plot_merged import is_cut, overview_svg
from polytask.report.plots import swatch
from polytask.report.study_page import one_of_several, study_body
from polytask.report.words import DIRECTION, incomplete, listing, sentence, tied

_HEADING = 28  # columns of a study's name above its column


@dataclass(frozen=True)
class StudyRow:
    """One line of the summary."""

    anchor: str
    label: str
    folder: str
    facts: str
    tasks: str
    sentence: str
    state: str
    chosen: str
    ties: str
    gain: Cell
    cost: Cell


def merged_body(studies: Studies) -> Markup:
    """The body of the page."""
    studies = alike(studies)
    found = methods(studies)
    notes = Footnotes()
    rows = _rows(studies, notes)
    bodies = [
        one_of_several(study_body(study.results), f"s{place}-")
        for place, study in enumerate(studies, start=1)
    ]
    return fill(
        "merged.html.j2",
        headline=headline(studies),
        rows=rows,
        table=_matrix(studies, found, notes),
        notes=notes.reasons,
        averaging=averaging(studies, found),
        overview=overview_svg([study.label for study in studies], found),
        cut=is_cut(found),
        key=[(swatch(method.style), method.label) for method in found],
        swatch=swatch,
        direction=DIRECTION,
        studies=list(zip(rows, bodies, strict=True)),
    )


def _rows(studies: Studies, notes: Footnotes) -> list[StudyRow]:
    chosen = [study.results.chosen for study in studies]
    decimals = interval_decimals(c.delta_m for c in chosen if c)
    rows = []
    for place, (study, candidate) in enumerate(zip(studies, chosen, strict=True), start=1):
        results = study.results
        cost = candidate.cost("relative") if candidate else None
        others = [c.label for c in tied(results)]
        rows.append(
            StudyRow(
                anchor=f"study-{place}",
                label=study.label,
                folder=study.folder,
                facts=_facts(study),
                tasks=f"{len(results.tasks)}: {listing(list(results.tasks))}"
                if 0 < len(results.tasks) <= 4
                else str(len(results.tasks)),
                sentence=sentence(results)[0],
                state=_state(study),
                chosen=candidate.label if candidate else "none yet",
                ties=_ties(others, len(results.candidates)),
                gain=notes.gain(candidate.delta_m, decimals) if candidate else NOTHING,
                cost=measured(cost, ratio(cost)),
            )
        )
    return rows


def _facts(study: Study) -> str:
    data = study.results.section("dataset")
    name, size = str(data.get("name") or ""), data.get("n")
    parts = [name if name != study.label else ""]
    parts.append(plural(round(size), "row") if isinstance(size, int | float) else "")
    parts.append(plural(len(study.results.seeds), "seed"))
    return ", ".join(part for part in parts if part)


def _state(study: Study) -> str:
    """What is not as it should be: '' for a complete study without failures."""
    failed = len(study.results.failures)
    said = ["incomplete"] if incomplete(study.results) else []
    return ", ".join([*said, *([f"{plural(failed, 'run')} failed"] if failed else [])])


def _ties(others: list[str], candidates: int) -> str:
    if not others:
        return ""
    every = len(others) > 2 and len(others) == candidates - 1
    named = len(others) <= 3
    whom = "all others" if every else listing(others) if named else f"{len(others)} others"
    return f"ties with {whom}"


def _matrix(studies: Studies, found: Sequence[Method], notes: Footnotes) -> Table:
    """Δm of every method in every study, with the mean and the mean rank."""
    columns = [
        Column(short(study.label, _HEADING), "Δm, %", f"{study.label}, 95 % interval")
        for study in studies
    ]
    columns.append(Column("mean", "over studies", "plain mean of Δm over the studies"))
    columns.append(Column("mean rank", "1 = best", "among the methods in every study"))
    precisions = [
        interval_decimals(gain for m in found if (gain := m.gains[place]) is not None)
        for place in range(len(studies))
    ]
    means = min(2, column_decimals(method.mean for method in found))
    rows = []
    for method in found:
        cells = [
            NOTHING if gain is None else notes.gain(gain, decimals)
            for gain, decimals in zip(method.gains, precisions, strict=True)
        ]
        cells.append(measured(method.mean, signed(method.mean or 0.0, means)))
        cells.append(measured(method.rank, fixed(method.rank or 0.0, 1)))
        tags = ("baseline",) if method.baseline else ()
        rows.append(Row(method.label, tags, method.style, tuple(cells)))
    return Table("Δm of every method in every study", tuple(columns), tuple(rows))
