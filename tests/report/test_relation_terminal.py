"""A study of relationships in a terminal: it fits, and says the numbers of the file."""

from __future__ import annotations

import io
from typing import Any

import pytest
from relation_study import make_relation
from rich.console import Console

from polytask.report import verdict_renderable
from polytask.report.numbers import signed


def printed(raw: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(verdict_renderable(raw))
    return out.getvalue()


def test_it_says_groups_arrangements_and_comparisons() -> None:
    study = make_relation()
    said = printed(study)
    assert "Recommended networks, by lookahead" in said
    gains = study["check"]["arrangements"][0]["tasks"]
    for group in study["recommendation"]["groups"]:
        for task, value in group["predicted"].items():
            (line,) = [line for line in said.splitlines() if f" {task} " in line and "[" in line]
            assert signed(value, 3) in line
            assert signed(gains[task]["gain_mean"], 1) in line
            assert gains[task]["word"] in line
    for entry in study["check"]["arrangements"]:
        line = said[said.index("Arrangements") :].split(f" {entry['name']} ", 1)[1]
        assert line.split()[0] == str(entry["networks"])
    assert "leans better" in said
    assert "random (mean of 2)" in said
    assert "rsa is undefined: two single-task networks failed." in " ".join(said.split())
    assert "the loss is no finite number" in " ".join(said.split())


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("tasks", [2, 7, pytest.param(40, marks=pytest.mark.slow)])
def test_it_fits(width: int, tasks: int) -> None:
    study = make_relation([f"a name of thirty letters, no. {i:02d}" for i in range(tasks)], most=3)
    said = printed(study, width)
    assert max(map(len, said.splitlines())) <= width
    if tasks == 40:
        assert "it serves" in said
    if width == 80:
        assert "..." not in said
        assert "…" not in said


def test_a_wide_screen_has_room_for_parameters() -> None:
    assert "parameters" in printed(make_relation(), 120)
    assert "parameters" not in printed(make_relation())


def test_without_a_check_and_before_the_end() -> None:
    study = make_relation()
    said = printed(study | {"check": None})
    assert "Arrangements" not in said
    assert "[95 %]" not in said
    waiting = {"undefined": "its runs have not ended"}
    early = study | {"recommendation": waiting, "check": None, "complete": False, "missing": ["x"]}
    assert "Incomplete" in printed(early)


def test_without_unicode_every_sign_has_an_ascii_form() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    study = make_relation(size=2e-4)
    Console(file=out, width=80, highlight=False).print(verdict_renderable(study))
    out.flush()
    said = out.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "delta-m" in said
    assert "10^-3" in said
