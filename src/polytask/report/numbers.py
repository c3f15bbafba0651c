"""Numbers as people read them: rounded by the size of their uncertainty, never as code prints them.

A number is shown to two digits of its spread when the spread starts with 1, 2 or 3 and to
one digit otherwise, and a column shares one precision so that it can be read downwards.
What is undefined is said in words; NaN and infinity count as undefined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

MINUS = "\u2212"
TIMES = "\u00d7"
DASH = "\u2013"
THIN = "\u202f"  # narrow space that does not break, between groups of three digits
UNDEFINED = "undefined"
_MOST_DECIMALS = 6


def number(value: object) -> float | None:
    """The finite number in `value`, or None when it is undefined, missing, NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def reason(value: object) -> str | None:
    """Why `value` is not a number (None when it is one)."""
    if number(value) is not None:
        return None
    if isinstance(value, dict) and "undefined" in value:
        return str(value["undefined"]) or "no reason was recorded"
    if value is None:
        return "not measured in this study"
    return "the value was not a finite number"


def said_undefined(value: object) -> str:
    """The word for a value that is no number: 'undefined', or a dash for what was not measured."""
    return DASH if value is None else UNDEFINED


def numbers(values: Iterable[object]) -> list[float]:
    """The finite numbers among `values`."""
    return [found for value in values if (found := number(value)) is not None]


def decimals_of(spread: float) -> int:
    """Decimals that keep one or two digits of `spread` > 0; negative means tens, hundreds, ..."""
    exponent = math.floor(math.log10(spread))
    return -exponent + (1 if spread / 10.0**exponent < 3.55 else 0)


def column_decimals(values: Iterable[object], spreads: Iterable[object] = ()) -> int:
    """One precision for a column: that of its median spread, or three digits when it has none."""
    positive = [spread for spread in numbers(spreads) if spread > 0]
    if positive:
        return decimals_of(median(positive))
    sizes = [abs(value) for value in numbers(values) if value != 0]
    if not sizes:
        return 0
    return max(0, 2 - math.floor(math.log10(max(sizes))))


def fixed(value: float, decimals: int) -> str:
    """`value` with a true minus sign and grouped digits: 53214.2, -2 -> '53 200'."""
    if value and (decimals > _MOST_DECIMALS or abs(value) >= 1e9):
        return _powers(value, decimals)
    rounded = round(value, decimals)
    text = f"{abs(rounded):,.{max(0, decimals)}f}".replace(",", THIN)
    return (MINUS if rounded < 0 else "") + text


def _powers(value: float, decimals: int) -> str:
    """`value` as mantissa and power of ten, for sizes no column of decimals can hold."""
    exponent = math.floor(math.log10(abs(value)))
    digits = min(4, max(0, decimals + exponent))
    mantissa = f"{abs(value) / 10.0**exponent:.{digits}f}"
    return f"{MINUS if value < 0 else ''}{mantissa}{THIN}{TIMES}{THIN}10{superscript(exponent)}"


def superscript(exponent: int) -> str:
    """'⁻³'."""
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def signed(value: float, decimals: int) -> str:
    """`value` with its sign shown, but for what rounds to zero: '+2.4', '0.0'."""
    return ("+" if round(value, decimals) > 0 else "") + fixed(value, decimals)


def bound(value: float, decimals: int) -> str:
    """The end of an interval: like `signed`, but its sign is never rounded away.

    On which side of zero an end lies is what decides a verdict, so an end that would round to
    zero gets up to two more decimals, and then keeps the sign alone.
    """
    for more in range(3):
        if value == 0 or round(value, decimals + more) != 0:
            return signed(value, decimals + more)
    return ("+" if value > 0 else MINUS) + fixed(0.0, decimals)


def interval_decimals(intervals: Iterable[tuple[object, object, object]]) -> int:
    """One precision for a column of (mean, low, high) in percent.

    Two digits of the median half-width, at least whole percents and at most hundredths.
    """
    kept = list(intervals)
    halves = [
        (high - low) / 2
        for _, lower, upper in kept
        if (low := number(lower)) is not None and (high := number(upper)) is not None
    ]
    positive = [half for half in halves if half > 0]
    if not positive:
        return min(2, column_decimals(mean for mean, _, _ in kept))
    return min(2, max(0, 1 - math.floor(math.log10(median(positive)))))


def bracket(low: object, high: object, decimals: int) -> str:
    """'[+0.6, +4.1]', or '' when the interval is not known."""
    lower, upper = number(low), number(high)
    if lower is None or upper is None:
        return ""
    return f"[{bound(lower, decimals)}, {bound(upper, decimals)}]"


def interval_text(interval: tuple[object, object, object], decimals: int) -> str:
    """'+2.4 [+0.6, +4.1]' of (mean, low, high); without a mean 'undefined', or a dash."""
    mean = number(interval[0])
    if mean is None:
        return said_undefined(interval[0])
    return f"{signed(mean, decimals)} {bracket(interval[1], interval[2], decimals)}".strip()


def share(fraction: float) -> str:
    """A fraction in whole percents, which never rounds some to none or most to all: '70 %', '<1 %'.

    So '0 %' is exactly none, and '100 %' exactly all.
    """
    whole = round(100 * fraction)
    if whole == 0 and fraction > 0:
        return "<1 %"
    if whole == 100 and fraction < 1:
        return ">99 %"
    return f"{fixed(100 * fraction, 0)} %"


def plus_minus(mean: object, sd: object, decimals: int) -> str:
    """'0.873 ± 0.012'; without a spread the mean alone; 'undefined' when there is no mean."""
    centre, spread = number(mean), number(sd)
    if centre is None:
        return UNDEFINED
    if spread is None:
        return fixed(centre, decimals)
    return f"{fixed(centre, decimals)} ± {fixed(spread, decimals)}"


def p_value(value: object) -> str:
    """'p = 0.03', 'p < 0.001', or '' when there is none."""
    p = number(value)
    if p is None:
        return ""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.0095 else f"p = {p:.2f}"


def bare_p(value: object) -> str:
    """The same without the letter, for a column of them: '0.03', '< 0.001'."""
    return p_value(value).removeprefix("p = ").removeprefix("p ")


def ratio(value: object) -> str:
    """A multiple of something: '1.3×', '18×'."""
    times = number(value)
    if times is None:
        return UNDEFINED
    decimals = 2 if times < 1 else 1 if times < 10 else 0
    return f"{fixed(times, decimals)}{TIMES}"


def memory(megabytes: object) -> str:
    """'340 MB' or '2.1 GB'."""
    size = number(megabytes)
    if size is None:
        return UNDEFINED
    if size >= 1000:
        return f"{fixed(size / 1000, 1)} GB"
    return f"{fixed(size, 0 if size >= 10 else 1)} MB"


def duration(seconds: object) -> str:
    """'42 s', '3 min 20 s', '2 h 5 min'."""
    total = number(seconds)
    if total is None:
        return UNDEFINED
    whole = round(total)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(value: object) -> str:
    """A whole number with grouped digits."""
    size = number(value)
    return UNDEFINED if size is None else fixed(size, 0)


def plural(size: int, noun: str) -> str:
    """'1 seed', '5 seeds'."""
    return f"{count(size)} {noun}{'' if size == 1 else 's'}"
