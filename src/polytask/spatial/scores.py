"""How far generated fields are from real ones: two-sample statistics."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError, need, unknown

Estimator = Literal["unbiased", "u_statistic", "biased"]
ESTIMATORS = ("unbiased", "u_statistic", "biased")


def mmd2(
    x: Tensor,
    y: Tensor,
    alpha: float | Literal["median"] = 1.0,
    estimator: Estimator = "unbiased",
) -> float:
    """Squared maximum mean discrepancy of two samples under k(a, b) = exp(-alpha |a - b|²).

    A. Gretton et al., "A kernel two-sample test", JMLR 13 (2012),
    https://jmlr.org/papers/v13/gretton12a.html: the mean kernel within x plus that within y less
    twice that between them. Float64; O(N M d) time, O(N M) memory.

    - 'unbiased' (eq. 3): within, an item is not paired with itself; between, all pairs count. Any
      sizes; expectation 0 for samples of one distribution, so it may be negative. At one size it
      is, number for number, the published code of Klemmer & Neill 2021
      (https://github.com/konstantinklemmer/sxl).
    - 'u_statistic' (eq. 4): between, item i of x is not paired with item i of y either. One size;
      unbiased too, and so even when the two samples are drawn in dependent pairs.
    - 'biased' (eq. 5): all pairs everywhere. Never negative, too large by about 1 / N + 1 / M.

    Args:
        x, y: [N, ...] and [M, ...], at least 2 items each, of one shape.
        alpha: of the kernel; 1 in the published code, where fields are in [-1, 1]. On 32 x 32
            cells that kernel is 0 for all but near copies: "median" takes 1 / median |a - b|²
            over pairs of different items of x, which should then be the real sample.
        estimator: see above.

    Raises:
        UserError: fewer than 2 items, shapes that differ, values that are not finite, sizes that
            differ for 'u_statistic', an alpha that is not above 0, or a median distance of 0.
    """
    if estimator not in ESTIMATORS:
        raise unknown("estimator", estimator, ESTIMATORS)
    first, second = _samples(x, y, least=2)
    n, m = len(first), len(second)
    if estimator == "u_statistic" and n != m:
        raise UserError(
            f"estimator='u_statistic' pairs the samples, found {n} and {m} items; expected as "
            "many of both. Use 'unbiased'."
        )
    rate = _rate(alpha, first)
    within_x, within_y, between = (
        torch.exp(-rate * _squared_distances(a, b))
        for a, b in ((first, first), (second, second), (first, second))
    )
    if estimator == "biased":
        return float(within_x.mean() + within_y.mean() - 2 * between.mean())
    cross = between.mean()
    if estimator == "u_statistic":
        cross = _off_diagonal_mean(between)
    return float(_off_diagonal_mean(within_x) + _off_diagonal_mean(within_y) - 2 * cross)


def nearest_neighbour_test(
    real: Tensor, generated: Tensor, seed: int = 0, capped: bool = True
) -> float:
    """Error of a 1-nearest-neighbour classifier that tells real items from generated ones.

    The classifier two-sample test of D. Lopez-Paz & M. Oquab, ICLR 2017,
    https://arxiv.org/abs/1610.06545: trained on one half of each sample, drawn by `seed`, tested
    on the other. 0.5 means that they cannot be told apart, 0 that they always can. An error above
    0.5 is what a generator that copies gives; the published code of Klemmer & Neill 2021 caps it.

    Args:
        real, generated: [N, ...] each, of one shape; the larger sample is cut to the size of the
            smaller one, so that guessing has error 0.5.
        seed: of the halves.
        capped: whether an error above 0.5 becomes 0.5.

    Raises:
        UserError: fewer than 4 items, shapes that differ, values that are not finite.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.neighbors import KNeighborsClassifier
    except ImportError as error:
        raise need("scikit-learn", "app", "nearest_neighbour_test") from error
    first, second = _samples(real, generated, least=4)
    size = min(len(first), len(second)) // 2
    rng = np.random.default_rng(seed)
    train, test = [], []
    for sample in (first.numpy(), second.numpy()):
        order = rng.permutation(len(sample))
        train.append(sample[order[:size]])
        test.append(sample[order[size : 2 * size]])
    labels = np.repeat([1, 0], size)
    nearest = KNeighborsClassifier(n_neighbors=1).fit(np.concatenate(train), labels)
    wrong = float((nearest.predict(np.concatenate(test)) != labels).mean())
    return min(wrong, 0.5) if capped else wrong


def _samples(x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Both as float64 [N, d] on the CPU."""
    for name, sample in (("first", x), ("second", y)):
        if not isinstance(sample, Tensor) or sample.ndim < 2 or len(sample) < least:
            found = tuple(sample.shape) if isinstance(sample, Tensor) else type(sample).__name__
            raise UserError(
                f"the {name} sample should be a tensor [N, ...] of at least {least} items, found "
                f"{found}."
            )
        if not bool(sample.isfinite().all()):
            raise UserError(f"the {name} sample holds values that are NaN or infinite; drop them.")
    if x.shape[1:] != y.shape[1:]:
        raise UserError(
            f"items of the samples have the shapes {tuple(x.shape[1:])} and {tuple(y.shape[1:])}; "
            "expected one shape."
        )
    return x.detach().double().cpu().flatten(1), y.detach().double().cpu().flatten(1)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    # Never through a² + b² - 2ab: that loses the small distances, on which the kernel lives.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()


def _off_diagonal_mean(square: Tensor) -> Tensor:
    count = len(square) * (len(square) - 1)
    return (square.sum() - square.diagonal().sum()) / count


def _rate(alpha: object, real: Tensor) -> float:
    """The kernel's alpha as a number."""
    if alpha == "median":
        apart = torch.pdist(real).square()
        middle = float(apart.median())
        if middle <= 0:
            raise UserError(
                "alpha='median': half of the first sample's items or more are equal, so the median "
                "distance is 0. Give a number."
            )
        return 1 / middle
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise UserError(f"alpha must be a number above 0 or 'median', found {alpha!r}.")
    if not 0 < alpha < float("inf"):
        raise UserError(f"alpha must be a finite number above 0, found {alpha!r}.")
    return float(alpha)
