"""Where tasks agree and where they fight: the cosines of their gradients, pair by pair.

A cosine counts only when it lies beyond its null level, which 95 % of unrelated pairs stay
under: what is smaller in magnitude is noise, whatever its sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from polytask.report.numbers import number, reason
from polytask.report.results import Results, mapping

AGREE, FIGHT, NOISE = "agree", "fight", "noise"
UNJUDGED, UNDEFINED = "unjudged", "undefined"
AS_GIVEN = 6
"""Up to this many tasks keep the order of the study; more are put beside their like."""


@dataclass(frozen=True)
class Pair:
    """Two tasks, the cosine of their gradients, its standard error and its null level."""

    one: str
    other: str
    cosine: float | None
    error: float | None
    null: float | None
    why: str = ""
    """Why the cosine is undefined."""
    groups: int | None = None
    """How many independent parts of the measurement the standard error comes from."""

    @property
    def reading(self) -> str:
        """AGREE or FIGHT beyond the null level, NOISE within it; else why there is none."""
        if self.cosine is None:
            return UNDEFINED
        if self.null is None:
            return UNJUDGED
        if abs(self.cosine) <= self.null:
            return NOISE
        return AGREE if self.cosine > 0 else FIGHT

    @property
    def told(self) -> bool:
        """Whether the pair is told from noise."""
        return self.reading in (AGREE, FIGHT)


@dataclass(frozen=True)
class Conflict:
    """The cosines of one architecture. `tasks` is the order in which they are shown."""

    architecture: str
    method: str
    statistic: str
    tasks: tuple[str, ...]
    pairs: tuple[Pair, ...]
    """Every pair once, the strongest first: beyond noise, within it, undefined."""
    samples: int | None
    seeds: int | None
    blocks: int | None

    @property
    def judged(self) -> list[Pair]:
        """The pairs with a cosine and a null level."""
        return [pair for pair in self.pairs if pair.told or pair.reading == NOISE]

    @property
    def nulls(self) -> list[float]:
        """The null levels, smallest first."""
        return sorted(pair.null for pair in self.pairs if pair.null is not None)


def conflicts(results: Results) -> list[Conflict]:
    """What the study measured, one entry an architecture; [] when it measured none."""
    found = results.raw.get("conflict")
    entries = map(mapping, found if isinstance(found, list) else [])
    return [_conflict(entry) for entry in entries if len(set(entry.get("tasks") or [])) > 1]


def _conflict(entry: Mapping[str, Any]) -> Conflict:
    names = list(dict.fromkeys(map(str, entry["tasks"])))
    pairs = [
        Pair(
            names[i],
            names[j],
            cosine=number(value := _at(entry, "cosine", i, j)),
            error=number(_at(entry, "standard_error", i, j)),
            null=number(_at(entry, "null", i, j)),
            why=reason(value) or "",
            groups=None if (count := number(_at(entry, "groups", i, j))) is None else round(count),
        )
        for i, j in combinations(range(len(names)), 2)
    ]
    counts = (number(entry.get(key)) for key in ("samples", "seeds", "blocks"))
    samples, seeds, blocks = (None if count is None else round(count) for count in counts)
    return Conflict(
        architecture=str(entry.get("architecture") or ""),
        method=str(entry.get("method") or "linear"),
        statistic=str(entry.get("statistic") or ""),
        tasks=tuple(names if len(names) <= AS_GIVEN else _seriated(names, pairs)),
        pairs=tuple(sorted(pairs, key=_strength)),
        samples=samples,
        seeds=seeds,
        blocks=blocks,
    )


def _at(entry: Mapping[str, Any], key: str, row: int, column: int) -> Any:
    """One cell of a matrix; None where a damaged file has none."""
    try:
        return entry[key][row][column]
    except (KeyError, IndexError, TypeError):
        return None


def _strength(pair: Pair) -> tuple[int, float]:
    places = {AGREE: 0, FIGHT: 0, NOISE: 1, UNJUDGED: 1, UNDEFINED: 2}
    return (places[pair.reading], -abs(pair.cosine or 0.0))


def _seriated(names: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """An order that puts tasks beside those they agree with.

    The order of the Fiedler vector of the graph whose weights are 1 + cosine, the classical
    relaxation of "like beside like" (Atkins, Boman & Hendrickson, 1998). An undefined cosine
    counts as 0, and so does noise: its sign should move nothing.
    """
    place = {name: index for index, name in enumerate(names)}
    weights = np.ones((len(names), len(names))) - np.eye(len(names))
    for pair in pairs:
        i, j = place[pair.one], place[pair.other]
        cosine = pair.cosine if pair.cosine is not None and pair.reading != NOISE else 0.0
        weights[i, j] = weights[j, i] = 1.0 + min(1.0, max(-1.0, cosine))
    _, vectors = np.linalg.eigh(np.diag(weights.sum(1)) - weights)
    fiedler = vectors[:, 1]
    # An eigenvector has no sign of its own; the first task goes to the front.
    fiedler = fiedler if fiedler[0] <= 0 else -fiedler
    return [names[index] for index in np.argsort(np.round(fiedler, 9), kind="stable")]
