"""Numbers as people write them, which no reader takes for numbers: 12,5 and $1,200 and 40 %."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("thousands commas", re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?|[-+]?\d{1,3}(,\d{3}){2,}")),
    ("decimal commas", re.compile(r"[-+]?(\d{1,3}(\.\d{3})+|\d+),\d+")),
    ("currency signs", re.compile(r"[-+]?[$€£¥] ?-?\d[\d.,' ]*|[-+]?\d[\d.,' ]*[$€£¥]")),
    ("percent signs", re.compile(r"[-+]?\d[\d.,]* ?%")),
)
MOST = 0.8


def written_numbers(series: pd.Series) -> str:
    """`decimal commas such as '12,5'` when most texts that are no numbers are written so; or ''."""
    import pandas as pd

    text = series.dropna().astype(str).str.strip()
    words = text[pd.to_numeric(text, errors="coerce").isna() & (text != "")]
    forms = words.map(
        lambda word: next((name for name, form in FORMS if form.fullmatch(word)), None)
    )
    if not len(words) or forms.notna().mean() < MOST:
        return ""
    first = {name: words[forms == name].iloc[0] for name in forms.dropna().unique()}
    return " and ".join(f"{name} such as {word!r}" for name, word in first.items())
