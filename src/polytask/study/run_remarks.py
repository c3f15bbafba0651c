"""What single runs of a study had to remark, gathered: one entry a kind, not one a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polytask.study.folder import Outcome
from polytask.study.plan import Contender, Plan

NUMBER = re.compile(r"(?<![\w'\".,-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w:'\"])")
"""A number of a sentence: `812` or `1,204`, but none of a quoted name, or a name before a colon."""

Place = tuple[str, int]
"""A network's id and a seed."""


@dataclass
class Kind:
    """One sentence, whatever its numbers, and the runs that said it."""

    texts: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


def run_remarks(
    plan: Plan,
    runs: Mapping[str, Sequence[Outcome | None]],
    names: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The "run_remarks" of `results.json`: what most runs said comes first.

    Remarks that differ in their numbers alone are one: `the gradient of 'a' was 812 to 1,204 times
    that of 'b'`.

    Args:
        plan: the study's, for the order of its networks.
        runs: the finished runs at the chosen rate by network, by seed; None where there is none.
        names: what candidates are called, by id.

    Returns:
        `{"remark", "networks": [{"id", "name", "seeds", "finished"}]}` each: in which of its
        `finished` runs a network said it. Empty when no run had anything to say.
    """
    kinds: dict[str, Kind] = {}
    for contender in plan.contenders:
        for seed, run in enumerate(runs[contender.id]):
            for remark in run.get("remarks", ()) if run else ():
                text = _of_any(contender, remark)
                kind = kinds.setdefault(NUMBER.sub("#", text), Kind())
                kind.texts.append(text)
                kind.places.append((contender.id, seed))
    ranked = sorted(kinds.values(), key=lambda kind: -len(set(kind.places)))
    return [_entry(kind, plan, runs, names) for kind in ranked]


def merged(texts: Sequence[str]) -> str:
    """Sentences that differ in their numbers alone as one, with the range of each number.

    >>> merged(["ended after epoch 7 of 20", "ended after epoch 12 of 20"])
    'ended after epoch 7 to 12 of 20'
    """
    spans = []
    for column in zip(*map(NUMBER.findall, texts), strict=True):
        ordered = sorted(set(column), key=lambda number: float(number.replace(",", "")))
        spans.append(ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}")
    found = iter(spans)
    return NUMBER.sub(lambda _: next(found), texts[0])


def _of_any(contender: Contender, remark: str) -> str:
    """A remark without the name of the one task that a separate network has.

    Each of these follows a rule of its own, so the same remark would be another one for every task.
    """
    return (
        remark.replace(f"'main:{contender.tasks[0]}'", "its score") if contender.single else remark
    )


def _entry(
    kind: Kind,
    plan: Plan,
    runs: Mapping[str, Sequence[Outcome | None]],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """One kind of remark, with its networks in the order of the plan."""
    networks = []
    for contender in plan.contenders:
        seeds = sorted({seed for network, seed in kind.places if network == contender.id})
        if seeds:
            networks.append(
                {
                    "id": contender.id,
                    "name": names.get(contender.id, f"{contender.tasks[0]} alone"),
                    "seeds": seeds,
                    "finished": sum(run is not None for run in runs[contender.id]),
                }
            )
    return {"remark": merged(kind.texts), "networks": networks}
