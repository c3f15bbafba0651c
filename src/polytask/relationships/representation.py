"""How alike what networks make of the same rows is: RSA and linear CKA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.errors import UserError
from polytask.relationships._jackknife import Rows, jackknife, row_groups
from polytask.relationships.affinity import Affinity

Array = NDArray[np.float64]
Pattern = Callable[[Array], Array | None]

FEWEST = 4
"""Rows below which nothing can be told: three have three distances."""
NOTHING = 1e-12
"""What counts as no spread of features within [-1, 1]: rounding leaves that much."""
DIGITS = 12
"""Decimals of a distance that count, so that equal ones are equal in spite of rounding."""


def rsa(
    features: Mapping[str, ArrayLike],
    *,
    blocks: Sequence[object] | ArrayLike | None = None,
    seed: int = 0,
) -> Affinity:
    """Representation similarity: do two networks find the same rows alike?

    K. Dwivedi & G. Roig, "Representation Similarity Analysis for Efficient Task Taxonomy &
    Transfer Learning", CVPR 2019, https://arxiv.org/abs/1904.11740. Of every task's network: the
    mean over rows is subtracted from every feature, the dissimilarity of two rows is 1 - Pearson's
    correlation of their features. The similarity of two tasks is Spearman's correlation of the
    dissimilarities of all pairs of rows (equal ones share their mean rank), within [-1, 1].

    It is 1 for identical networks, symmetric, and does not change when a constant vector is added
    to all rows' features or when they are scaled; it does change with a rotation of the features,
    because Pearson's correlation also subtracts the mean over features.

    Undefined, NaN for all pairs of a task: features that some row has all equal (a single one,
    say), or rows that are all equally dissimilar.

    **Standard errors** say how much other rows would change the numbers: the jackknife over up
    to 20 groups of rows, drawn with `seed`. They know nothing of networks trained from other
    seeds.

    Args:
        features: of every task, [n, p_t], the same n >= 4 rows in the same order; tasks may have
            different widths p_t. Pool places and tokens before, or give them as rows with blocks.
        blocks: [n], which rows belong together (the places of one image), for the errors.
        seed: of the draw of groups; the values do not depend on it.

    Returns:
        An `Affinity`, symmetric, 1 on the diagonal.

    Raises:
        UserError: fewer than 4 rows, different numbers of them, other shapes, or what is not
            finite.

    Cost: of order T n^2 (p + 20 log n) for T tasks, and T n^2 numbers; 500 rows will do.
    """
    return _similarities(features, _ranked_distances, "RSA of representations", blocks, seed)


def linear_cka(
    features: Mapping[str, ArrayLike],
    *,
    blocks: Sequence[object] | ArrayLike | None = None,
    seed: int = 0,
) -> Affinity:
    """Linear centred kernel alignment: do two networks see the same similarities of rows?

    S. Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019,
    https://arxiv.org/abs/1905.00414, section 3: with features X and Y centred by their means over
    rows, ||Y'X||^2 / (||X'X|| ||Y'Y||) in Frobenius norms, within [0, 1]. That is the cosine of
    the centred n x n kernels, the normalised HSIC.

    It is 1 for identical networks, symmetric, and does not change with a rotation, a scale or a
    constant vector. It is biased upwards where features are many and rows few: even unrelated
    features come near 1 when p is much larger than n.

    Undefined, NaN for all pairs of a task: features that are the same in all rows.

    Arguments, errors and cost are those of `rsa`.
    """
    return _similarities(features, _centred_kernel, "linear CKA of representations", blocks, seed)


def _similarities(
    features: Mapping[str, ArrayLike],
    pattern: Pattern,
    measured: str,
    blocks: Sequence[object] | ArrayLike | None,
    seed: int,
) -> Affinity:
    """Cosines of the patterns of all pairs of tasks, with their errors."""
    arrays = _checked(features)
    count = len(next(iter(arrays.values())))

    def table(rows: Rows) -> Array:
        found = [pattern(array[rows]) for array in arrays.values()]
        known = [i for i, vector in enumerate(found) if vector is not None]
        values = np.full((len(found), len(found)), np.nan)
        if known:
            vectors = np.stack([vector for vector in found if vector is not None])
            values[np.ix_(known, known)] = vectors @ vectors.T
            values[known, known] = 1.0
        return np.clip(values, -1.0, 1.0)

    whole = table(np.arange(count))
    errors = jackknife(table, whole, row_groups(count, blocks, seed), count)
    return Affinity(tuple(arrays), whole, errors, f"{measured} of {count} rows")


def _ranked_distances(features: Array) -> Array | None:
    """Ranks of the dissimilarities of all pairs of rows, centred, of length 1; None if undefined.

    Correlation is the cosine of centred vectors, Spearman's that of centred ranks.
    """
    rows = features - features.mean(0)
    rows = rows - rows.mean(1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (lengths > NOTHING * np.sqrt(rows.shape[1])).all():
        return None
    rows /= lengths
    upper = np.triu_indices(len(rows), 1)
    distances = np.round(1.0 - (rows @ rows.T)[upper], DIGITS)
    _, places, counts = np.unique(distances, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return _unit(ranks - ranks.mean())


def _centred_kernel(features: Array) -> Array | None:
    """The centred kernel of all rows, flat, of length 1; None if undefined."""
    rows = features - features.mean(0)
    if not np.abs(rows).max() > NOTHING:
        return None
    return _unit((rows @ rows.T).ravel())


def _unit(vector: Array) -> Array | None:
    length = np.linalg.norm(vector)
    return np.asarray(vector / length) if length > 0 else None


def _checked(features: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """Features in float64, scaled to at most 1; raises `UserError` for what cannot be compared."""
    if not isinstance(features, Mapping) or not features:
        raise UserError(
            "features: expected a mapping {task: features [n, p]} with at least one task, found "
            f"{'an empty one' if isinstance(features, Mapping) else type(features).__name__}."
        )
    arrays = {}
    for task, given in features.items():
        try:
            array = np.array(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UserError(f"features of {task!r}: expected numbers [n, p]; {error}.") from error
        if array.ndim != 2 or not array.shape[1]:
            raise UserError(
                f"features of {task!r}: expected shape [n, p], one row an item, found "
                f"{list(array.shape)}. Take the mean over places."
            )
        if not np.isfinite(array).all():
            raise UserError(
                f"features of {task!r}: expected finite numbers, found NaN or infinity. Did its "
                "training diverge?"
            )
        largest = np.abs(array).max(initial=0.0)
        # Within [-1, 1] no square overflows or vanishes; scale does not matter to the measures.
        arrays[task] = array / largest if largest > 0 else array
    rows = {task: len(array) for task, array in arrays.items()}
    if len(set(rows.values())) > 1:
        raise UserError(f"features: expected the same rows for every task, found {rows}.")
    if min(rows.values()) < FEWEST:
        raise UserError(
            f"features: expected at least {FEWEST} rows, found {min(rows.values())}. Compare "
            "networks on more rows."
        )
    return arrays
