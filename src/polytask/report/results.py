"""Reading `results.json`: checked once, put in the order in which everything shows it.

Candidates are ordered by Δm on test, best first, and each keeps one label and one style
(colour, marker, dash) through the table, the plots and the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polytask.errors import UserError
from polytask.report.kinds import KINDS, kind_of
from polytask.report.load import load, locate
from polytask.report.names import model_name
from polytask.report.numbers import number

SCHEMA = 1
_REQUIRED = {"tasks": Mapping, "single_task": Mapping, "candidates": list}
# Shapes and colours for the methods being compared; the baselines are grey and have their own.
_MARKERS = ("o", "^", "D", "v", "P", "p", "*", "<", ">", "h", "8")
_COLOURS = 7
_BASELINE_MARKERS = ("s", "X", "d")


@dataclass(frozen=True)
class Style:
    """How a model is drawn: a colour token (see `svg.py`), a marker, a dash pattern."""

    colour: str = "muted"
    marker: str = "s"
    dash: str = "solid"


SINGLE_STYLE = Style("ink", "", "dashed")
BOOSTING_STYLE = Style("muted", "d", "dotted")


@dataclass(frozen=True)
class Candidate:
    """One entry of `candidates`, with the label and the style it has everywhere."""

    id: str
    label: str
    style: Style
    baseline: bool
    chosen: bool
    raw: Mapping[str, Any]

    @property
    def delta_m(self) -> tuple[Any, Any, Any]:
        """Mean, low and high of Δm on test at equal epochs, in percent; each may be undefined."""
        return triple(self.raw.get("delta_m"), "")

    @property
    def equal_time(self) -> tuple[Any, Any, Any]:
        """The same with every learning curve cut at the measured cost of the baseline."""
        return triple((self.raw.get("equal_time") or {}).get("delta_m"), "")

    def task(self, name: str) -> Mapping[str, Any]:
        """The entry of one task, empty when the study holds none."""
        return mapping(mapping(self.raw.get("tasks")).get(name))

    def gain(self, name: str) -> tuple[Any, Any, Any]:
        """Mean, low and high of the gain on one task, in percent."""
        return triple(self.task(name), "gain_")

    def cost(self, key: str) -> Any:
        """One entry of `cost`, None when it was not measured."""
        return mapping(self.raw.get("cost")).get(key)

    @property
    def versus_linear(self) -> tuple[Any, Any, Any]:
        """Mean, low and high of the paired difference of Δm to equal weights."""
        return triple(self.raw.get("versus_linear"), "")

    @property
    def failed(self) -> list[Mapping[str, Any]]:
        """Runs that did not finish: seed, learning rate and cause."""
        return failures(self.raw)


@dataclass(frozen=True)
class Results:
    """A checked `results.json`. `raw` is the dict itself, `file` where it was read from."""

    raw: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]
    candidates: tuple[Candidate, ...]
    seeds: tuple[Any, ...] = field(default=())
    file: Path | None = None

    @property
    def name(self) -> str:
        """The name of the study."""
        return str(self.raw.get("name") or "study")

    @property
    def chosen(self) -> Candidate | None:
        """The candidate chosen on validation."""
        return next((candidate for candidate in self.candidates if candidate.chosen), None)

    @property
    def boosting(self) -> Mapping[str, Mapping[str, Any]]:
        """Gradient boosting per target, empty for data that is no table."""
        return mapping(self.raw.get("boosting"))

    @property
    def single_task(self) -> Mapping[str, Mapping[str, Any]]:
        """The single-task networks, keyed by task."""
        return mapping(self.raw.get("single_task"))

    @property
    def several(self) -> bool:
        """Whether more than one architecture is compared."""
        return len({candidate.raw.get("architecture") for candidate in self.candidates}) > 1

    @property
    def complete(self) -> bool:
        """Whether every planned run is in."""
        return bool(self.raw.get("complete", True)) and not self.raw.get("missing")

    @property
    def failures(self) -> list[str]:
        """Every run that failed, in words."""
        models = [(f"single-task, {task}", entry) for task, entry in self.single_task.items()]
        models += [(candidate.label, candidate.raw) for candidate in self.candidates]
        models += [(f"gradient boosting, {task}", entry) for task, entry in self.boosting.items()]
        return [
            failure_text(label, failure)
            for label, entry in models
            for failure in failures(mapping(entry))
        ]

    def section(self, key: str) -> Mapping[str, Any]:
        """A dict of the file, empty when it is not there."""
        return mapping(self.raw.get(key))

    def arrow(self, task: str) -> str:
        """'↑' where higher is better, '↓' where lower is."""
        return "↑" if self.tasks[task].get("direction") == "max" else "↓"


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` when it is a dict, else an empty one: an incomplete study leaves holes."""
    return value if isinstance(value, Mapping) else {}


