"""From sums over labelled elements to regression scores: pure functions.

With several outputs a score is the plain mean over the outputs for which it is defined, each in
its own units. (scikit-learn's `multioutput="uniform_average"`, with missing elements allowed.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from polytask.metrics._undefined import (
    CONSTANT_PREDICTION,
    CONSTANT_TARGET,
    NO_LABEL,
    Undefined,
)


class Moments(NamedTuple):
    """Per output (float64 `[outputs]`): sums over the labelled elements.

    Targets t and predictions p are in original units, both less the same constant.
    """

    n: Tensor
    squared_error: Tensor
    absolute_error: Tensor
    t: Tensor
    tt: Tensor
    p: Tensor
    pp: Tensor
    tp: Tensor
    t_varies: Tensor
    """bool: the targets hold at least two values (exact, not a rounded variance)."""
    p_varies: Tensor


def _per_output(error: Callable[[Moments], Tensor], moments: Moments) -> float | Undefined:
    """Mean over the outputs that have a labelled element."""
    seen = moments.n > 0
    return error(moments)[seen].mean().item() if bool(seen.any()) else NO_LABEL


def mse(moments: Moments) -> float | Undefined:
    """Mean squared error, in squared target units."""
    return _per_output(lambda m: m.squared_error / m.n, moments)


def rmse(moments: Moments) -> float | Undefined:
    """Root of the mean squared error, in target units; with several outputs the mean of roots."""
    return _per_output(lambda m: (m.squared_error / m.n).sqrt(), moments)


def mae(moments: Moments) -> float | Undefined:
    """Mean absolute error, in target units."""
    return _per_output(lambda m: m.absolute_error / m.n, moments)


def r2(moments: Moments) -> float | Undefined:
    """1 - squared error / variance of the labelled targets; undefined for constant targets."""
    if not bool((moments.n > 0).any()):
        return NO_LABEL
    spread = moments.tt - moments.t.square() / moments.n
    known = moments.t_varies & (spread > 0)
    if not bool(known.any()):
        return CONSTANT_TARGET
    return (1 - moments.squared_error / spread)[known].mean().item()


def pearson(moments: Moments) -> float | Undefined:
    """Linear correlation of predictions and targets; undefined when either is constant."""
    if not bool((moments.n > 0).any()):
        return NO_LABEL
    if not bool(moments.t_varies.any()):
        return CONSTANT_TARGET
    n = moments.n
    together = moments.tp - moments.t * moments.p / n
    apart = (moments.tt - moments.t.square() / n) * (moments.pp - moments.p.square() / n)
    both = moments.t_varies & moments.p_varies & (apart > 0)
    if not bool(both.any()):
        return CONSTANT_PREDICTION
    return (together / apart.sqrt())[both].clamp(-1, 1).mean().item()
