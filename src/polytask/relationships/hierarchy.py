"""Taskonomy's normalisation: from who wins against whom to one number a source."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.errors import UserError


def ahp(wins: ArrayLike, clip: float = 0.001) -> NDArray[np.float64]:
    """Affinities of S sources with one target, by the analytic hierarchy process.

    Zamir et al. 2018, "Taskonomy: disentangling task transfer learning", arXiv 1804.08328, section
    3.3: losses of different tasks have no common unit, but on how many test items one source beats
    another is a number without one. The shares are clipped, turned into odds W / Wᵀ, and the
    affinities are the principal right eigenvector, scaled to sum 1. Where the shares come from
    strengths s as w_ij = s_i / (s_i + s_j), the affinities are proportional to s exactly.

    Args:
        wins: [S, S]; `wins[i, j]` is the share of test items on which source i has the smaller
            loss than source j, within [0, 1]. The diagonal is not used.
        clip: shares are kept within [clip, 1 - clip], so that a source that always wins has finite
            odds; above 0 and below 0.5.

    Returns:
        [S], positive, sum 1; all 1 / S where every share is one half.

    Raises:
        UserError: a table of another shape, or with shares outside [0, 1] or NaN.
    """
    try:
        table = np.array(wins, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"wins: expected a square table of numbers; {error}.") from error
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        raise UserError(f"wins: expected a square table [S, S], found shape {list(table.shape)}.")
    if not 0 < clip < 0.5:
        raise UserError(f"clip: expected a number above 0 and below 0.5, found {clip!r}.")
    np.fill_diagonal(table, 0.5)
    if not ((table >= 0) & (table <= 1)).all():  # NaN is neither
        raise UserError("wins: expected shares within [0, 1] for each pair of sources.")
    table = np.clip(table, clip, 1 - clip)
    values, vectors = np.linalg.eig(table / table.T)
    # All odds are positive, so the eigenvalue of largest size is real and its vector of one sign.
    first = np.abs(vectors[:, np.argmax(values.real)].real)
    return np.asarray(first / first.sum(), dtype=np.float64)
