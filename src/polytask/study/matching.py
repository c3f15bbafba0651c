"""Networks of one size: the encoder's width at which a network has as many parameters as asked.

An architecture with several experts or columns has more parameters than a shared trunk on the
same encoder, and more parameters alone can win. At equal size what is left is the way of sharing.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

from polytask import registry
from polytask.errors import UserError

WIDEST, NARROWEST = 16.0, 1 / 16
HALVINGS = 14
"""Of the logarithm of the range: the last step is a thousandth of a width."""


def matched(
    encoder: Mapping[str, Any], target: int, count: Callable[[Mapping[str, Any]], int]
) -> dict[str, Any]:
    """The encoder, its widths all multiplied by one factor, so that `count` is nearest `target`.

    Args:
        encoder: `{"name", "arguments"}` of a registered encoder whose class names its widths
            in the literal attribute `scales`.
        target: number of parameters.
        count: parameters of the whole network on an encoder; rises with its widths.

    Raises:
        UserError: an encoder that cannot be scaled, or a target beyond 16 times the widths.
    """
    low, high = math.log(NARROWEST), math.log(WIDEST)
    best, distance = dict(encoder), math.inf
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = scaled(encoder, math.exp(middle))
        found = count(tried)
        if abs(math.log(found / target)) < distance:
            best, distance = tried, abs(math.log(found / target))
        low, high = (low, middle) if found > target else (middle, high)
    if distance > math.log(2):
        raise UserError(
            f"no width of the encoder {encoder['name']} gives a network of about {target:,} "
            f"parameters; the nearest has {count(best):,}. Choose a wider or narrower encoder, or "
            "leave out match_parameters."
        )
    return best


def scaled(encoder: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The same encoder with its widths multiplied by `factor`, at least 1 each.

    Raises `UserError` when its class does not name its widths.
    """
    entry = registry.find("encoder", encoder["name"])
    scales = entry.constants.get("scales", {})
    if not scales:
        raise UserError(
            f"match_parameters needs an encoder whose widths it knows; {entry.name} does not name "
            "them (class attribute `scales`). Use mlp, resnet or transformer, or leave it out."
        )
    arguments = dict(encoder["arguments"])
    for word, multiple in scales.items():
        given = arguments.get(word, ast.literal_eval(entry.arguments[word]))
        several = isinstance(given, list | tuple)
        widths = [_rounded(width * factor, multiple) for width in (given if several else [given])]
        arguments[word] = widths if several else widths[0]
    return {"name": entry.name, "arguments": arguments}


def _rounded(width: float, multiple: int) -> int:
    """The nearest multiple, at least one."""
    return max(1, round(width / multiple)) * multiple