def failures(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The failed runs of a model."""
    return [mapping(failure) for failure in entry.get("failed") or []]


def failure_text(label: str, failure: Mapping[str, Any]) -> str:
    """What failed of a model, and why."""
    rate = number(failure.get("lr"))
    return (
        f"{label}, seed {failure.get('seed', '?')}"
        + (f", learning rate {rate:g}" if rate else "")
        + f" failed: {failure.get('cause', 'no cause was recorded')}"
    )


def triple(entry: Any, prefix: str) -> tuple[Any, Any, Any]:
    """(mean, low, high) of an entry; an undefined entry is undefined three times."""
    if isinstance(entry, Mapping) and "undefined" not in entry:
        return (entry.get(f"{prefix}mean"), entry.get(f"{prefix}low"), entry.get(f"{prefix}high"))
    return (entry, entry, entry)


def read(results: Mapping[str, Any] | Path | str) -> Results:
    """Check a results dict, a `results.json` or the folder that holds one.

    Raises:
        UserError: the file is missing, is no JSON, or is not a study's results.
    """
    file = None if isinstance(results, Mapping) else locate(Path(results))
    raw = results if isinstance(results, Mapping) else load(Path(results))
    where = f" in {str(file)!r}" if file else ""
    if kind := kind_of(raw):
        raise UserError(
            f"expected a comparison, found {KINDS[kind]}{where}; it has a page of its own. Give it "
            "alone."
        )
    schema = raw.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise UserError(
            f"expected results of schema {SCHEMA}, found schema {schema!r}{where}; "
            "use the polytask version that made them, or run the study again."
        )
    absent = [key for key, kind in _REQUIRED.items() if not isinstance(raw.get(key), kind)]
    if absent:
        raise UserError(
            f"expected the results of a study{where}, found no {' and no '.join(map(repr, absent))}"
            " in them; give the results.json that `polytask compare` writes."
        )
    return Results(
        raw=raw,
        tasks={str(name): mapping(task) for name, task in raw["tasks"].items()},
        candidates=_candidates(raw),
        seeds=tuple(raw.get("seeds") or ()),
        file=file,
    )


def _candidates(raw: Mapping[str, Any]) -> tuple[Candidate, ...]:
    entries = [mapping(entry) for entry in raw["candidates"]]
    several = len({entry.get("architecture") for entry in entries}) > 1
    labels = [
        model_name(
            str(entry.get("label") or entry.get("id")), str(entry.get("architecture")), several
        )
        for entry in entries
    ]
    looks = styles([bool(entry.get("baseline")) for entry in entries])
    made = []
    for entry, label, style in zip(entries, labels, looks, strict=True):
        made.append(
            Candidate(
                id=str(entry.get("id")),
                label=label,
                style=style,
                baseline=bool(entry.get("baseline")),
                chosen=entry.get("id") is not None and entry.get("id") == raw.get("chosen"),
                raw=entry,
            )
        )
    return tuple(sorted(made, key=_order))


def styles(baselines: Sequence[bool]) -> list[Style]:
    """A style for each of several models, the baselines among them in grey."""
    return [
        _style(baselines[:index].count(baseline), baseline)
        for index, baseline in enumerate(baselines)
    ]


def _style(index: int, baseline: bool) -> Style:
    dashes = ("solid", "dashed", "dotted")
    if baseline:
        marker = _BASELINE_MARKERS[index % len(_BASELINE_MARKERS)]
        return Style("muted", marker, dashes[index % len(dashes)])
    return Style(
        f"c{index % _COLOURS}",
        _MARKERS[index % len(_MARKERS)],
        dashes[index // _COLOURS % len(dashes)],
    )


def _order(candidate: Candidate) -> tuple[bool, float]:
    mean = number(candidate.delta_m[0])
    return (mean is None, -(mean or 0.0))
