"""What a column holds: pandas has many ways to write a number, a date or a gap."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from numbers import Number
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

What = Literal["empty", "boolean", "number", "date", "duration", "text", "mixed", "nested"]

ISO_DATE = (
    r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
    r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)


@dataclass(frozen=True)
class Content:
    """What a column holds."""

    what: What
    values: pd.Series
    """boolean, number, duration (days): float64; date: datetime64, UTC; otherwise as found."""
    detail: str = ""
    """How it was written, when that is not plain."""


def content(series: pd.Series) -> Content:
    """What `series` holds, with numbers and dates in one form and missing values as NaN."""
    import pandas as pd
    from pandas.api import types

    dtype = series.dtype
    if dtype == np.float64 and isinstance(dtype, np.dtype):
        # Most columns of a wide table; pandas' own checks cost more than all the rest.
        return Content("empty" if np.isnan(series.to_numpy()).all() else "number", series)
    if series.isna().all():
        return Content("empty", series)
    if isinstance(dtype, pd.CategoricalDtype):
        return Content("text", series.astype(object), "categories")
    if types.is_bool_dtype(dtype):
        return Content("boolean", _float(series))
    if types.is_complex_dtype(dtype):
        return Content("nested", series, "complex numbers")
    if types.is_numeric_dtype(dtype):
        return Content("number", _float(series))
    if types.is_datetime64_any_dtype(dtype):
        return Content("date", pd.to_datetime(series, utc=True).dt.tz_localize(None))
    if types.is_timedelta64_dtype(dtype):
        return Content("duration", _in_days(series), "durations in days")
    if isinstance(dtype, pd.PeriodDtype):
        return Content("date", series.dt.to_timestamp())
    return _objects(series)


def _objects(series: pd.Series) -> Content:
    """The content of a column of Python objects or strings."""
    import pandas as pd

    series = series.astype(object)
    blank = series.map(lambda value: isinstance(value, str) and not value.strip())
    series = series.mask(blank.astype(bool), other=np.nan)
    present = series.dropna()
    if present.empty:
        return Content("empty", series)
    found = {type(value) for value in present}
    if all(issubclass(kind, bool | np.bool_) for kind in found):
        return Content("boolean", _float(series))
    if not all(issubclass(kind, Hashable) and kind is not tuple for kind in found):
        word = next(k.__name__ for k in found if not issubclass(k, Hashable) or k is tuple)
        return Content("nested", series, f"values of type {word}")
    if all(issubclass(kind, Number | Decimal) and kind is not bool for kind in found):
        return Content("number", _float(series))
    if all(issubclass(kind, datetime | date | np.datetime64) for kind in found):
        return Content("date", _dates(series))
    if all(issubclass(kind, timedelta) for kind in found):
        return Content("duration", _in_days(pd.to_timedelta(series)), "durations in days")
    text = series.where(series.isna(), series.astype(str))
    if text.dropna().str.fullmatch(ISO_DATE).all():
        dates = _dates(text)
        if not dates.isna().to_numpy()[text.notna().to_numpy()].any():
            return Content("date", dates, "dates written as text")
    numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
    parsed = numbers.notna() & text.notna()
    if parsed.sum() == len(present):
        return Content("number", numbers, "numbers written as text")
    if parsed.any():
        words = sorted(set(text[text.notna() & ~parsed]))
        return Content("mixed", series, f"numbers and {_some(words)}")
    return Content("text", series)


def _some(words: list[str], at_most: int = 3) -> str:
    shown = ", ".join(repr(word) for word in words[:at_most])
    more = len(words) - at_most
    return shown + (f" and {more} other words" if more > 0 else "")


def _float(series: pd.Series) -> pd.Series:
    """float64 values, NaN where missing."""
    import pandas as pd

    if series.dtype == object:
        listed = [
            np.nan if gone else float(v) for v, gone in zip(series, series.isna(), strict=True)
        ]
        return pd.Series(listed, index=series.index, name=series.name, dtype=np.float64)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(values, index=series.index, name=series.name)


def _in_days(series: pd.Series) -> pd.Series:
    """float64 days of a column of durations."""
    return series.dt.total_seconds() / 86400


def _dates(series: pd.Series) -> pd.Series:
    """datetime64 in UTC without a zone, NaT where missing or unreadable."""
    import pandas as pd

    dates = pd.to_datetime(series, errors="coerce", utc=True, format="mixed")
    return dates.dt.tz_localize(None)
