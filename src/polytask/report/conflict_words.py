"""What the task-conflict map says, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from polytask.report.conflict import AGREE, FIGHT, UNDEFINED, UNJUDGED, Conflict, Pair
from polytask.report.numbers import MINUS, decimals_of, fixed, plural, signed

_NAMED = 3  # pairs said by name; the others are counted
FEW_SEEDS = 3  # from so many on the error is one across networks, not within them
_MANY = 10  # with so many pairs chance alone is expected to cross the null level somewhere
_WHERE = {
    "tail": "the last shared layers",
    "exact": "all shared parameters",
    "features": "the shared features",
}


def cosine_text(pair: Pair) -> str:
    """'+0.42', or 'undefined'."""
    return UNDEFINED if pair.cosine is None else signed(pair.cosine, 2)


def error_text(pair: Pair) -> str:
    """'±0.05', '' without a standard error, or a cosine that it is of."""
    if pair.error is None or pair.cosine is None:
        return ""
    small = 0 < pair.error < 0.005
    return f"±{fixed(pair.error, min(4, decimals_of(pair.error)) if small else 2)}"


def reading_text(pair: Pair) -> str:
    """What a reader may conclude from one pair."""
    if pair.cosine is None:
        return f"undefined: {pair.why}"
    said = {AGREE: "agree", FIGHT: "fight", "noise": "not told from 0"}
    return said.get(pair.reading, "no null level was measured")


def pair_title(pair: Pair) -> str:
    """Everything known of a pair in one line, for a pointer over its cell."""
    if pair.cosine is None:
        return f"{pair.one} and {pair.other}: undefined ({pair.why})"
    level = "" if pair.null is None else f", null level {fixed(pair.null, 2)}"
    return f"{pair.one} and {pair.other}: {_value(pair)}{level}; {reading_text(pair)}"


def sentences(conflict: Conflict) -> list[str]:
    """Who fights, who agrees, what cannot be told, and what chance alone would show."""
    judged = conflict.judged
    fighting = [pair for pair in judged if pair.reading == FIGHT]
    agreeing = [pair for pair in judged if pair.reading == AGREE]
    parts = [_named(fighting, "fight"), _named(agreeing, "agree")]
    said = [f"Beyond noise, {part}." for part in ["; ".join(filter(None, parts))] if part]
    told = len(fighting) + len(agreeing)
    if judged and not told:
        said.append(_nothing_told(judged))
    elif rest := len(judged) - told:
        others = "The other pair" if rest == 1 else f"The other {plural(rest, 'pair')}"
        said.append(f"{others} cannot be told from noise.")
    if told and len(judged) >= _MANY:
        said.append(_by_chance(told, len(judged)))
    for why in dict.fromkeys(pair.why for pair in conflict.pairs if pair.cosine is None):
        count = sum(pair.why == why for pair in conflict.pairs)
        verb = "is" if count == 1 else "are"
        said.append(f"{plural(count, 'pair')} {verb} undefined: {why.rstrip('.')}.")
    if unjudged := sum(pair.reading == UNJUDGED for pair in conflict.pairs):
        said.append(f"Without a null level, {plural(unjudged, 'pair')} cannot be judged.")
    return said


def how_measured(conflict: Conflict) -> str:
    """What was measured, where and how often."""
    where = _WHERE.get(conflict.statistic, conflict.statistic)
    place = f" on {where}" if where else ""
    counts = [
        plural(count, noun)
        for count, noun in ((conflict.samples, "recorded step"), (conflict.seeds, "seed"))
        if count is not None
    ]
    often = f" ({', '.join(counts)})" if counts else ""
    few = conflict.seeds is not None and conflict.seeds < FEW_SEEDS
    whose = " of these very networks, as too few were trained to tell of others" if few else ""
    return (
        f"Cosine of two tasks' gradients{place}, on all training data and over the training with "
        f"equal weights: at +1 a step for one task is a step for the other, at {MINUS}1 it undoes "
        f"it. Estimated from products of gradients on two halves of a batch{often}, because the "
        f"noise of one batch would pass for agreement. ± is the standard error{whose}. Hatched: "
        "within the null level, which 95 % of unrelated pairs stay under. A conflict of gradients "
        "is not yet harm: whether sharing helps is judged above, on test."
    )


def _named(pairs: Sequence[Pair], verb: str) -> str:
    """'a and b fight (−0.21 ±0.04)', or the strongest of several."""
    shown = [f"{pair.one} and {pair.other} ({_value(pair)})" for pair in pairs[:_NAMED]]
    if len(pairs) < 2:
        return "".join(f"{p.one} and {p.other} {verb} ({_value(p)})" for p in pairs)
    lead = ", most of all" if len(pairs) > _NAMED else ":"
    return f"{plural(len(pairs), 'pair')} {verb}{lead} {', '.join(shown)}"


def _value(pair: Pair) -> str:
    # A space at which no line breaks.
    return f"{cosine_text(pair)}\u00a0{error_text(pair)}".strip("\u00a0")


def _nothing_told(judged: Sequence[Pair]) -> str:
    if len(judged) == 1:
        pair = judged[0]
        return (
            f"{pair.one} and {pair.other}: the cosine ({_value(pair)}) cannot be told from noise."
        )
    return (
        f"None of the {plural(len(judged), 'pair')} can be told from noise: "
        "this shows neither conflict nor agreement."
    )


def _by_chance(told: int, judged: int) -> str:
    expected = judged / 20
    count = fixed(expected, 0)
    said = f"Chance alone would put about {count} of {judged} pairs beyond the null level"
    return f"{said}, no fewer than here: take none for found." if told <= expected else f"{said}."
