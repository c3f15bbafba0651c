"""Input columns of a table: deciding once how each is encoded, then encoding new rows the same.

What was decided is plain data (`Dataset.columns`), so it can be saved and applied at
prediction time by `transform_frame`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._content import Content, content
from polytask.data._encode import described
from polytask.data._labels import label_text, places
from polytask.data._marks import missing_mark
from polytask.data._written import written_numbers
from polytask.errors import UserError, nearest, some

if TYPE_CHECKING:
    import pandas as pd

MAX_LEVELS = 1000
"""A categorical column with more levels is dropped: it identifies rows rather than describes."""
FEW_ROWS = 20
"""In fewer rows than this, values that never repeat say nothing."""
WORDS_AMONG_NUMBERS = 5
"""A column of numbers with up to this many kinds of words ('?', 'n/a') holds missing values."""
INPUT_KINDS = ("numeric", "categorical")


@dataclass
class Recipe:
    """How the input columns of a table are encoded."""

    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    categories: dict[str, list[str]] = field(default_factory=dict)
    dates: dict[str, str] = field(default_factory=dict)
    """Date columns with the day (ISO) from which days are counted."""
    words: dict[str, list[str]] = field(default_factory=dict)
    """Numeric columns in which these words stand for a missing value."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Columns left out, with the reason."""
    notes: list[str] = field(default_factory=list)

    def decide(self, series: pd.Series, kind: str | None = None) -> None:
        """Add the column `series` as numeric or categorical, or leave it out, and note why."""
        name = str(series.name)
        found = content(series)
        if found.what in ("empty", "nested"):
            why = "all values are missing" if found.what == "empty" else f"holds {found.detail}"
            self._drop(name, why)
        elif kind == "categorical":
            self._categorical(name, series)
        elif found.what in ("text", "mixed"):
            self._words(name, series, found, kind)
        else:
            self._numbers(name, found)

    def to_dict(self) -> dict[str, Any]:
        """The part that `transform_frame` needs, as plain data."""
        keys = ("numeric", "categorical", "categories", "dates", "words", "dropped")
        return {key: getattr(self, key) for key in keys}

    def _numbers(self, name: str, found: Content) -> None:
        if found.what == "date":
            origin = found.values.min().normalize()
            self.dates[name] = origin.date().isoformat()
            self.notes.append(f"{name}: dates, counted in days from {self.dates[name]}")
            values = _days(found.values, self.dates[name])
        else:
            values = found.values.to_numpy(dtype=np.float64)
            if found.detail:
                self.notes.append(f"{name}: {found.detail}, read as numbers")
        small = _finite(values)
        if infinite := int((~np.isnan(values) & np.isnan(small)).sum()):
            self.notes.append(f"{name}: {infinite} infinite or too large values count as missing")
        present = small[~np.isnan(small)]
        if len(present) == 0 or present.min() == present.max():
            self.dates.pop(name, None)
            self._drop(name, "constant" if len(present) else "no finite value")
            return
        if found.what == "number" and len(values) > FEW_ROWS and (np.diff(values) == 1).all():
            if name.startswith("Unnamed: "):
                self._drop(name, "a row number without a name")
                return
            self.notes.append(f"{name}: looks like a row number; drop it if it is one")
        if mark := missing_mark(small):
            self.notes.append(f"{name}: {mark}")
        self.numeric.append(name)

    def _words(self, name: str, series: pd.Series, found: Content, kind: str | None) -> None:
        if found.what == "mixed":
            import pandas as pd

            text = series.dropna().map(label_text)
            numbers = pd.to_numeric(text, errors="coerce")
            words = sorted(set(text[numbers.isna()]))
            mostly = numbers.notna().mean() >= 0.9 and numbers.nunique() > FEW_ROWS
            if kind == "numeric" or (mostly and len(words) <= WORDS_AMONG_NUMBERS):
                self.words[name] = words
                self.notes.append(f"{name}: {found.detail}; read as numbers, words as missing")
                self._numbers(name, Content("number", _parse(series, set(words), name)))
                return
            self.notes.append(f"{name}: {found.detail}; taken as categories")
        elif kind == "numeric":
            raise UserError(
                f"column {name!r} holds {described(found, series)}; expected numbers, as kinds= "
                f"asks for. Ask for 'categorical', or leave it out of kinds."
            )
        if written := written_numbers(series):
            self.notes.append(
                f"{name}: numbers with {written}, not read as numbers; write them plainly (1200.5)"
            )
        self._categorical(name, series)

    def _categorical(self, name: str, series: pd.Series) -> None:
        labels = _labels(series)
        present = labels[labels != ""]
        levels = sorted(set(present))
        if len(levels) < 2:
            self._drop(name, "constant")
        elif len(levels) > MAX_LEVELS:
            self._drop(name, f"{len(levels)} different values, more than {MAX_LEVELS}")
        elif len(levels) == len(present) > FEW_ROWS:
            self._drop(name, "every value is different, like an identifier")
        else:
            self.categorical.append(name)
            self.categories[name] = levels

    def _drop(self, name: str, why: str) -> None:
        self.dropped[name] = why
        self.notes.append(f"{name}: left out ({why})")


