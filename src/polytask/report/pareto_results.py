"""Reading the `results.json` of a front of trade-offs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polytask.report.kinds import PARETO
from polytask.report.read_kind import read_kind
from polytask.report.results import Results, Style, failure_text, failures, mapping, styles, triple

_REQUIRED = {"points": list, "single_task": Mapping, "steering": Mapping}


@dataclass(frozen=True)
class FrontPoint:
    """One trade-off, with the number and the style it has everywhere."""

    number: int
    style: Style
    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its preference in words."""
        return str(self.raw.get("name") or self.raw.get("id"))

    @property
    def front(self) -> bool | None:
        """Whether no other point beats it on validation; None before it has scores."""
        found = self.raw.get("front")
        return found if isinstance(found, bool) else None

    def task(self, name: str) -> Mapping[str, Any]:
        """The entry of one task."""
        return mapping(mapping(self.raw.get("tasks")).get(name))

    def gain(self, name: str) -> tuple[Any, Any, Any]:
        """Mean, low and high of the gain over single-task on one task, in percent."""
        return triple(self.task(name), "gain_")

    def cost(self, key: str) -> Any:
        """One entry of `cost`, None when it was not measured."""
        return mapping(self.raw.get("cost")).get(key)


@dataclass(frozen=True)
class Front:
    """A checked `results.json` of a front; `results` answers what is asked of any study."""

    results: Results
    points: tuple[FrontPoint, ...]

    @property
    def raw(self) -> Mapping[str, Any]:
        """The file's content."""
        return self.results.raw

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks."""
        return list(self.results.tasks)

    @property
    def steering(self) -> Mapping[str, Mapping[str, Any]]:
        """What counting most does to each task's own score."""
        found = self.results.section("steering")
        return {str(task): mapping(entry) for task, entry in found.items()}

    @property
    def volume(self) -> Mapping[str, Any]:
        """The hypervolume with its reference, or why there is none."""
        return self.results.section("hypervolume")

    def single(self, task: str) -> Mapping[str, Any]:
        """The single-task scores of a task."""
        return mapping(self.results.single_task.get(task))

    def metric(self, task: str) -> str:
        """A task's primary metric with its direction."""
        named = mapping(self.results.tasks.get(task)).get("metric", "score")
        return f"{named} {self.results.arrow(task)}"

    @property
    def failures(self) -> list[str]:
        """Every run that failed, in words."""
        models = [(f"single-task, {t}", mapping(e)) for t, e in self.results.single_task.items()]
        models += [(point.name, point.raw) for point in self.points]
        return [failure_text(label, f) for label, entry in models for f in failures(entry)]


def read_front(source: Mapping[str, Any] | Path | str) -> Front:
    """Check the results of a front: a dict, a `results.json` or the folder that holds one.

    Raises `UserError` when they are none.
    """
    results = read_kind(source, PARETO, _REQUIRED)
    entries = [mapping(entry) for entry in results.raw["points"]]
    looks = styles([False] * len(entries))
    points = tuple(
        FrontPoint(number, style, entry)
        for number, (entry, style) in enumerate(zip(entries, looks, strict=True), start=1)
    )
    return Front(results, points)
