"""What the screen found of a candidate, in words and numbers that stand in a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polytask.report.numbers import DASH, UNDEFINED, fixed, number, reason, said_undefined, signed
from polytask.report.results import mapping

Entry = Mapping[str, Any]


def agreement_text(entry: Entry) -> str:
    """'+0.42 ±0.05': the cosine of the helper's gradient and the main task's."""
    found = mapping(entry.get("agreement"))
    cosine, error = number(found.get("cosine")), number(found.get("standard_error"))
    if cosine is None:
        return said_undefined(found.get("cosine"))
    return signed(cosine, 2) + ("" if error is None else f" ±{fixed(error, 2)}")


def agreement_reading(entry: Entry) -> str:
    """What may be concluded from it."""
    found = mapping(entry.get("agreement"))
    cosine, null = number(found.get("cosine")), number(found.get("null"))
    if cosine is None:
        return ""
    if entry.get("fights"):
        return "fights"
    return "agrees" if null is not None and cosine > null else "not told from 0"


def bandit_text(entry: Entry) -> str:
    """'0.61 ±0.11': the rate at which the main task did at least as well."""
    found = mapping(entry.get("bandit"))
    mean, error = number(found.get("mean")), number(found.get("standard_error"))
    if mean is None:
        return UNDEFINED if found else DASH
    return fixed(mean, 2) + ("" if error is None else f" ±{fixed(error, 2)}")


def pulls_text(entry: Entry) -> str:
    """'7 rounds', with 'behind' where the bandit tells it from the best."""
    pulls = number(mapping(entry.get("bandit")).get("pulls"))
    if pulls is None:
        return ""
    said = f"{fixed(pulls, 0)} round{'' if pulls == 1 else 's'}"
    return f"{said}, behind" if entry.get("behind") else said


def why_undefined(entry: Entry) -> str:
    """Why there is no cosine, '' when there is one or it was not measured."""
    cosine = mapping(entry.get("agreement")).get("cosine")
    return "" if cosine is None else reason(cosine) or ""


def statistic_text(value: Any) -> str:
    """A statistic of labels."""
    found = number(value)
    return DASH if found is None else fixed(found, 2)
