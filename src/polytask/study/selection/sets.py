"""The sets of helpers that are trained to prove what each of the finalists is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polytask.report.numbers import MINUS
from polytask.study.plan import joined

Helpers = frozenset[str]


@dataclass(frozen=True)
class HelperSet:
    """Helpers that train along with the main task; none for the main task alone."""

    helpers: tuple[str, ...]

    @property
    def key(self) -> Helpers:
        """Two sets of the same helpers are one, however they came about."""
        return frozenset(self.helpers)

    @property
    def id(self) -> str:
        """Part of the names of its runs' folders; the same whichever are the finalists."""
        if not self.helpers:
            return "alone"
        return f"with-{joined(self.helpers)}"


def helper_sets(candidates: Sequence[str], finalists: Sequence[str]) -> tuple[HelperSet, ...]:
    """None; each finalist alone; all finalists; all but one of them; all candidates.

    Every set once, in this order: of two finalists, "all but one" is the other one alone. Helpers
    stand in the order of the candidates.
    """
    chosen = [task for task in candidates if task in finalists]
    found: dict[Helpers, HelperSet] = {}
    groups: list[list[str]] = [[], *([task] for task in chosen), chosen]
    groups += [[other for other in chosen if other != task] for task in chosen]
    groups.append(list(candidates))
    for group in groups:
        helpers = HelperSet(tuple(group))
        found.setdefault(helpers.key, helpers)
    return tuple(found.values())


def without(helpers: Sequence[str], task: str) -> Helpers:
    """All of `helpers` but one."""
    return frozenset(helpers) - {task}


def count_sets(candidates: int, finalists: int) -> int:
    """How many sets `helper_sets` makes, which does not depend on who the finalists are.

    >>> count_sets(13, 3), count_sets(13, 2), count_sets(1, 1)
    (9, 5, 2)
    """
    names = [str(place) for place in range(candidates)]
    return len(helper_sets(names, names[: min(candidates, finalists)]))


def set_name(
    helpers: Sequence[str], main: str, candidates: Sequence[str], finalists: Sequence[str]
) -> str:
    """What a set is called; one that is two of these (see `helper_sets`) by the first.

    >>> set_name([], "y", "abcd", "abc"), set_name(["b"], "y", "abcd", "abc")
    ('y alone', '+ b')
    >>> set_name("abc", "y", "abcd", "abc"), set_name("bc", "y", "abcd", "abc")
    ('all 3 finalists', 'finalists − a')
    >>> set_name("abcd", "y", "abcd", "abc"), set_name("abc", "y", "abc", "abc")
    ('all 4 candidates', 'all 3 candidates')
    """
    if not helpers:
        return f"{main} alone"
    if len(helpers) == 1:
        return f"+ {helpers[0]}"
    if set(helpers) == set(candidates):
        return f"all {len(candidates)} candidates"
    if set(helpers) == set(finalists):
        return f"all {len(finalists)} finalists"
    left = sorted(set(finalists) - set(helpers))
    return f"finalists {MINUS} {', '.join(left)}"
