"""Taskonomy's transfer affinities, from the losses that targets have with each source's encoder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polytask.errors import UserError
from polytask.relationships._jackknife import Rows, jackknife, row_groups
from polytask.relationships.affinity import Affinity
from polytask.relationships.hierarchy import ahp

Array = NDArray[np.float64]


def transfer_affinity(
    item_losses: Mapping[str, Mapping[str, ArrayLike]], *, clip: float = 0.001, seed: int = 0
) -> Affinity:
    """`affinity[target][source]`: how well the source's encoder serves the target, among all.

    Zamir et al. 2018, "Taskonomy: disentangling task transfer learning", arXiv 1804.08328, sections
    3.2 and 3.3: on every source's frozen encoder a small network learns the target; `wins[i, j]` is
    the share of held-out items on which source i has the smaller loss than source j, half of those
    on which both have the same; `ahp` makes of the wins one number a source. Shares need no common
    unit of loss, so rows of different targets can be compared, and `transfer_policy` can add them.

    The encoder trained for the target itself is a source like any other, on the diagonal, where
    it was given.

    **Standard errors** say how much other items would change the numbers: the jackknife over up to
    20 groups of a target's items, drawn with `seed`; 0 where a source wins, or loses, them all.

    Args:
        item_losses: of every target and source, [n], for the same items; a target's items may
            differ from another's. NaN is an item without a label, and is so for all sources;
            infinity is a loss like any other, larger than all.
        clip: of the shares, as in `ahp`.
        seed: of the draw of groups; the values do not depend on it.

    Returns:
        An `Affinity` over all targets and sources. A row is positive and sums to 1; it is NaN for
        sources that a target was not tried with, for a source that is no target, and for a target
        without a labelled item.

    Raises:
        UserError: no targets, a target without sources, losses that are not of the same items.

    Cost: of order 20 S^2 n a target, for S sources.
    """
    if not isinstance(item_losses, Mapping) or not item_losses:
        raise UserError(
            "item_losses: expected {target: {source: losses [n]}} with at least one target, found "
            f"{'an empty one' if isinstance(item_losses, Mapping) else type(item_losses).__name__}."
        )
    named = {target: _losses(target, row) for target, row in item_losses.items()}
    tasks = tuple(dict.fromkeys([*named, *(s for row in item_losses.values() for s in row)]))
    values = np.full((len(tasks), len(tasks)), np.nan)
    errors = values.copy()
    for target, losses in named.items():
        columns = [tasks.index(source) for source in item_losses[target]]
        place = np.ix_([tasks.index(target)], columns)
        count = losses.shape[1]
        if not count:
            continue

        def worth(rows: Rows, losses: Array = losses) -> Array:
            return ahp(_wins(losses[:, rows]), clip)

        whole = worth(np.arange(count))
        values[place] = whole
        errors[place] = jackknife(worth, whole, row_groups(count, None, seed), count)
    items = sorted({losses.shape[1] for losses in named.values()})
    spread = str(items[0]) if len(items) == 1 else f"{items[0]} to {items[-1]}"
    return Affinity(tasks, values, errors, f"transfer, shares of {spread} items won")


def _wins(losses: Array) -> Array:
    """[S, S] from losses [S, n]: on what share of items the first beats the second."""
    return np.stack([(row < losses).mean(1) + (row == losses).mean(1) / 2 for row in losses])


def _losses(target: str, row: Mapping[str, ArrayLike]) -> Array:
    """Losses of labelled items, [S, n]."""
    if not isinstance(row, Mapping) or not row:
        raise UserError(
            f"item_losses of {target!r}: expected at least one source {{source: losses [n]}}, "
            f"found {row!r}."
        )
    try:
        arrays = {source: np.asarray(given, dtype=np.float64) for source, given in row.items()}
    except (TypeError, ValueError) as error:
        raise UserError(f"item_losses of {target!r}: expected numbers [n]; {error}.") from error
    shapes = {source: array.shape for source, array in arrays.items()}
    if len(set(shapes.values())) > 1 or len(next(iter(shapes.values()))) != 1:
        raise UserError(
            f"item_losses of {target!r}: expected one loss an item, [n], of the same items for "
            f"every source; found shapes {shapes}."
        )
    table = np.stack(list(arrays.values()))
    missing = np.isnan(table)
    if (missing.any(0) != missing.all(0)).any():
        raise UserError(
            f"item_losses of {target!r}: an item is NaN for some sources and not for others; "
            "expected NaN where the item has no label. A loss that was not finite is infinity."
        )
    return table[:, ~missing.any(0)]
