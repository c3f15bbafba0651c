"""The page and the terminal of a selection of helper tasks: every number of the file, no more."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from report_browser import browsing, chromium
from report_page import Page
from rich.console import Console

from polytask.errors import UserError
from polytask.report import verdict_renderable, write_report
from polytask.report.html import render_selection
from polytask.report.numbers import signed
from polytask.report.selection_results import read_selection

HELPERS = ("copy", "related", "noise")
WORDS = {"copy": "helps", "related": "no evidence", "noise": "hurts"}
GAINS = {"copy": (12.5, 8.25, 16.75), "related": (0.4, -1.0, 1.8), "noise": (-3.0, -4.5, -1.5)}


def contrast(mean: float, low: float, high: float, word: str) -> dict[str, Any]:
    p = 0.5 if word == "no evidence" else 0.004
    differences = [mean + step for step in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    return {
        "mean": mean, "low": low, "high": high, "p": p, "p_holm": p, "word": word,
        "differences": differences,
    }  # fmt: skip


def helper_set(name: str, helpers: list[str], gain: tuple[float, float, float], step: float) -> Any:
    return {
        "id": "alone" if not helpers else f"with-{'-'.join(helpers)}",
        "name": name,
        "helpers": helpers,
        "val": [0.8] * 5,
        "test": [0.8] * 5,
        "mean": 0.8 + gain[0] / 100,
        "sd": 0.013,
        "gain": [gain[0]] * 5,
        "gain_mean": gain[0],
        "gain_low": gain[1],
        "gain_high": gain[2],
        "lr": 0.003,
        "curve": [0.6, 0.7, 0.8, 0.8],
        "cost": {
            "relative": step, "step_seconds": 0.01 * step, "peak_memory_mb": 4.2, "parameters": 900,
        },
        "failed": [],
    }  # fmt: skip


def make_selection() -> dict[str, Any]:
    tasks = ("price", *HELPERS, "enemy")
    described = {"kind": "binary", "metric": "auroc", "direction": "max", "trivial": 0.5}
    evidence = {
        "copy": (0.62, 0.05, False), "related": (0.11, 0.06, False), "noise": (0.01, 0.06, False),
        "enemy": (-0.31, 0.07, True),
    }  # fmt: skip
    screen = [
        {
            "task": task,
            "rank": place,
            "finalist": task != "enemy",
            "fights": fights,
            "behind": task == "enemy",
            "agreement": {"cosine": cosine, "standard_error": error, "null": 0.12},
            "bandit": {"mean": 0.7 - 0.1 * place, "standard_error": 0.11, "pulls": place},
            "labels": {
                "labelled": 0.875,
                "entropy": 0.66,
                "information": {"value": 0.2, "null_level": 0.04},
            },
        }
        for place, (task, (cosine, error, fights)) in enumerate(evidence.items(), start=1)
    ]
    sets = [helper_set("price alone", [], (0.0, 0.0, 0.0), 1.0)]
    sets += [helper_set(f"+ {task}", [task], GAINS[task], 1.3) for task in HELPERS]
    sets.append(helper_set("all 3 finalists", list(HELPERS), (9.0, 5.0, 13.0), 1.9))
    return {
        "kind": "auxiliary",
        "schema": 1,
        "polytask": "0.1.0",
        "name": "houses",
        "created": "2026-01-01T00:00:00+00:00",
        "config": {"data": "houses", "out": "runs/houses-price", "lr": [0.001, 0.003]},
        "environment": {"python": "3.11"},
        "main": "price",
        "tasks": {t: {**described, "role": "main" if t == "price" else "auxiliary"} for t in tasks},
        "dataset": {"name": "houses", "n": 1000, "splits": {"train": 700}, "notes": ["decided"]},
        "interval": {"level": 0.95, "test_redrawn": True},
        "method": "linear",
        "architecture": "hard_sharing",
        "screen": {"lr": 0.003, "trial": True, "helpers": screen},
        "finalists": list(HELPERS),
        "sets": sets,
        "helpers": {
            task: {
                "add": contrast(*GAINS[task], WORDS[task]),
                "leave": contrast(0.7, -0.2, 1.6, "no evidence"),
            }
            for task in HELPERS
        },
        "recommended": {
            "id": "with-copy",
            "helpers": ["copy"],
            "versus_none": contrast(*GAINS["copy"], "helps"),
            "versus_all": contrast(1.0, -0.5, 2.5, "no evidence"),
        },
        "cost": {
            "screen": {"runs": 2, "seconds": 20.0}, "proof": {"runs": 60, "seconds": 300.0},
            "probes": {"runs": 9, "seconds": 10.0}, "planned": 62, "every_candidate": 84,
        },
        "seeds": [0, 1, 2, 3, 4],
        "seconds": 330.0,
        "complete": True,
        "missing": [],
        "remarks": [],
        "verdict": {
            "sentence": "Train price with copy. It is better.",
            "helpers": {t: {"word": w, "sentence": f"{t}: {w}, so."} for t, w in WORDS.items()},
            "confidence_note": "5 paired seeds.",
        },
    }  # fmt: skip


@pytest.fixture
def selection() -> dict[str, Any]:
    return make_selection()


def page_of(raw: dict[str, Any]) -> Page:
    return Page(render_selection(read_selection(raw)))


def printed(raw: dict[str, Any], width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(verdict_renderable(raw))
    return out.getvalue()


def test_the_page_says_the_verdict_and_holds_every_number(selection: dict[str, Any]) -> None:
    page = page_of(selection)
    assert "which helper tasks help price?" in page.text
    assert "Train price with copy." in page.text
    helpers, sets, screen, cost, *_ = page.tables
    for row, (task, gain) in zip(helpers[1:], GAINS.items(), strict=True):
        label, word, add, p, leave, _, seeds = row
        assert task in label[0]
        assert WORDS[task] in word[0]
        assert (add[1], leave[1]) == (gain[0], 0.7)
        assert p[0] == ("0.50" if WORDS[task] == "no evidence" else "0.004")
        assert seeds[1] == 5
    assert [row[2][1] for row in sets[1:]] == [e["gain_mean"] for e in selection["sets"]]
    assert [row[1][1] for row in sets[1:]] == [e["mean"] for e in selection["sets"]]
    assert [row[3][1] for row in sets[1:]] == [1.0, 1.3, 1.3, 1.3, 1.9]
    assert [row[2][1] for row in screen[1:]] == [0.62, 0.11, 0.01, -0.31]
    readings = ("agrees", "not told from 0", "not told from 0", "fights")
    for row, reading in zip(screen[1:], readings, strict=True):
        assert reading in row[2][0]
    assert "behind" in screen[4][3][0]
    assert [cell[1] for cell in screen[1][4:]] == [0.875, 0.66, 0.2]
    assert "chance 0.04" in screen[1][6][0]
    assert [row[1][0] for row in cost[1:]] == ["2", "60", "9"]
    assert "would take 84 runs; this plan has 62." in page.text
    assert "polytask auxiliary runs/houses-price/study.yaml" in page.text
    assert "enemy pulls against price" in page.text


def test_every_table_head_has_as_many_cells_as_its_rows(selection: dict[str, Any]) -> None:
    for table in page_of(selection).tables[:3]:
        assert len({len(row) for row in table}) == 1


def test_the_terminal_fits_80_columns_and_40(selection: dict[str, Any]) -> None:
    said = printed(selection)
    assert max(map(len, said.splitlines())) <= 80
    for task, gain in GAINS.items():
        (line,) = [x for x in said.splitlines() if x.strip().startswith(f"{task} ")]
        assert WORDS[task] in line
        assert signed(gain[0], 1) in line
    assert "+ copy (chosen)" in said
    assert "fights" in said
    assert f"{signed(-0.31, 2)} ±0.07" in said
    assert max(map(len, printed(selection, 40).splitlines())) <= 40
    assert "seeds" in printed(selection, 120)


def test_without_unicode_every_sign_has_an_ascii_form(selection: dict[str, Any]) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=out, width=80, highlight=False).print(verdict_renderable(selection))
    out.flush()
    said = out.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "-0.31 +-0.07" in said


def test_before_the_screen_has_ended_there_is_a_page_too(selection: dict[str, Any]) -> None:
    early = selection | {
        "screen": {"lr": 0.003, "trial": True, "helpers": []}, "finalists": [], "sets": [],
        "helpers": {}, "recommended": None, "complete": False, "missing": ["screen: trial"],
        "verdict": {"sentence": "No verdict yet: so.", "helpers": {}, "confidence_note": ""},
    }  # fmt: skip
    page = page_of(early)
    assert "The screen has not ended." in page.text
    assert "screen: trial" in page.text
    assert "Incomplete" in printed(early)


def test_undefined_values_have_their_reason(selection: dict[str, Any]) -> None:
    broken = copy.deepcopy(selection)
    reason = {"undefined": "its gradient does not stand out from noise"}
    broken["screen"]["helpers"][0]["agreement"] = dict.fromkeys(
        ("cosine", "standard_error", "null"), reason
    )
    broken["sets"][1] |= {
        "mean": {"undefined": "one class only"}, "gain_mean": {"undefined": "one class only"},
        "gain_low": None, "gain_high": None,
    }  # fmt: skip
    page = page_of(broken)
    assert "undefined: one class only" in page.text
    titles = [attributes.get("title") for _, attributes in page.tags]
    assert reason["undefined"] in titles
    assert "agreement of copy is undefined: its gradient does not" in " ".join(
        printed(broken).split()
    )


def test_names_are_escaped(selection: dict[str, Any]) -> None:
    text = json.dumps(selection).replace("copy", "<script>alert(1)</script>")
    page = page_of(json.loads(text))
    assert not any(tag == "script" for tag, _ in page.tags)


def test_a_folder_gives_the_page_and_other_files_say_what_they_are(
    selection: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(selection), encoding="utf-8")
    page = write_report(tmp_path, tmp_path)
    assert page == tmp_path / "report.html"
    assert "which helper tasks help price?" in page.read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"ends in \.html"):
        write_report(selection, tmp_path / "page.txt")
    with pytest.raises(UserError, match="a page of its own"):
        write_report([tmp_path, selection], tmp_path / "both.html")
    for change, said in (
        ({"schema": 9}, "of schema 9"),
        ({"sets": None}, "found no 'sets'"),
        ({"main": "nobody"}, "found no 'tasks/nobody'"),
    ):
        with pytest.raises(UserError, match=said):
            write_report(selection | change, tmp_path / "page.html")


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [375, 1280])
def test_in_a_browser_nothing_overflows_or_is_fetched(
    selection: dict[str, Any], tmp_path: Path, width: int
) -> None:
    page = write_report(selection, tmp_path / "page.html")
    with browsing() as browser:
        browser.open(page, width=width)
        assert browser.complaints == []
        assert browser.requests == [page.as_uri()]
        assert browser.ask("document.documentElement.scrollWidth") <= width
