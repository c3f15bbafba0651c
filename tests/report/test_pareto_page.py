"""The page and the terminal of a front of trade-offs: every number of the file, no more."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from report_page import Page
from rich.console import Console

from polytask.errors import UserError
from polytask.report import verdict_renderable, write_report
from polytask.report.html import render_front
from polytask.report.numbers import MINUS, TIMES
from polytask.report.pareto_plots import front_svg
from polytask.report.pareto_results import read_front


def entry(mean: float, gain: float) -> dict[str, Any]:
    return {
        "val": [mean] * 5, "test": [mean] * 5, "mean": mean, "sd": 0.011, "gain": [gain] * 5,
        "gain_mean": gain, "gain_low": gain - 1, "gain_high": gain + 1, "p": 0.01, "p_holm": 0.02,
    }  # fmt: skip


def make_front(tasks: tuple[str, ...] = ("price", "sold")) -> dict[str, Any]:
    described = {"kind": "binary", "metric": "auroc", "direction": "max", "trivial": 0.5}
    points = []
    for place in range(3):
        share = (0.2, 0.5, 0.8)[place]
        points.append(
            {
                "id": f"point{place + 1}-epo",
                "name": f"{share:.2f} {tasks[0]}",
                "preference": dict.fromkeys(tasks, share),
                "front": place != 1,
                "tasks": {
                    t: entry(0.611 + 0.05 * place * (-1) ** i, -7.3 + 3.1 * place * (-1) ** i)
                    for i, t in enumerate(tasks)
                },
                "delta_m": {"val": [0.1] * 5, "test": [0.1] * 5, "mean": 0.1, "low": 0, "high": 1},
                "cost": {"relative": 1.25, "step_seconds": 0.01, "parameters": 900},
                "failed": [],
            }
        )
    moved = {
        "most": "point3-epo", "least": "point1-epo", "mean": 6.2, "low": 4.4, "high": 8.0,
        "p": 0.001, "p_holm": 0.002, "differences": [6.2] * 5, "word": "moves",
    }  # fmt: skip
    return {
        "kind": "pareto",
        "schema": 1,
        "polytask": "0.1.0",
        "name": "houses",
        "config": {"data": "houses", "points": 3, "lr": [0.001], "select": "mean_gain"},
        "tasks": {t: dict(described, role="main") for t in tasks},
        "dataset": {"name": "houses", "n": 100, "splits": {"train": 70, "val": 15, "test": 15}},
        "interval": {"level": 0.95, "test_redrawn": True},
        "method": "epo",
        "architecture": "hard_sharing",
        "lr": 0.003,
        "single_task": {
            t: {"lr": 0.001, "val": [0.7] * 5, "test": [0.7] * 5, "mean": 0.702, "sd": 0.01,
                "failed": []}
            for t in tasks
        },
        "points": points,
        "steering": dict.fromkeys(tasks, moved),
        "hypervolume": {
            "reference": dict.fromkeys(tasks, 0.55), "given": False,
            "ideal": dict.fromkeys(tasks, 0.702), "values": [0.6] * 5, "mean": 0.613, "sd": 0.02,
        },
        "seeds": [0, 1, 2, 3, 4],
        "seconds": 12.0,
        "complete": True,
        "missing": [],
        "remarks": ["The preference does not visibly steer <nobody>."],
        "verdict": {"sentence": "2 of 3 trade-offs are on the front (validation). More of it."},
    }  # fmt: skip


def shown(raw: dict[str, Any], width: int = 100) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, legacy_windows=False, force_terminal=False)
    console.print(verdict_renderable(raw))
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("tasks", [("price", "sold"), ("price", "sold", "rooms")])
def test_the_page_has_every_number(tasks: tuple[str, ...]) -> None:
    raw = make_front(tasks)
    page = render_front(read_front(raw))
    text = words(Page(page).text)
    for said in (
        "which trade-offs are there?", "2 of 3 trade-offs are on the front", "0.611 ± 0.011",
        "0.702 ± 0.010", f"{MINUS}7.3 %", "+6.2", "[+4.4, +8.0]", "0.613 ± 0.020", "price 0.55",
        f"1.2{TIMES}", "each task alone", "polytask pareto",
    ):  # fmt: skip
        assert said in text, said
    assert "<nobody>" not in page
    assert "&lt;nobody&gt;" in page
    assert page.count("<svg") > 3


def test_two_tasks_are_a_plane_and_more_are_parallel() -> None:
    title, drawing = front_svg(read_front(make_front())) or ("", "")
    assert title == "Trade-offs on test"
    assert "(2)" in drawing  # beaten on validation
    assert ">3<" in drawing
    title, drawing = front_svg(read_front(make_front(("price", "sold", "rooms")))) or ("", "")
    assert title == "Gains on test"
    assert "rooms" in drawing


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_says_the_same(width: int) -> None:
    text = words(shown(make_front(), width))
    assert "2 of 3 trade-offs" in text
    assert "0.611 ± 0.011" in text
    if width >= 80:
        for said in ("sold", "price: 6.2 % [4.4, 8.0], point 3 against 1: moves", "0.613 ± 0.020"):
            assert said in text
    assert max(len(line) for line in shown(make_front(), width).splitlines()) <= width


def test_studies_that_have_just_begun() -> None:
    raw = make_front()
    absent = {"undefined": "no run of it has finished"}
    for point in raw["points"]:
        point["front"] = None
        for one in point["tasks"].values():
            one.update(mean=absent, sd=None, gain_mean=absent, gain_low=None, gain_high=None)
    for one in raw["single_task"].values():
        one.update(mean=absent, sd=None)
    raw |= {"complete": False, "missing": ["point1-epo: seeds 1, 2"], "lr": None, "steering": {}}
    raw["hypervolume"] = {"undefined": "a task has no score"}
    page = render_front(read_front(raw))
    assert "Incomplete." in page
    assert "The hypervolume is undefined: a task has no score." in page
    assert "Incomplete." in shown(raw)
    assert front_svg(read_front(raw)) is None


def test_undefined_steps_have_reasons() -> None:
    raw = make_front()
    raw["points"][0]["tasks"]["sold"]["mean"] = {"undefined": "one class only"}
    raw["points"][0]["tasks"]["sold"]["sd"] = None
    page = render_front(read_front(raw))
    assert "undefined: one class only" in page
    assert "undefined" in shown(raw)


def test_failures_are_listed() -> None:
    raw = make_front()
    raw["points"][0]["failed"] = [{"seed": 3, "lr": 0.003, "cause": "no memory"}]
    for text in (render_front(read_front(raw)), words(shown(raw, 140))):
        assert "0.20 price, seed 3, learning rate 0.003 failed: no memory" in text


def test_a_folder_is_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(make_front()))
    page = write_report(tmp_path, tmp_path)
    assert page == tmp_path / "report.html"
    assert "which trade-offs are there?" in page.read_text()


@pytest.mark.parametrize("key", ["points", "tasks", "single_task", "steering"])
def test_results_without_their_parts_are_refused(key: str) -> None:
    raw = copy.deepcopy(make_front())
    del raw[key]
    with pytest.raises(UserError, match=f"found no '{key}'"):
        read_front(raw)
    with pytest.raises(UserError, match="expected a front of trade-offs"):
        read_front(make_front() | {"kind": "relate"})
