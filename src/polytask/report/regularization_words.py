"""What the terms on the networks' weights found, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polytask.report.numbers import fixed, number, numbers, plural, signed
from polytask.report.results import Results, mapping
from polytask.report.words import listing

NAMES = {
    "l2": "l2: networks drawn to their mean",
    "trace_norm": "trace_norm: few directions for all tasks",
    "tucker": "tucker: few directions along every dimension",
    "tensor_train": "tensor_train: few directions at every cut",
    "block_sparse": "block_sparse: inputs that all tasks use, or none",
    "cluster": "cluster: tasks in groups",
    "mrn": "mrn: a learned covariance of the tasks",
    "amtl": "amtl: transfer from tasks that are learned well",
    "decorrelation": "decorrelation: networks held apart",
}
HOW = (
    "A term is minimised beside the tasks' losses and acts on the weights of the tasks' networks, "
    "never on their outputs. Numbers are of the networks at their chosen epochs, mean over seeds; "
    "weights have their names in the network, those next to the input first. What a term finds is "
    "no measurement of gain, which is judged above, on test."
)

_ALIKE = 0.05
"""Pairs whose numbers differ by less are not told apart."""
_START = " Networks that start from the same weights are: it tells little of the tasks."


def called(name: str) -> str:
    """A term with what it does, in few words; another's by its name alone."""
    return NAMES.get(name, name)


def caption(key: str, words: Mapping[str, Any]) -> str:
    """What an entry of a term's diagnostics is, by its own words; else its name."""
    if key == "together":
        return "share of seeds in which two tasks are in one cluster"
    return str(words.get(key) or key)


def sentences(found: Mapping[str, Any], seeds: int, tasks: Sequence[str]) -> list[str]:
    """What the numbers of a term say; only of those entries whose meaning is known."""
    said = [
        sentence for key, say in _SAID.items() if key in found and (sentence := say(found, tasks))
    ]
    if "cluster" in found:
        said.insert(0, _groups(found, seeds))
    return [sentence for sentence in said if sentence]


def terminal_line(results: Results) -> list[str]:
    """Where to look, in one line; none for a study without terms."""
    if not results.raw.get("regularization"):
        return []
    return ["What the terms on weights found (ranks, relations of tasks) is in the report."]


def _groups(found: Mapping[str, Any], seeds: int) -> str:
    """The commonest partition, or that there is none; who is together in all seeds."""
    groups = mapping(found.get("cluster")).get("groups")
    if not isinstance(groups, list) or not groups:
        return ""
    often = round(number(mapping(found.get("cluster")).get("seeds")) or 0)
    named = "; ".join(listing([str(task) for task in group]) for group in groups)
    if seeds > 1 and often == 1:
        return f"No two of the {seeds} seeds part the tasks alike.{_always(found)}"
    shown = "every seed" if often == seeds else f"{often} of {seeds} seeds"
    when = f" in {shown}" if seeds > 1 else ""
    if len(groups) == 1:
        return f"All tasks are in one cluster{when}: no parting was found."
    more = _always(found) if often < seeds else ""
    return f"{plural(len(groups), 'cluster')}{when}: {named}.{more}"


def _always(found: Mapping[str, Any]) -> str:
    """Tasks that are in one cluster in all seeds."""
    rows = mapping(found.get("together"))
    told = {
        tuple(other for other in rows if number(mapping(rows[task]).get(other)) == 1)
        for task in rows
    }
    several = sorted(group for group in told if len(group) > 1)
    if not several:
        return ""
    return f" Always together: {'; '.join(listing(group) for group in several)}."


