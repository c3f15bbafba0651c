"""Reading the `results.json` of a selection of helper tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.report.kinds import SELECTION
from polytask.report.read_kind import lacking, read_kind
from polytask.report.results import Results, Style, failure_text, failures, mapping, styles, triple
from polytask.report.words import VERDICTS

_REQUIRED = {"main": str, "sets": list, "screen": Mapping, "helpers": Mapping}


@dataclass(frozen=True)
class Helper:
    """A finalist: the word on it, what it adds alone and what to the other finalists."""

    task: str
    style: Style
    word: str
    sentence: str
    add: Mapping[str, Any]
    leave: Mapping[str, Any]

    @property
    def sign(self) -> str:
        """A sign for the word that needs no colour."""
        return VERDICTS.get(self.word, ("●", "none"))[0]

    @property
    def tone(self) -> str:
        """The tone in which the word is shown."""
        return VERDICTS.get(self.word, ("●", "none"))[1]

    @property
    def seeds(self) -> int:
        """How many seeds the word rests on."""
        return len(self.add.get("differences") or [])


@dataclass(frozen=True)
class HelperSet:
    """A set of helpers that was trained along with the main task."""

    name: str
    style: Style
    chosen: bool
    raw: Mapping[str, Any]

    @property
    def helpers(self) -> list[str]:
        """The tasks in it; none for the main task alone."""
        return [str(task) for task in self.raw.get("helpers") or []]

    @property
    def gain(self) -> tuple[Any, Any, Any]:
        """Mean, low and high of the gain over the main task alone, in percent."""
        return triple(self.raw, "gain_")

    def cost(self, key: str) -> Any:
        """One entry of `cost`, None when it was not measured."""
        return mapping(self.raw.get("cost")).get(key)


@dataclass(frozen=True)
class Selection:
    """A checked `results.json` of a selection; `results` answers what is asked of any study."""

    results: Results
    main: str
    helpers: tuple[Helper, ...]
    sets: tuple[HelperSet, ...]

    @property
    def raw(self) -> Mapping[str, Any]:
        """The file's content."""
        return self.results.raw

    @property
    def screen(self) -> list[Mapping[str, Any]]:
        """Every candidate with its evidence, the best first; empty before the screen has ended."""
        found = mapping(self.raw.get("screen")).get("helpers")
        return [mapping(entry) for entry in found] if isinstance(found, list) else []

    @property
    def tried(self) -> bool:
        """Whether a bandit tried the candidates."""
        return any(entry.get("bandit") is not None for entry in self.screen)

    @property
    def chosen(self) -> HelperSet | None:
        """The set that is recommended."""
        return next((entry for entry in self.sets if entry.chosen), None)

    @property
    def metric(self) -> str:
        """The main task's primary metric with its direction."""
        metric = mapping(self.results.tasks.get(self.main)).get("metric", "score")
        return f"{metric} {self.results.arrow(self.main)}"

    @property
    def failures(self) -> list[str]:
        """Every run that failed, in words."""
        return [
            failure_text(entry.name, failure)
            for entry in self.sets
            for failure in failures(entry.raw)
        ]


def read_selection(source: Mapping[str, Any] | Path | str) -> Selection:
    """Check the results of a selection: a dict, a `results.json` or the folder that holds one.

    Raises `UserError` when they are none.
    """
    results = read_kind(source, SELECTION, _REQUIRED)
    raw = results.raw
    if raw["main"] not in results.tasks:
        raise lacking(SELECTION, [f"tasks/{raw['main']}"])
    said = mapping(mapping(raw.get("verdict")).get("helpers"))
    looks = styles([False] * len(raw["helpers"]))
    helpers = tuple(
        Helper(
            task=str(task),
            style=style,
            word=str(mapping(said.get(task)).get("word") or "undefined"),
            sentence=str(mapping(said.get(task)).get("sentence") or "").removeprefix(f"{task}: "),
            add=mapping(mapping(entry).get("add")),
            leave=mapping(mapping(entry).get("leave")),
        )
        for (task, entry), style in zip(raw["helpers"].items(), looks, strict=True)
    )
    recommended = mapping(raw.get("recommended")).get("id")
    sets = _sets([mapping(entry) for entry in raw["sets"]], helpers, recommended)
    return Selection(results, raw["main"], helpers, sets)


def _sets(
    entries: list[Mapping[str, Any]], helpers: tuple[Helper, ...], recommended: Any
) -> tuple[HelperSet, ...]:
    """The sets in the order of the file; one of a single helper looks as the helper does."""
    looks = {helper.task: helper.style for helper in helpers}
    found = []
    for entry in entries:
        names = entry.get("helpers") or []
        style = looks.get(names[0]) if len(names) == 1 else None
        found.append(
            HelperSet(
                name=str(entry.get("name") or entry.get("id")),
                style=style or Style("ink" if names else "muted", "s" if names else "", "solid"),
                chosen=recommended is not None and entry.get("id") == recommended,
                raw=entry,
            )
        )
    return tuple(found)
