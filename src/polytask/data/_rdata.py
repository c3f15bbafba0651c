"""Tables out of R packages, without R: lazy-load data bases and .rda files."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.errors import PolytaskError, need

if TYPE_CHECKING:
    import pandas as pd

SPATIAL = ("SpatialPointsDataFrame", "CRS")
"""Classes of the R package sp, whose slots are read as they are."""
ZLIB = True
"""What the index says of the compression: TRUE is zlib, 2 is bzip2, 3 is xz."""


def lazy_object(files: Iterable[Path], name: str) -> Any:
    """One object of a lazy-load data base, the form in which installed packages keep their data.

    The index (.rdx) is a compressed R value that says where each object lies in the base (.rdb);
    an object there is 4 bytes of length (big-endian) and the R value compressed by zlib.

    Args:
        files: with one .rdx and one .rdb.
        name: of the object.

    Returns:
        a pandas DataFrame for a data frame; an object whose attributes are the slots for one of
        the package sp.

    Raises:
        MissingExtraError: the package rdata is not installed.
        PolytaskError: there is no such object, or it is compressed in another way.
    """
    found = {file.suffix: file for file in files}
    base = found[".rdb"]
    index = _value(zlib.decompress(found[".rdx"].read_bytes(), zlib.MAX_WBITS | 32))
    places = {str(key): place for key, place in index["variables"].items()}
    if name not in places:
        raise PolytaskError(f"{base} holds no {name!r}; found {', '.join(sorted(places))}")
    if index["compressed"][0] != ZLIB:
        raise PolytaskError(f"{base} is compressed by another method than zlib")
    start, length = (int(number) for number in places[name])
    with base.open("rb") as file:
        file.seek(start)
        return _value(zlib.decompress(file.read(length)[4:]))


def rda(path: Path) -> dict[str, Any]:
    """All objects of an .rda file by name. Raises `MissingExtraError` without rdata."""
    read, classes = _rdata()
    objects = read.read_rda(path, constructor_dict=classes)
    return {str(name): value for name, value in objects.items()}


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A data frame with rows from 0, factors as text and whole numbers as int64 or float64.

    A column of whole numbers with missing ones becomes float64 with NaN.
    """
    import pandas as pd

    out = {}
    for name, series in frame.items():
        series = series.reset_index(drop=True)
        if isinstance(series.dtype, pd.CategoricalDtype):
            series = series.astype(object)
        elif isinstance(series.dtype, pd.Int32Dtype):
            series = series.astype("float64" if series.hasnans else "int64")
        out[str(name)] = series
    return pd.DataFrame(out)


def _value(data: bytes) -> Any:
    """One R value out of its serialised form."""
    read, classes = _rdata()
    # The ending is given so that rdata need not guess it, which it would warn of.
    parsed = read.parser.parse_data(data, extension=".rds")
    return read.conversion.convert(parsed, constructor_dict=classes)


def _rdata() -> tuple[Any, dict[str, Any]]:
    """The package rdata, and how it makes Python objects of R classes."""
    try:
        import rdata
    except ImportError as error:
        raise need("rdata", "data", "reading data of an R package") from error
    known = dict(rdata.conversion.DEFAULT_CLASS_MAP)
    return rdata, known | dict.fromkeys(SPATIAL, lambda value, attributes: value)