def _within(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
    share = number(found.get("within"))
    if share is None:
        return ""
    return (
        f"{_percent(share)} of the networks' squared distances from their mean are left inside the "
        "clusters; the rest is between them."
    )


def _rank(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
    ranks = numbers(mapping(found.get("rank")).values())
    if not ranks:
        return ""
    mean = sum(ranks) / len(ranks)
    most = plural(len(tasks), "direction")
    over = "" if len(ranks) == 1 else f", mean over {len(ranks)} weights"
    return (
        f"The weights of the {len(tasks)} tasks span {_count(mean)} of {most}{over}; 1 would be "
        "one network for all, but for its length."
    )


def _ranks(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
    """Of the tasks' dimension, which comes first."""
    firsts = [v[0] for v in mapping(found.get("ranks")).values() if isinstance(v, list) and v]
    ranks = numbers(firsts)
    if not ranks:
        return ""
    return _rank({"rank": dict(enumerate(ranks))}, tasks)


def _spread(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
    shares = numbers(mapping(found.get("spread")).values())
    if not shares:
        return ""
    mean = sum(shares) / len(shares)
    return (
        f"What the networks do not have in common is {_percent(mean)} of the squares of a weight "
        "on average; 0 % would be one network for all."
    )


def _zero(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
    by_weight = [mapping(one) for one in mapping(found.get("groups")).values()]
    total = sum(numbers(one.get("groups") for one in by_weight))
    if not total:
        return ""
    zero = sum(numbers(one.get("zero") for one in by_weight))
    more = "" if zero else " Gradients never reach 0; proximal steps (prox: true) do."
    return f"{_percent(zero / total)} of the groups of weights are zero in all tasks.{more}"


def _alike(key: str) -> Callable[[Mapping[str, Any], Sequence[str]], str]:
    """The pair with the largest and that with the smallest number."""

    def say(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
        pairs = _pairs(mapping(found.get(key)), tasks)
        if not pairs:
            return ""
        (one, other), most = max(pairs.items(), key=lambda pair: pair[1])
        if len(pairs) == 1:
            return f"{one} and {other}: {signed(most, 2)}."
        (left, right), least = min(pairs.items(), key=lambda pair: pair[1])
        if most - least < _ALIKE:
            ends = f"{signed(least, 2)} to {signed(most, 2)}"
            return f"All pairs are about alike ({ends}).{_START if least > 0.5 else ''}"
        return (
            f"Most alike are {one} and {other} ({signed(most, 2)}), least {left} and {right} "
            f"({signed(least, 2)})."
        )

    return say


def _transfer(found: Mapping[str, Any], tasks: Sequence[str]) -> str:
    rows = mapping(found.get("transfer"))
    shares = {
        (giver, taker): share
        for giver in tasks
        for taker in tasks
        if giver != taker and (share := number(mapping(rows.get(giver)).get(taker))) is not None
    }
    if not shares:
        return ""
    (giver, taker), most = max(shares.items(), key=lambda pair: pair[1])
    if round(most, 2) == 0:
        return "No network is drawn to a mixture of others: nothing is transferred."
    idle = [
        task for task in tasks if not any(round(s, 2) for (g, _), s in shares.items() if g == task)
    ]
    said = f"Most is transferred from {giver} to {taker} ({fixed(most, 2)})."
    if idle and len(idle) < len(tasks):
        said += f" Nothing is given by {listing(idle)}."
    return said


def _pairs(value: Mapping[str, Any], tasks: Sequence[str]) -> dict[tuple[str, str], float]:
    """Numbers of unordered pairs; the mean over weights where there are several."""
    layers = [value] if set(value) <= set(tasks) else [mapping(one) for one in value.values()]
    found: dict[tuple[str, str], float] = {}
    for place, one in enumerate(tasks):
        for other in tasks[place + 1 :]:
            known = numbers(mapping(layer.get(one)).get(other) for layer in layers)
            if known:
                found[one, other] = sum(known) / len(known)
    return found


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{fixed(percent, 0 if percent >= 10 or percent == 0 else 1)} %"


def _count(value: float) -> str:
    return fixed(value, 0 if value == round(value) else 1)


_SAID: dict[str, Callable[[Mapping[str, Any], Sequence[str]], str]] = {
    "within": _within,
    "rank": _rank,
    "ranks": _ranks,
    "spread": _spread,
    "groups": _zero,
    "correlation": _alike("correlation"),
    "cosine": _alike("cosine"),
    "transfer": _transfer,
}
