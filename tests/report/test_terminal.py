"""The verdict in the terminal: fits, says the same, and obeys nothing a name contains."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from polytask.report import print_verdict, verdict_renderable
from polytask.report.numbers import bracket, interval_decimals, signed

Study = dict[str, Any]


def shown(study: Study, width: int = 80, encoding: str = "utf-8") -> str:
    buffer = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=buffer, width=width)
    console.print(verdict_renderable(study))
    buffer.flush()
    buffer.seek(0)
    return buffer.read()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_every_line_fits(any_study: Study, width: int) -> None:
    text = shown(any_study, width)
    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= width
    assert "nan" not in text.replace("became NaN", "").lower()


def test_it_says_the_verdict_and_the_numbers(study: Study) -> None:
    text = shown(study)
    assert study["verdict"]["sentence"].split(". ")[0] in text
    assert "positive = better than single-task" in text
    lines = text.splitlines()
    gains = [candidate["delta_m"] for candidate in study["candidates"]]
    digits = interval_decimals((gain["mean"], gain["low"], gain["high"]) for gain in gains)
    for candidate, gain in zip(study["candidates"], gains, strict=True):
        wanted = f"{signed(gain['mean'], digits)} {bracket(gain['low'], gain['high'], digits)}"
        assert any(candidate["label"] in line and wanted in line for line in lines)
    for task, entry in study["verdict"]["tasks"].items():
        assert any(line.strip().startswith(task) and entry["word"] in line for line in lines)


def test_long_names_stay_whole_at_eighty_columns(make: Callable[..., Study]) -> None:
    name = "a_column_name_of_forty_characters_exactl"
    assert len(name) == 40
    assert name in shown(make((name, "b")))


def test_more_room_shows_more(study: Study) -> None:
    assert "memory" not in shown(study, 80)
    assert "390 MB" in shown(study, 120)
    assert "at equal cost" not in shown(study, 60)


def test_ascii_terminals_get_ascii(any_study: Study) -> None:
    shown(any_study, 80, "ascii").encode("ascii")


def test_names_are_neither_markup_nor_commands(make: Callable[..., Study]) -> None:
    text = shown(make(("[red]a[/red]", "b\x1b[2J\x07", "c[/")))
    assert "[red]a[/red]" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_undefined_and_failures_are_explained(study: Study) -> None:
    chosen = next(c for c in study["candidates"] if c["id"] == study["chosen"])
    chosen["tasks"]["sold"]["gain_mean"] = {"undefined": "one class only"}
    study["candidates"][0]["failed"] = [{"seed": 3, "cause": "out of memory"}]
    text = shown(study)
    assert "sold is undefined: one class only." in text
    assert "linear, seed 3 failed: out of memory" in text


def test_an_incomplete_study_says_so_first(study: Study) -> None:
    study["complete"] = False
    assert shown(study).startswith("Incomplete.")


def test_print_verdict_writes_plain_text_to_a_file(study: Study) -> None:
    file = io.StringIO()
    print_verdict(study, file=file)
    assert study["verdict"]["sentence"].split(". ")[0] in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_importing_the_report_is_light() -> None:
    heavy = "matplotlib jinja2 rich torch numpy"
    code = (
        "import sys, polytask.report as r; "
        f"print([m for m in '{heavy}'.split() if m in sys.modules], sorted(r.__all__) == dir(r))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True"
