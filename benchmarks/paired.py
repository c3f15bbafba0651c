"""Paired differences of contenders from one of them, by seed, with intervals and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polytask.study.statistics import ALPHA, Interval, holm, paired_interval

Difference = tuple[Interval, float | None]
"""The 95 % t-interval of the paired differences, and its p adjusted for their number."""
WORDS = ("better", "worse", "leans better", "leans worse", "tie")


def compared(seeds: Sequence[Mapping[str, float]], other: str) -> dict[str, Difference]:
    """Every contender's paired difference from `other`, with its p adjusted by Holm.

    `seeds` has a mapping a seed, from contenders to errors.
    """
    found = {
        name: paired_interval([errors[name] - errors[other] for errors in seeds])
        for name in seeds[0]
        if name != other
    }
    adjusted = holm([interval.p for interval in found.values()])
    return {name: (found[name], p) for name, p in zip(found, adjusted, strict=True)}


def word(interval: Interval, p: float | None) -> str:
    """`better`, `worse`, either with `leans` before it, or `tie`; a lower error is better."""
    if interval.mean is None or interval.low is None or interval.high is None:
        return "tie"
    side = "better" if interval.mean < 0 else "worse"
    if p is not None and p < ALPHA:
        return side
    return f"leans {side}" if interval.low > 0 or interval.high < 0 else "tie"


def said(interval: Interval, p: float | None) -> str:
    """The difference, its interval and the word; of one seed there is no interval."""
    found = written(interval, "+.2f")
    return found if interval.low is None else f"{found} {word(interval, p)}"


def written(found: Interval, form: str) -> str:
    """`-1.20 [-1.80, -0.60]`."""
    if found.low is None:
        return f"{found.mean:{form}} (one seed)"
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def counted(differences: Mapping[str, Difference]) -> str:
    """Who is better, who is worse and who ties: ``better `a`; tie `b`, `c` ``."""
    of = {w: [f"`{n}`" for n, found in differences.items() if word(*found) == w] for w in WORDS}
    return "; ".join(f"{w} {', '.join(names)}" for w, names in of.items() if names)
