"""Names of models; and names that people gave, made fit to be shown: short, and harmless.

A column may be called anything. HTML is escaped by the templates; what is left is text that
runs from right to left, which would drag the numbers beside it along, and characters that
turn text around on purpose.
"""

from __future__ import annotations

import re
import unicodedata

_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff"
_RUN = re.compile(f"[{_RTL}](?:[{_RTL} ]*[{_RTL}])?")
BETWEEN = " · "
"""Stands between the parts of a name: the architecture, the method, the schedule."""
_OPEN, _CLOSE = "\u2068", "\u2069"  # first strong isolate, pop directional isolate


def model_name(method: str, architecture: str, several: bool) -> str:
    """What a candidate is called: its method; of several architectures, that comes first.

    Equal weights need no mention then.

    >>> model_name("pcgrad", "mmoe", several=False), model_name("pcgrad", "mmoe", several=True)
    ('pcgrad', 'mmoe · pcgrad')
    >>> model_name("linear", "mmoe", several=True)
    'mmoe'
    """
    if not several:
        return method
    return architecture if method == "linear" else f"{architecture}{BETWEEN}{method}"


def columns(text: str) -> int:
    """How wide a text is, in Latin characters: Chinese and emoji take two, accents none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def short(label: str, width: int) -> str:
    """`label` in at most `width` columns, both ends kept: names often differ in the last sign."""
    label = " ".join(label.split())
    if columns(label) <= width:
        return label
    tail = _fitting(label[::-1], (width - 1) // 3)[::-1]
    return f"{_fitting(label, width - 1 - columns(tail))}…{tail}"


def presentable(page: str) -> str:
    """A page in which text from right to left stays in its place, and none turns other text.

    Only the text between tags is touched.
    """
    page = _TURNING.sub("\ufffd", page)
    if not _RUN.search(page):
        return page
    return re.sub(r">[^<]+", lambda text: _RUN.sub(rf"{_OPEN}\g<0>{_CLOSE}", text[0]), page)


def _fitting(text: str, width: int) -> str:
    kept = 0
    for kept in range(len(text), -1, -1):
        if columns(text[:kept]) <= width:
            break
    return text[:kept]