def transform_frame(frame: pd.DataFrame, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs of new rows, encoded as `columns` (a `Dataset.columns`) says.

    Returns `numeric` float32 [N, d] and `categorical` int64 [N, c], each only when it has
    columns. Categories that were not there before become missing; further columns are ignored.
    Columns that are "unread" (a helper task predicts them instead) may be absent and are missing.

    Raises:
        UserError: a column is missing, or holds words where numbers are expected.
    """
    unread = columns.get("unread", [])
    wanted = [*columns.get("numeric", []), *columns.get("categorical", [])]
    wanted = [name for name in wanted if name not in unread]
    have = [str(name) for name in frame.columns]
    if missing := [name for name in wanted if name not in have]:
        close = nearest(missing[0], have)
        hint = f"; is it {close!r} here?" if close else "."
        raise UserError(
            f"the table lacks {some(map(repr, missing), 80)}, which training had as input; found "
            f"{some(have, 120)}{hint} Rename it, or add it with empty cells."
        )
    frame = frame.set_axis(have, axis=1).assign(**dict.fromkeys(unread))
    out: dict[str, np.ndarray] = {}
    if names := columns.get("numeric", []):
        out["numeric"] = np.stack([_numeric(frame[name], columns) for name in names], axis=1)
    if names := columns.get("categorical", []):
        categories = columns["categories"]
        out["categorical"] = np.stack([_codes(frame[n], categories[n]) for n in names], axis=1)
    return out


def _numeric(series: pd.Series, columns: Mapping[str, Any]) -> np.ndarray:
    """float32 [N] of one numeric column, NaN missing."""
    name = str(series.name)
    found = content(series)
    origin = columns.get("dates", {}).get(name)
    if found.what == "empty":
        return np.full(len(series), np.nan, np.float32)
    if origin is not None:
        if found.what != "date":
            raise UserError(
                f"column {name!r} held dates before and now holds {described(found, series)}; "
                f"expected dates, as text in the form 2024-12-31. Leave missing ones empty."
            )
        return _finite(_days(found.values, origin))
    if found.what in ("boolean", "number", "duration"):
        return _finite(found.values.to_numpy(dtype=np.float64))
    if found.what in ("text", "mixed"):
        return _finite(_parse(series, set(columns.get("words", {}).get(name, [])), name))
    raise UserError(
        f"column {name!r} holds {described(found, series)}; expected numbers, as in training. "
        "Give them as numbers, and leave missing ones empty."
    )


def _parse(series: pd.Series, words: set[str], name: str) -> Any:
    """float64 values of a column of numbers among which `words` mean missing."""
    import pandas as pd

    text = series.map(label_text, na_action="ignore")
    text = text.mask(text.isin(words | {""}).astype(bool), other=np.nan)
    numbers = pd.to_numeric(text, errors="coerce").astype(np.float64)
    bad = text[text.notna() & numbers.isna()]
    if len(bad):
        raise UserError(
            f"column {name!r} holds {bad.iloc[0]!r}; expected numbers, as when it was first read. "
            f"Write numbers plainly (1200.5), and leave missing ones empty."
        )
    return numbers


def _labels(series: pd.Series) -> np.ndarray:
    """str [N] category labels, '' where missing."""
    import pandas as pd

    codes, uniques = pd.factorize(series)
    # Code -1 (missing) picks the last entry.
    texts = [label_text(value) for value in uniques] + [""]
    return np.asarray([text if text.strip() else "" for text in texts], dtype=object)[codes]


def _codes(series: pd.Series, levels: list[str]) -> np.ndarray:
    """int64 [N] codes of a categorical column, -1 for missing or a level that is not known."""
    place = places(levels)
    labels = _labels(series)
    return np.fromiter((place.get(text, -1) for text in labels), np.int64, len(labels))


def _days(dates: pd.Series, origin: str) -> np.ndarray:
    """float64 days from midnight of `origin`."""
    import pandas as pd

    days = (dates - pd.Timestamp(origin)) / pd.Timedelta(days=1)
    return days.to_numpy(dtype=np.float64)


def _finite(values: Any) -> np.ndarray:
    """float32, NaN also for infinities and what float32 cannot hold."""
    array = np.asarray(values, dtype=np.float64)
    fits = np.abs(array) <= np.finfo(np.float32).max
    return np.where(fits, array, np.nan).astype(np.float32)
