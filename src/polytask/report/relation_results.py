"""Reading the `results.json` of a study of task relationships."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.relationships import Affinity
from polytask.report.kinds import RELATION
from polytask.report.numbers import number
from polytask.report.read_kind import lacking, read_kind
from polytask.report.relation_groups import Groups, assigned, letter, read_groups
from polytask.report.relation_scale import Scale, scale_of
from polytask.report.results import (
    SINGLE_STYLE,
    Results,
    Style,
    failure_text,
    failures,
    mapping,
    styles,
    triple,
)

_REQUIRED = {"estimators": list, "recommendation": Mapping}
RECOMMENDED, TOGETHER, ALONE, RANDOM = "recommended", "all_in_one", "alone", "random"
"""Ids of arrangements; those of random groups go on with a number."""


@dataclass(frozen=True)
class Estimator:
    """One way of measuring, with the table that it measured or the reason why there is none."""

    name: str
    label: str
    decides: bool
    gains: bool
    """Whether 0 is no help, so that the sign of an affinity means something."""
    affinity: Affinity | None
    why: str
    """Why there is no affinity, '' where there is one."""
    groups: Groups
    raw: Mapping[str, Any]

    @property
    def unit(self) -> str:
        """What a number means."""
        return str(self.raw.get("unit") or "")

    @property
    def scale(self) -> Scale:
        """How its numbers are written."""
        return Scale() if self.affinity is None else scale_of(self.affinity, self.gains)


@dataclass(frozen=True)
class Share:
    """A recommended group: one network, the tasks in it, and those that it serves."""

    letter: str
    tasks: tuple[str, ...]
    serves: tuple[str, ...]
    predicted: Mapping[str, Any]
    """Task that is served -> its mean affinity in the group."""


@dataclass(frozen=True)
class Arrangement:
    """A way of dividing the tasks among networks that was trained and tested."""

    id: str
    name: str
    style: Style
    groups: Groups
    raw: Mapping[str, Any]

    @property
    def chosen(self) -> bool:
        """Whether it is the one that is recommended."""
        return self.id == RECOMMENDED

    @property
    def reference(self) -> bool:
        """Whether gains are measured from it."""
        return self.id == ALONE

    @property
    def delta_m(self) -> tuple[Any, Any, Any]:
        """Mean, low and high of Δm on test, in percent."""
        return triple(self.raw.get("delta_m"), "")

    def task(self, name: str) -> Mapping[str, Any]:
        """The entry of one task, empty when there is none."""
        return mapping(mapping(self.raw.get("tasks")).get(name))


@dataclass(frozen=True)
class Relation:
    """A checked `results.json`; `results` answers what can be asked of any study."""

    results: Results
    estimators: tuple[Estimator, ...]
    shares: tuple[Share, ...]
    why: str
    """Why nothing is recommended, '' where something is."""
    arrangements: tuple[Arrangement, ...]
    contrasts: tuple[Mapping[str, Any], ...]
    """The recommendation against the others."""
    branched: tuple[Mapping[str, Any], ...]
    """The branched network against all in one and each alone."""

    @property
    def raw(self) -> Mapping[str, Any]:
        """The file's content."""
        return self.results.raw

    @property
    def deciding(self) -> Estimator | None:
        """The estimator whose groups are recommended."""
        return next((e for e in self.estimators if e.decides), None)

    @property
    def checked(self) -> bool:
        """Whether a check was asked for, finished or not."""
        return bool(mapping(self.raw.get("check")))

    @property
    def recommended(self) -> Arrangement | None:
        """What the check measured of the recommendation."""
        return self.arrangement(RECOMMENDED)

    @property
    def serving(self) -> dict[str, Share]:
        """The recommended group of every task."""
        return {task: share for share in self.shares for task in share.serves}

    @property
    def failures(self) -> list[str]:
        """Every run of the check that failed, in words, each once."""
        found = [
            failure_text(" + ".join(map(str, failure.get("tasks") or [])) or entry.name, failure)
            for entry in self.arrangements
            for failure in failures(entry.raw)
        ]
        return list(dict.fromkeys(found))  # a network can serve in several arrangements

    def arrangement(self, which: str) -> Arrangement | None:
        """The arrangement with this id, None where it was not checked."""
        return next((entry for entry in self.arrangements if entry.id == which), None)


def read_relation(source: Mapping[str, Any] | Path | str) -> Relation:
    """Check the results of a study of relationships: a dict, a `results.json` or its folder.

    Raises `UserError` when they are none.
    """
    results = read_kind(source, RELATION, _REQUIRED)
    if not results.tasks:
        raise lacking(RELATION, ["tasks"])
    raw = results.raw
    found, check = mapping(raw["recommendation"]), mapping(raw.get("check"))
    entries = [mapping(entry) for entry in check.get("arrangements") or []]
    looks = _looks([str(entry.get("id")) for entry in entries])
    return Relation(
        results=results,
        estimators=tuple(_estimator(mapping(entry)) for entry in raw["estimators"]),
        shares=tuple(_share(mapping(e), i) for i, e in enumerate(found.get("groups") or [])),
        why=why_not(found, ""),
        arrangements=tuple(
            Arrangement(
                id=str(entry.get("id")),
                name=str(entry.get("name") or entry.get("id")),
                style=style,
                groups=read_groups(entry.get("groups")),
                raw=entry,
            )
            for entry, style in zip(entries, looks, strict=True)
        ),
        contrasts=tuple(mapping(entry) for entry in check.get("contrasts") or []),
        branched=tuple(mapping(entry) for entry in check.get("branched") or []),
    )


def why_not(entry: Mapping[str, Any], otherwise: str) -> str:
    """The reason why something is undefined, to stand within a sentence."""
    return str(entry.get("undefined") or otherwise).rstrip(".")


def _estimator(entry: Mapping[str, Any]) -> Estimator:
    table, grouping = mapping(entry.get("affinity")), mapping(entry.get("grouping"))
    known = bool(table.get("tasks"))
    name = str(entry.get("name"))
    return Estimator(
        name=name,
        label=str(entry.get("label") or name),
        decides=bool(entry.get("decides")),
        gains=bool(entry.get("gains", True)),
        affinity=_affinity(table) if known else None,
        why="" if known else why_not(table, "it has not been measured yet"),
        groups=assigned(grouping.get("groups"), mapping(grouping.get("assignment"))),
        raw=entry,
    )


def _affinity(table: Mapping[str, Any]) -> Affinity:
    errors = table.get("standard_errors")
    return Affinity(
        tasks=tuple(map(str, table["tasks"])),
        values=_floats(table.get("values")),
        standard_errors=None if errors is None else _floats(errors),
        measured=str(table.get("measured") or ""),
    )


def _floats(rows: Any) -> Any:
    """A table of numbers with NaN for whatever is none; its shape is checked by `Affinity`."""
    return [[math.nan if (v := number(x)) is None else v for x in row] for row in rows or []]


def _share(entry: Mapping[str, Any], place: int) -> Share:
    tasks = tuple(map(str, entry.get("tasks") or []))
    return Share(
        letter=letter(place),
        tasks=tasks,
        serves=tuple(map(str, entry.get("serves") or tasks)),
        predicted=mapping(entry.get("predicted")),
    )


def _looks(ids: Sequence[str]) -> list[Style]:
    """Random groups are grey, as baselines are elsewhere; single tasks have their own look."""
    looks = styles([name.startswith(RANDOM) for name in ids])
    return [SINGLE_STYLE if i == ALONE else style for i, style in zip(ids, looks, strict=True)]
