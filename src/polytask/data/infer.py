"""What kind of target a column asks for, and whether that was a guess."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._content import Content, content
from polytask.data._labels import constant, label_text, unlabelled
from polytask.data.dataset import MISSING_CODE
from polytask.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

MAX_CLASSES = 100
"""More classes than this must be asked for by name: an identifier looks just like them."""
MANY_INTEGERS = 20
"""Whole numbers with more distinct values than this are a quantity."""
SOME_INTEGERS = 10
"""Up to this many distinct whole numbers are taken for classes, which is a guess."""


@dataclass(frozen=True)
class Inference:
    """The kind of target that a column asks for."""

    kind: str
    """regression, binary or multiclass."""
    reason: str
    ambiguous: bool = False
    """Another kind would be as plausible; the user should say which."""


def infer_kind(series: pd.Series) -> Inference:
    """The kind of target that `series` asks for: regression, binary or multiclass.

    Two values are binary, words are multiclass, numbers with fractions are regression. Whole
    numbers with at most 20 distinct values could be either: up to 10 are taken for classes,
    more for a quantity, and `ambiguous` is set.

    Raises:
        UserError: all values are missing or the same, they are dates or lists, or there are
            more than 100 different words.
    """
    name = series.name
    found = content(series)
    if found.what == "empty":
        raise unlabelled(name, len(series))
    if found.what == "nested":
        labels = f", or ask for {name}:multilabel if it lists labels"
        raise UserError(
            f"target {name!r} holds {found.detail}; expected numbers or labels. Make one column "
            f"of each value{labels if 'complex' not in found.detail else ''}."
        )
    if found.what == "date":
        raise UserError(
            f"target {name!r} holds dates; expected numbers or labels. "
            f"Turn it into a number, such as days since a start."
        )
    values = found.values.dropna()
    if found.what in ("number", "duration"):
        values = values[np.isfinite(values)]
    distinct = len(set(map(label_text, values.unique())))
    if distinct < 2:
        only = label_text(values.iloc[0]) if len(values) else "infinite values"
        raise constant(name, only)
    if found.what == "boolean":
        return Inference("binary", "true or false")
    if found.what in ("text", "mixed"):
        return _infer_words(name, found, distinct)
    whole = bool((values == values.round()).all())
    codes = values[values != MISSING_CODE]
    if whole and 0 < len(codes) < len(values) and codes.min() >= 0:
        rest = codes.nunique()
        if rest == 1:
            raise UserError(
                f"target {name!r} is constant: every label is {codes.iloc[0]:g} or the mark "
                f"{MISSING_CODE} for a missing one; there is nothing to learn. Choose another "
                "target."
            )
        if rest <= SOME_INTEGERS:
            kind = "binary" if rest == 2 else "multiclass"
            return Inference(kind, f"{rest} class codes, {MISSING_CODE} taken as missing", True)
    if distinct == 2:
        a, b = sorted(values.unique())
        return Inference("binary", f"two values: {a:g} and {b:g}", ambiguous=not whole)
    if not whole:
        return Inference("regression", "numbers with fractions")
    if distinct > MANY_INTEGERS:
        return Inference("regression", f"{distinct} distinct whole numbers")
    kind = "regression" if distinct > SOME_INTEGERS else "multiclass"
    return Inference(kind, f"only {distinct} distinct whole numbers", ambiguous=True)


def _infer_words(name: Any, found: Content, distinct: int) -> Inference:
    if found.what == "mixed" and distinct > MANY_INTEGERS:
        raise UserError(
            f"target {name!r} holds {found.detail} ({distinct} distinct values); expected numbers "
            f"only or labels only. Leave missing labels empty, or ask for {name}:multiclass."
        )
    if distinct == 2:
        return Inference("binary", "two labels")
    if distinct > MAX_CLASSES:
        raise UserError(
            f"target {name!r} has {distinct} different labels; expected at most {MAX_CLASSES}. "
            f"If it is an identifier, drop it; to keep them all, ask for {name}:multiclass."
        )
    return Inference("multiclass", f"{distinct} labels")
