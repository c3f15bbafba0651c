"""What terms of the networks' weights found, as tables and maps for the page.

Every term tells what it likes, so the form of what it tells decides how it is shown: a number
is a fact, numbers by weight are columns of a table, numbers by two tasks are a map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polytask.report.cells import Table
from polytask.report.numbers import number
from polytask.report.regularization_map import TermMap, mean_map, term_map
from polytask.report.regularization_tables import FULL, weight_table
from polytask.report.regularization_words import called, caption, sentences
from polytask.report.results import Candidate, Results, mapping

MOST_MAPS = 8
"""Maps by weight that are drawn, folded; of more there is only their mean."""
MOST_ROWS = 10
"""Weights whose table stands open; a longer one is folded."""
OWN = ("penalty", "cluster")
"""What has a place of its own."""


@dataclass(frozen=True)
class TermView:
    """One term of one candidate."""

    name: str
    said: list[str]
    captions: list[tuple[str, str]]
    """What the table's columns are."""
    table: Table | None
    folded: bool
    maps: list[TermMap]
    by_weight: list[TermMap]


@dataclass(frozen=True)
class TermsOf:
    """The terms of one candidate; the first one's stand open."""

    label: str
    seeds: int
    terms: list[TermView]


def regularization(results: Results) -> list[TermsOf]:
    """One entry per candidate with terms: the chosen one first, then by Δm; [] without any."""
    listed = results.raw.get("regularization")
    entries = {
        str(entry.get("candidate")): entry
        for entry in map(mapping, listed if isinstance(listed, list) else [])
    }
    shown = sorted(
        (candidate for candidate in results.candidates if candidate.id in entries),
        key=lambda candidate: not candidate.chosen,
    )
    return [_of_candidate(candidate, entries[candidate.id], results) for candidate in shown]


def _of_candidate(candidate: Candidate, entry: Mapping[str, Any], results: Results) -> TermsOf:
    seeds = round(number(entry.get("seeds")) or 0)
    views = [
        _view(name, mapping(told), seeds, tuple(results.tasks))
        for name, told in mapping(entry.get("terms")).items()
    ]
    return TermsOf(candidate.label, seeds, views)


def _view(name: str, told: Mapping[str, Any], seeds: int, tasks: tuple[str, ...]) -> TermView:
    found, words = mapping(told.get("found")), mapping(told.get("tells"))
    columns: dict[str, Mapping[str, Any]] = {}
    maps: list[TermMap] = []
    by_weight: list[TermMap] = []
    for key, value in found.items():
        if key in OWN or not isinstance(value, Mapping) or not value:
            continue
        title = _capital(caption(key, words))
        if _of_pairs(value, tasks):
            maps.append(term_map(key, title, value, tasks))
        elif all(_of_pairs(one, tasks) for one in value.values()):
            several = {weight: mapping(one) for weight, one in value.items()}
            more = f"{title}; mean over {len(several)} weights" if len(several) > 1 else title
            maps.append(term_map(key, more, mean_map(list(several.values()), tasks), tasks))
            if 1 < len(several) <= MOST_MAPS:
                by_weight += [term_map(key, weight, one, tasks) for weight, one in several.items()]
        elif not set(value) <= set(tasks):
            columns[key] = value
    table = weight_table(columns)
    return TermView(
        name=called(name),
        said=sentences(found, seeds, tasks),
        captions=[(k, caption(k, words)) for k in columns if k in words and k != FULL],
        table=table,
        folded=table is not None and len(table.rows) > MOST_ROWS,
        maps=maps,
        by_weight=by_weight,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of_pairs(value: Any, tasks: Sequence[str]) -> bool:
    """Whether these are numbers by two tasks."""
    rows = mapping(value)
    return bool(rows) and all(
        task in tasks and isinstance(row, Mapping) and set(row) <= set(tasks)
        for task, row in rows.items()
    )
