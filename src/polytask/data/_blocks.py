"""Places of rows, and the square blocks of them that a spatial split keeps together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polytask.errors import UserError, count, some, unknown

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

ACROSS = 10
"""Blocks along the longer side of the area, unless their size is given."""


def points(values: np.ndarray) -> np.ndarray:
    """Coordinates as float64 [N, 2]. Raises `UserError` for another shape or a missing number."""
    array = np.asarray(values)
    numbers = array.dtype != bool and np.issubdtype(array.dtype, np.number)
    if array.ndim != 2 or array.shape[1] != 2 or not numbers:
        raise UserError(
            f"coordinates are of type {array.dtype} and shape {array.shape}; expected two numbers "
            "a row, [rows, 2]. Pass an array, as by frame[['x', 'y']].to_numpy()."
        )
    if missing := int((~np.isfinite(array)).any(axis=1).sum()):
        raise UserError(
            f"coordinates are missing or infinite in {count(missing, 'row')}; expected a place for "
            "every row. Leave those rows out, or leave coordinates out."
        )
    return array.astype(np.float64)


def square_blocks(places: np.ndarray, side: float) -> np.ndarray:
    """int64 [N] numbers of the squares that places [N, 2] lie in, from 0 up.

    Squares have sides of `side`, and the origin of the coordinates is a corner of four of them:
    which places share a block does not depend on the other rows.
    """
    cells = np.floor(places / side)
    return np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def spatial_words(split: str) -> tuple[list[str], float | None]:
    """The columns and the side of blocks in `spatial[:X,Y][:SIDE]`; [] and None where left out."""
    columns: list[str] = []
    side: float | None = None
    for word in split.split(":")[1:]:
        names = [name.strip() for name in word.split(",")]
        if len(names) == 2 and all(names) and not columns and side is None:
            columns = names
        elif len(names) == 1 and side is None and (size := _positive(word)) is not None:
            side = size
        else:
            raise UserError(
                f"a spatial split is spatial, spatial:X,Y, spatial:SIDE or spatial:X,Y:SIDE with "
                f"the names of two columns and the side of a block, a number above 0; found "
                f"{split!r}."
            )
    return columns, side


def blocks_of(dataset: Dataset, split: str) -> np.ndarray:
    """int64 [N]: the block of every row in a spatial split. See `make_splits`.

    Raises `UserError` when the words are wrong, there are no coordinates, or there are more
    blocks along a side than numbers can count.
    """
    columns, side = spatial_words(split)
    places = _places(dataset, columns)
    extent = float(np.ptp(places, axis=0).max()) if len(places) else 0.0
    if side is None:
        side = extent / ACROSS or 1.0
    if not np.isfinite(places / side).all():
        raise UserError(
            f"a spatial split by blocks of {side:g} cannot number places that are {extent:g} "
            "apart; expected larger blocks. Give a larger side."
        )
    return square_blocks(places, side)


def _positive(word: str) -> float | None:
    """A finite number above 0, or None."""
    try:
        value = float(word)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _places(dataset: Dataset, columns: list[str]) -> np.ndarray:
    """The coordinates of the rows: the data set's own, or two of its numeric columns."""
    own = dataset.coordinates
    names = list(dataset.columns.get("coordinates", []))
    numeric = list(dataset.columns.get("numeric", []))
    if own is not None and columns in ([], names):
        return own
    if not columns:
        raise UserError(
            f"a spatial split needs to know where the rows are; {dataset.name!r} has no "
            "coordinates. Name two columns, as in spatial:X,Y"
            + (f"; there are: {some(numeric)}." if numeric else ", or use another split.")
        )
    for name in columns:
        if name not in numeric:
            raise unknown("column for a spatial split:", name, [*numeric, *names])
    values = dataset.inputs["numeric"][:, [numeric.index(name) for name in columns]]
    return points(values)
