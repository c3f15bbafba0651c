"""Several studies side by side: which they are, and what a method did in each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from polytask.errors import UserError
from polytask.report.names import model_name
from polytask.report.numbers import number
from polytask.report.ranks import mean_ranks
from polytask.report.results import Candidate, Results, Style, read, styles

Key = tuple[str, str]
"""What makes a method the same in two studies: its label and its architecture."""


@dataclass(frozen=True)
class Study:
    """A study and what it is called among the others."""

    label: str
    folder: str
    results: Results

    def candidate(self, key: Key) -> Candidate | None:
        """The candidate of this method, None where the study does not have it."""
        return next((c for c in self.results.candidates if key_of(c) == key), None)


Studies = tuple[Study, ...]


@dataclass(frozen=True)
class Method:
    """A method with its Δm in every study (None: not there), its mean and its mean rank."""

    label: str
    key: Key
    style: Style
    baseline: bool
    gains: tuple[tuple[Any, Any, Any] | None, ...]
    mean: float | None = None
    """Plain mean of Δm over the studies; None unless it has one in every study."""
    rank: float | None = None
    """Mean rank, 1 = best, among the methods that have a Δm in every study."""


def gather(sources: Sequence[Mapping[str, Any] | Path | str]) -> Studies:
    """Read the studies and name them: by their own name, and by folder where names repeat.

    Raises:
        UserError: there is none, one is no study, or one is given twice.
    """
    if not sources:
        raise UserError("which studies? Give one folder or more, or their results.json.")
    found = [read(source) for source in sources]
    files = [results.file.resolve() for results in found if results.file]
    for results in found:
        if results.file and files.count(results.file.resolve()) > 1:
            raise UserError(
                f"the study in {str(results.file.parent)!r} is given twice; once will do."
            )
    names = Counter(results.name for results in found)
    made: list[Study] = []
    for place, results in enumerate(found, start=1):
        folder = str(results.file.parent) if results.file else ""
        other = folder or f"number {place}"
        label = results.name if names[results.name] == 1 else f"{results.name} ({other})"
        made.append(Study(label, folder, results))
    return tuple(made)


def key_of(candidate: Candidate) -> Key:
    """The method of a candidate, whatever the study."""
    raw = candidate.raw
    return str(raw.get("label") or candidate.id), str(raw.get("architecture") or "")


def alike(studies: Studies) -> Studies:
    """The same studies with one style a method, whichever study it stands in."""
    drawn = {method.key: method.style for method in methods(studies)}
    return tuple(
        replace(
            study,
            results=replace(
                study.results,
                candidates=tuple(
                    replace(c, style=drawn[key_of(c)]) for c in study.results.candidates
                ),
            ),
        )
        for study in studies
    )


def methods(studies: Studies) -> list[Method]:
    """Every method of every study, the best mean rank first, then those not in every study."""
    first: dict[Key, Candidate] = {}
    for study in studies:
        for candidate in study.results.candidates:
            first.setdefault(key_of(candidate), candidate)
    several = len({architecture for _, architecture in first}) > 1
    looks = dict(zip(first, styles([c.baseline for c in first.values()]), strict=True))
    found = []
    for key, candidate in first.items():
        there = [study.candidate(key) for study in studies]
        gains = tuple(None if c is None else c.delta_m for c in there)
        label = model_name(*key, several)
        found.append(Method(label, key, looks[key], candidate.baseline, gains))
    return sorted(_judged(found), key=_order)


def shared(found: Sequence[Method]) -> list[Method]:
    """The methods with a Δm in every study: only they can be averaged and ranked."""
    return [method for method in found if None not in _means(method)]


def means_of(found: Sequence[Method]) -> list[list[float]]:
    """Δm of the shared methods, one row a study."""
    columns = [[m for m in _means(method) if m is not None] for method in shared(found)]
    return [list(row) for row in zip(*columns, strict=True)]


def _judged(found: list[Method]) -> list[Method]:
    kept = shared(found)
    ranked = mean_ranks(means_of(found)) if len(kept) > 1 else [None] * len(kept)
    ranks = {method.key: rank for method, rank in zip(kept, ranked, strict=True)}
    return [
        replace(
            method, mean=fmean(m for m in _means(method) if m is not None), rank=ranks[method.key]
        )
        if method.key in ranks
        else method
        for method in found
    ]


def _means(method: Method) -> list[float | None]:
    return [None if gain is None else number(gain[0]) for gain in method.gains]


def _order(method: Method) -> tuple[bool, float, float]:
    return (method.mean is None, method.rank or 0.0, -(method.mean or 0.0))
