"""The tables of a study of relationships: arrangements, contrasts, tasks, estimators, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.report.cells import NOTHING, Cell, Column, Footnotes, Row, Table
from polytask.report.cost_table import measured, stage_costs
from polytask.report.numbers import (
    TIMES,
    bare_p,
    column_decimals,
    count,
    interval_decimals,
    number,
    ratio,
)
from polytask.report.relation_plots import against, look
from polytask.report.relation_results import ALONE, Arrangement, Relation
from polytask.report.results import triple
from polytask.report.words import VERDICTS

CONTRASTS = {
    "helps": "better",
    "leans helps": "leans better",
    "no evidence": "no evidence",
    "leans hurts": "leans worse",
    "hurts": "worse",
    "undefined": "no verdict",
}
"""The words on a comparison of two arrangements, by those that the file holds."""


def arrangement_table(relation: Relation, notes: Footnotes) -> Table:
    """What every arrangement takes and what it gains."""
    columns = (
        Column("networks", "", "one network for each group"),
        Column("parameters", "of all", "trainable parameters of all its networks together"),
        Column("step cost", f"{TIMES} all in one", "one step of each of its networks"),
        Column("Δm, %", "95 % interval", "mean gain over training each task alone, on test"),
    )
    decimals = interval_decimals(entry.delta_m for entry in relation.arrangements)
    rows = []
    for entry in relation.arrangements:
        networks, parameters, step = (entry.raw.get(k) for k in ("networks", "parameters", "step"))
        gain = notes.gain(entry.delta_m, decimals)
        cells = (
            measured(networks, count(networks)),
            measured(parameters, count(parameters)),
            measured(step, ratio(step)),
            Cell("0", small="reference", value=0.0) if entry.reference else gain,
        )
        rows.append(Row(entry.name, _tags(entry), entry.style, cells, entry.chosen))
    return Table("Arrangements", columns, tuple(rows))


CONTRASTED = "The recommendation against the others"
BRANCHED = "The branched network against the others"


def contrast_table(relation: Relation, notes: Footnotes) -> Table:
    """The recommendation against the others, seed by seed."""
    return _contrasts(relation, relation.contrasts, "recommendation", CONTRASTED, notes)


def branched_table(relation: Relation, notes: Footnotes) -> Table:
    """One network with branches against all in one and each alone, seed by seed."""
    return _contrasts(relation, relation.branched, "branched network", BRANCHED, notes)


def _contrasts(
    relation: Relation,
    entries: Sequence[Mapping[str, Any]],
    ours: str,
    title: str,
    notes: Footnotes,
) -> Table:
    columns = (
        Column("verdict", f"of the {ours}", "corrected over these comparisons (Holm)"),
        Column("difference of Δm", "points, 95 %", f"positive: the {ours} is better"),
        Column("p", "Holm", "corrected over these comparisons"),
        Column("seeds", "", "paired seeds"),
    )
    decimals = interval_decimals(triple(entry, "") for entry in entries)
    rows = []
    for entry in entries:
        word, sign, tone = contrast_word(entry)
        p, seeds = number(entry.get("p_holm")), len(entry.get("differences") or [])
        theirs = str(entry.get("theirs"))
        cells = (
            Cell(f"{sign} {word}", value=number(entry.get("mean")), tone=tone),
            notes.gain(triple(entry, ""), decimals),
            NOTHING if p is None else Cell(bare_p(p), value=p),
            Cell(count(seeds), value=float(seeds)),
        )
        rows.append(Row(against(relation, theirs), (), look(relation, theirs), cells))
    return Table(title, columns, tuple(rows))


def contrast_word(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    """The word on a comparison with its sign and its tone."""
    word = str(entry.get("word") or "undefined")
    return (CONTRASTS.get(word, word), *VERDICTS.get(word, ("●", "none")))


def task_table(relation: Relation, notes: Footnotes) -> Table:
    """The gain on every task in every arrangement; of training alone, the score itself."""
    alone = relation.arrangement(ALONE)
    others = [entry for entry in relation.arrangements if not entry.reference]
    columns = [Column("alone", "score", "mean ± standard deviation over seeds, on test")]
    columns = columns if alone is not None else []
    columns += [Column(entry.name, "gain, %", "over training alone, on test") for entry in others]
    decimals = interval_decimals(
        triple(entry.task(task), "gain_") for entry in others for task in relation.results.tasks
    )
    rows = []
    for task, spec in relation.results.tasks.items():
        cells = []
        if alone is not None:
            own = alone.task(task)
            mean, sd = own.get("test_mean"), own.get("test_sd")
            found = notes.score(mean, sd, column_decimals([mean], [sd]))
            metric = f"{spec.get('metric', 'score')} {relation.results.arrow(task)}"
            cells.append(found if found.value is None else _with_small(found, metric))
        cells += [_task_cell(entry.task(task), decimals, notes) for entry in others]
        group = relation.serving.get(task)
        rows.append(Row(task, (group.letter,) if group else (), None, tuple(cells)))
    return Table("Every task", tuple(columns), tuple(rows))


def _task_cell(entry: Mapping[str, Any], decimals: int, notes: Footnotes) -> Cell:
    """The gain with its interval, and the word on it beneath."""
    found = notes.gain(triple(entry, "gain_"), decimals)
    word = str(entry.get("word") or "")
    if found.value is None or not word:
        return found
    sign, tone = VERDICTS.get(word, ("●", "none"))
    text = f"{found.text} {found.small}".strip()
    return Cell(text, word, found.value, sign=sign, tone=tone)


def _with_small(cell: Cell, small: str) -> Cell:
    return Cell(cell.text, small, cell.value)


def cost_rows(relation: Relation) -> list[tuple[str, str, str]]:
    """(stage, runs, time) of what the answer took."""
    stages = {
        "measure": "measuring affinities",
        "check": "check, with the search",
        "probes": "cost probes",
    }
    return stage_costs(relation.results, stages)


def _tags(entry: Arrangement) -> tuple[str, ...]:
    """What stands behind the name of an arrangement."""
    failed = len(entry.raw.get("failed") or [])
    tags = ["reference"] if entry.reference else []
    return (*tags, f"{failed} failed") if failed else tuple(tags)
