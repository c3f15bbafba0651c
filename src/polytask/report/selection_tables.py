"""The tables of a selection's page: what each helper adds, every set, the screen, the costs."""

from __future__ import annotations

from typing import Any

from polytask.report.cells import NOTHING, Cell, Column, Footnotes, Row, Table
from polytask.report.cost_table import measured, stage_costs
from polytask.report.numbers import (
    TIMES,
    bare_p,
    column_decimals,
    count,
    fixed,
    interval_decimals,
    memory,
    number,
    ratio,
)
from polytask.report.results import mapping, triple
from polytask.report.selection_cells import (
    agreement_reading,
    agreement_text,
    bandit_text,
    pulls_text,
    why_undefined,
)
from polytask.report.selection_results import Helper, HelperSet, Selection


def helper_table(selection: Selection, notes: Footnotes) -> Table:
    """The word on every finalist, with its gain alone and beside the others."""
    main = selection.main
    columns = (
        Column("verdict", "added alone", "the word is on adding it to the main task alone"),
        Column("added alone", f"% of {main} alone", "main task with it against main task alone"),
        Column("p", "Holm", "corrected over the finalists"),
        Column("to the others", "% of the same", "all finalists against all but this one"),
        Column("p", "Holm", "corrected over the finalists"),
        Column("seeds", "", "paired seeds behind both"),
    )
    views = ("add", "leave")
    decimals = [
        interval_decimals(triple(getattr(helper, view), "") for helper in selection.helpers)
        for view in views
    ]
    rows = []
    for helper in selection.helpers:
        cells = [Cell(f"{helper.sign} {helper.word}", tone=helper.tone, value=_mean(helper))]
        for view, precision in zip(views, decimals, strict=True):
            entry = getattr(helper, view)
            cells.append(notes.gain(triple(entry, ""), precision))
            p = number(entry.get("p_holm"))
            cells.append(NOTHING if p is None else Cell(bare_p(p), value=p))
        cells.append(Cell(count(helper.seeds), value=float(helper.seeds)))
        rows.append(Row(helper.task, (), helper.style, tuple(cells)))
    return Table("What each helper adds", columns, tuple(rows))


def set_table(selection: Selection, notes: Footnotes) -> Table:
    """Score, gain and costs of every set of helpers."""
    columns = (
        Column(selection.main, selection.metric, "mean ± standard deviation over seeds, on test"),
        Column("gain, %", "95 % interval", "over the main task alone"),
        Column("step cost", f"{TIMES} alone", "time of a step, multiple of the main task alone"),
        Column("step", "ms", "time of a training step"),
        Column("peak memory", "", "highest memory of a training step"),
        Column("parameters", "", "trainable parameters while training"),
        Column("learning rate", "", "chosen on validation, seed 0"),
    )
    sets = selection.sets
    gains = interval_decimals(entry.gain for entry in sets)
    scores = column_decimals(
        (entry.raw.get("mean") for entry in sets), (entry.raw.get("sd") for entry in sets)
    )
    steps = [_milliseconds(entry) for entry in sets]
    digits = min(2, column_decimals(steps))
    rows = []
    for entry, step in zip(sets, steps, strict=True):
        rate = number(entry.raw.get("lr"))
        cells = (
            notes.score(entry.raw.get("mean"), entry.raw.get("sd"), scores),
            notes.gain(entry.gain, gains)
            if entry.helpers
            else Cell("0", small="reference", value=0.0),
            measured(entry.cost("relative"), ratio(entry.cost("relative"))),
            measured(step, fixed(step or 0.0, digits)),
            measured(entry.cost("peak_memory_mb"), memory(entry.cost("peak_memory_mb"))),
            measured(entry.cost("parameters"), count(entry.cost("parameters"))),
            measured(rate, f"{rate:g}" if rate else ""),
        )
        rows.append(Row(entry.name, _tags(entry), entry.style, cells, entry.chosen))
    return Table("Every set of helpers", columns, tuple(rows))


def screen_table(selection: Selection) -> Table:
    """The evidence on every candidate, the best first."""
    columns = [
        Column("rank", "", "by the bandit where it can tell, then by agreement"),
        Column("agreement", "cosine ± s.e.", "of its gradient with that of the main task"),
    ]
    if selection.tried:
        columns.append(Column("trial", "success ± s.e.", "rounds in which the main task did not "
                              "get worse while this helper trained along"))  # fmt: skip
    words = label_words(selection)
    columns += [Column(said, small, title) for said, small, title in words.values()]
    looks = {helper.task: helper.style for helper in selection.helpers}
    rows = []
    for entry in selection.screen:
        task = str(entry.get("task"))
        finalist = bool(entry.get("finalist"))
        reading = agreement_reading(entry)
        cosine = number(mapping(entry.get("agreement")).get("cosine"))
        cells = [
            Cell(str(entry.get("rank", "")), value=number(entry.get("rank"))),
            Cell(agreement_text(entry), reading, cosine, why_undefined(entry),
                 sign="▼" if reading == "fights" else "", tone="bad"),
        ]  # fmt: skip
        if selection.tried:
            rate = number(mapping(entry.get("bandit")).get("mean"))
            cells.append(Cell(bandit_text(entry), pulls_text(entry), rate))
        labels = mapping(entry.get("labels"))
        cells += [_statistic(labels.get(word)) for word in words]
        tags = ("finalist",) if finalist else ()
        rows.append(Row(task, tags, looks.get(task), tuple(cells)))
    return Table("The screen", tuple(columns), tuple(rows))


def label_words(selection: Selection) -> dict[str, tuple[str, str, str]]:
    """The statistics of labels that any candidate has, as headings of columns."""
    known = {
        "labelled": ("labelled", "of the rows", "share of the training rows of seed 0"),
        "entropy": ("entropy", "nats", "of the classes"),
        "excess_kurtosis": ("kurtosis", "excess", "of a regression target"),
        "information": ("information", "normalised", "shared with the main target's labels"),
        "correlation": ("variance", "explained", "of the main target's labels, or the reverse"),
    }
    entries = [mapping(entry.get("labels")) for entry in selection.screen]
    return {
        word: heading
        for word, heading in known.items()
        if any(_value(entry.get(word)) is not None for entry in entries)
    }


def cost_rows(selection: Selection) -> list[tuple[str, str, str]]:
    """(stage, runs, time) of what the answer took."""
    stages = {"screen": "screen", "proof": "proof, with the search", "probes": "cost probes"}
    return stage_costs(selection.results, stages)


def _mean(helper: Helper) -> float | None:
    return number(helper.add.get("mean"))


def _value(statistic: Any) -> float | None:
    """A number, or the value of a measure that has an error and a null level too."""
    return number(mapping(statistic).get("value", statistic))


def _statistic(statistic: Any) -> Cell:
    found, level = _value(statistic), number(mapping(statistic).get("null_level"))
    if found is None:
        return NOTHING
    small = "" if level is None else f"chance {fixed(level, 2)}"
    return Cell(fixed(found, 2), small, found)


def _milliseconds(entry: HelperSet) -> float | None:
    seconds = number(entry.cost("step_seconds"))
    return None if seconds is None else 1000 * seconds


def _tags(entry: HelperSet) -> tuple[str, ...]:
    """What stands behind a set's name."""
    failed = len(entry.raw.get("failed") or [])
    tags = ["chosen"] if entry.chosen else []
    tags += [] if entry.helpers else ["reference"]
    return (*tags, f"{failed} failed") if failed else tuple(tags)
