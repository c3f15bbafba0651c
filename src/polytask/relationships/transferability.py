"""How well features or predictions of a source suit a target's labels, without training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.errors import UserError

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

SUM = 1e-4
"""By how much a row of probabilities may miss 1: they come in float32."""
GRID, REFINED = 121, 60
"""Ratios of the two precisions that are looked at, and steps of the search around the best."""


def leep(probabilities: ArrayLike, labels: Sequence[object] | ArrayLike) -> float:
    """LEEP: how well a classifier's answers for its own classes tell the target's labels.

    C. V. Nguyen et al., "LEEP: A New Measure to Evaluate Transferability of Learned
    Representations", ICML 2020, https://arxiv.org/abs/2002.12462. With the source's probabilities
    t_i of its classes z and P(y | z) their empirical conditional, the mean over rows of

        log sum_z P(y_i | z) t_i[z],

    the log-likelihood of the predictor that draws z, then y. At most 0; 0 where the source's
    classes tell the labels for sure. Compare scores of one target only.

    Args:
        probabilities: [n, Z], rows sum to 1.
        labels: [n], classes of the target: numbers or words.

    Raises:
        UserError: rows that are no probabilities, or another number of labels.
    """
    given = _numbers(probabilities, "probabilities")
    codes, classes = _classes(labels, len(given))
    if (given < 0).any() or (np.abs(given.sum(1) - 1) > SUM).any():
        raise UserError(
            "probabilities: expected rows that are at least 0 and sum to 1, found "
            f"sums from {given.sum(1).min():g} to {given.sum(1).max():g}. Take the softmax."
        )
    joint = np.stack([given[codes == code].sum(0) for code in range(classes)])
    total = joint.sum(0)
    # A class that the source never gives any probability says nothing, and is never drawn.
    conditional = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
    likelihood = (conditional[codes] * given).sum(1)
    return min(float(np.log(likelihood).mean()), 0.0)


def h_score(features: ArrayLike, labels: Sequence[object] | ArrayLike) -> float:
    """H-score: how much of the features' spread lies between the target's classes.

    Y. Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer
    Learning", ICIP 2019: tr(cov(f)^-1 cov(E[f | y])). From 0 to the smaller of the features'
    rank and the number of classes less 1; it does not change when the features are mapped
    linearly and invertibly, or moved. With many features and few rows it comes near its largest
    value for any labels.

    Args:
        features: [n, p]; directions without spread are left out (the pseudo-inverse).
        labels: [n], classes of the target.

    Raises:
        UserError: features that are not finite numbers, or another number of labels.
    """
    given = _numbers(features, "features")
    codes, classes = _classes(labels, len(given))
    centred = given - given.mean(0)
    # Of orthonormal coordinates of the rows the covariance is 1: what is left are class means.
    basis, spread, _ = np.linalg.svd(centred, full_matrices=False)
    least = _rounding(spread, given.shape) + 1e-12 * np.abs(given).max(initial=0.0)
    basis = basis[:, spread > least]
    score = 0.0
    for code in range(classes):
        inside = basis[codes == code]
        score += float((inside.sum(0) ** 2).sum()) / len(inside)
    return score


def logme(
    features: ArrayLike, labels: Sequence[object] | ArrayLike, *, regression: bool = False
) -> float:
    """LogME: the evidence for a linear model of the target on the features, per row.

    K. You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML
    2021, https://arxiv.org/abs/2102.11005: y = F w + noise, w ~ N(0, 1 / a), noise ~ N(0, 1 / b);
    the largest log p(y | F, a, b) over a and b, over n; the mean over target columns, which for
    classes are 0 or 1 for each. No bias is added and nothing is centred, as in the paper.

    For a given ratio a / b the best b is known in closed form, so the maximum is sought over one
    number, on a grid and then within it; the paper iterates a fixed point in both, which may stop
    at a lesser one of several maxima. The ratio is kept within 1e-12 and 1e12 of the largest
    squared singular value: where the features fit the target exactly there is no maximum.

    Args:
        features: [n, p].
        labels: [n] classes, or with `regression` numbers [n] or [n, k], in any unit that is the
            same for all that is compared.
        regression: whether labels are numbers to be predicted.

    Raises:
        UserError: what is not finite numbers, another number of labels, or a target column of
            zeros, whose evidence has no bound.
    """
    given = _numbers(features, "features")
    if regression:
        targets = _numbers(labels, "labels", columns=True)
        if len(targets) != len(given):
            raise UserError(f"labels: expected {len(given)}, one a row, found {len(targets)}.")
    else:
        codes, classes = _classes(labels, len(given))
        targets = (codes[:, None] == np.arange(classes)).astype(np.float64)
    if not np.abs(targets).max(0).all():
        raise UserError("labels: expected every column of the target to hold more than zeros.")
    basis, singular, _ = np.linalg.svd(given, full_matrices=False)
    kept = singular > _rounding(singular, given.shape)
    basis, squares = basis[:, kept], singular[kept] ** 2
    inside = (basis.T @ targets) ** 2  # [rank, k]
    outside = np.maximum((targets**2).sum(0) - inside.sum(0), 0.0)
    scores = [
        _evidence(squares, column, rest, len(given))
        for column, rest in zip(inside.T, outside.tolist(), strict=True)
    ]
    return float(np.mean(scores)) / len(given)


def _evidence(squares: Array, inside: Array, outside: float, rows: int) -> float:
    """The largest log evidence of one target column.

    Args:
        squares: squared singular values of the features, [rank].
        inside: squares of the target along their directions, [rank].
        outside: squared length of the target off all of them.
        rows: n.
    """

    def at(log_ratio: float) -> float:
        if not len(squares):
            shrunk, volume = 0.0, 0.0
        else:
            left = 1 / (1 + squares / (math.exp(log_ratio) * squares.max()))
            shrunk, volume = float((left * inside).sum()), float(np.log(left).sum())
        return (rows * math.log(rows / (2 * math.pi * (outside + shrunk))) - rows + volume) / 2

    ends = math.log(1e12)
    grid = np.linspace(-ends, ends, GRID)
    found = [at(x) for x in grid.tolist()]
    place = int(np.argmax(found))
    low, high = grid[max(place - 1, 0)], grid[min(place + 1, GRID - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(REFINED):
        one, other = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, other) if at(one) > at(other) else (one, high)
    return max(found[place], at((low + high) / 2))


def _rounding(singular: Array, shape: tuple[int, ...]) -> float:
    """Singular values below this are rounding."""
    return float(singular.max(initial=0.0)) * max(shape) * float(np.finfo(np.float64).eps)


def _numbers(given: object, what: str, columns: bool = False) -> Array:
    """[n, p] of finite numbers; with `columns` [n] will do as one of them."""
    try:
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: expected a table of numbers; {error}.") from error
    if columns and array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.size:
        raise UserError(
            f"{what}: expected shape [n, columns] with at least one of each, found "
            f"{list(array.shape)}."
        )
    if not np.isfinite(array).all():
        raise UserError(f"{what}: expected finite numbers, found NaN or infinity.")
    return array


def _classes(labels: object, rows: int) -> tuple[Codes, int]:
    """Labels as codes from 0, and how many classes there are."""
    array = np.asarray(labels)
    if array.shape != (rows,):
        raise UserError(
            f"labels: expected {rows}, one a row, found shape {list(array.shape)}. Give one class "
            "a row."
        )
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise UserError("labels: expected a class for every row, found NaN. Leave these rows out.")
    known, codes = np.unique(array, return_inverse=True)
    return codes.reshape(rows), len(known)
