"""The verdict task by task: a card with its word, its sentence and the gain on a shared scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from polytask.report import numbers
from polytask.report.plot_data import Limits
from polytask.report.results import Results
from polytask.report.words import verdict_of


@dataclass(frozen=True)
class Card:
    """The verdict on one task, with the chosen candidate's gain on a scale shared by all cards."""

    task: str
    word: str
    sign: str
    tone: str
    sentence: str
    gain: str
    title: str
    strip: tuple[float, float, float, float] | None  # zero, low, mean, high in percent of width


def cards(results: Results) -> list[Card]:
    """One card a task, in the order of the study."""
    chosen = results.chosen
    gains = {t: chosen.gain(t) if chosen else (None, None, None) for t in results.tasks}
    decimals = numbers.interval_decimals(gains.values())
    ends = [0.0, *(end for gain in gains.values() for end in numbers.numbers(gain))]
    air = 0.04 * (max(ends) - min(ends)) or 1.0
    limits = (min(ends) - air, max(ends) + air)
    made = []
    for task, (mean, low, high) in gains.items():
        word, sign, tone, said = verdict_of(results, task)
        centre = numbers.number(mean)
        text = numbers.said_undefined(mean) if chosen and centre is None else ""
        if centre is not None:
            inside = numbers.bracket(low, high, decimals)
            text = f"{numbers.signed(centre, decimals)} % {inside}".strip()
            if f"{numbers.signed(centre, 1)} %" in said:
                text = ""  # the sentence has the numbers already
        why = numbers.reason(mean) or "" if chosen else ""
        drawn = strip((mean, low, high), limits)
        made.append(Card(task, word, sign, tone, said, text, why, drawn))
    return made


def strip(gain: tuple[Any, Any, Any], limits: Limits) -> tuple[float, float, float, float] | None:
    """Zero, low, mean and high in percent of the width between the limits; None without them."""
    found = numbers.numbers(gain)
    if len(found) < 3:
        return None
    width = limits[1] - limits[0]
    zero, mean, low, high = (round(100 * (value - limits[0]) / width, 2) for value in (0.0, *found))
    return (zero, low, mean, high)
