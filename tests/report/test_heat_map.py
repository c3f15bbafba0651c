"""The heat map: its numbers are those of the file, and every kind of cell can be told apart."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest
from report_page import Page, page
from report_studies import make_conflict

from polytask.report.conflict import conflicts
from polytask.report.numbers import MINUS, fixed, signed
from polytask.report.plot_conflict import WITH_TEXT, HeatMap, heat_maps
from polytask.report.results import read

Study = dict[str, Any]


@pytest.fixture
def study() -> Study:
    """No candidates: nothing to draw but the map."""
    return study_of(tuple(f"task {i}" for i in range(5)))


def study_of(names: tuple[str, ...]) -> Study:
    tasks = {name: {"metric": "rmse", "direction": "min"} for name in names}
    conflict = [make_conflict(names)]
    return {"tasks": tasks, "single_task": {}, "candidates": [], "conflict": conflict}


def map_of(study: Study) -> HeatMap:
    results = read(study)
    (found,) = heat_maps(conflicts(results), results)
    return found


def cells(whole: Page) -> list[dict[str, str | None]]:
    readings = {"agree", "fight", "noise", "undefined", "unjudged", "self"}
    return [a for tag, a in whole.tags if tag == "td" and a.get("class") in readings]


@pytest.mark.parametrize("tasks", [2, 5, 7, 14, 40])
def test_the_numbers_of_the_map_are_those_of_the_results(tasks: int) -> None:
    study = study_of(tuple(f"task {i}" for i in range(tasks)))
    entry = study["conflict"][0]
    (heat,) = page(study).of_class("heat")
    order = [found.split(" ")[-1] for found, _ in (row[0] for row in heat[1:])]
    assert sorted(order, key=int) == [str(i) for i in range(tasks)]
    for i, row in zip(order, heat[1:], strict=True):
        for j, (text, value) in zip(order, row[1:], strict=True):
            if i == j:
                assert (text, value) == ("", None)
                continue
            cosine = entry["cosine"][int(i)][int(j)]
            assert value == cosine
            if tasks <= WITH_TEXT:
                error = entry["standard_error"][int(i)][int(j)]
                assert text == f"{signed(cosine, 2)} ±{fixed(error, 2)}"


def test_every_pair_is_listed_once_with_its_numbers() -> None:
    study = study_of(tuple(f"task {i}" for i in range(9)))
    listed = [row for table in page(study).of_class("pairs") for row in table[1:]]
    assert len(listed) == 36
    entry = study["conflict"][0]
    for (pair, _), (text, value), *_ in listed:
        i, j = map(int, re.findall(r"\d+", pair))
        assert value == entry["cosine"][i][j]
        assert text.startswith(signed(value, 2))


def test_what_noise_can_do_looks_different_from_what_is_found(study: Study) -> None:
    entry = study["conflict"][0]
    for i in range(5):
        for j in range(5):
            entry["null"][i][j] = 0.1
            entry["cosine"][i][j] = 0.09 if (i + j) % 2 else -0.5
    entry["cosine"][0][4] = entry["cosine"][4][0] = {"undefined": "nothing shared"}
    found = cells(page(study))
    kinds = [attributes["class"] for attributes in found]
    assert [kinds.count(kind) for kind in ("self", "undefined", "noise", "fight")] == [5, 2, 12, 6]
    assert {a["style"] for a in found if a["class"] == "fight"} == {"--shade:46.0%"}
    undefined = next(a for a in found if a["class"] == "undefined")
    assert undefined["title"] == "task 0 and task 4: undefined (nothing shared)"
    heat = page(study).of_class("heat")[0]
    assert "undefined" in [text for row in heat for text, _ in row]


def test_shades_have_fixed_limits(study: Study) -> None:
    entry = study["conflict"][0]
    entry["cosine"][0][1] = entry["cosine"][1][0] = 1.3  # an estimate may lie beyond 1
    cell = map_of(study).rows[0][1][1]
    assert (cell.shade, cell.text, cell.value) == (100, "+1.30", 1.3)


def test_the_legend_draws_the_null_level(study: Study) -> None:
    for row in study["conflict"][0]["null"]:
        row[:] = [0.2] * 5
    found = map_of(study)
    assert found.band == (40.0, 60.0)
    assert found.null_text == "null level ±0.20"
    text = str(page(study).text)
    assert "not told from 0: null level ±0.20" in text
    study["conflict"][0]["null"] = None
    assert map_of(study).band is None


def test_many_tasks_get_signs_in_place_of_numbers() -> None:
    study = study_of(tuple(f"task {i}" for i in range(40)))
    found = map_of(study)
    assert found.dense
    texts = {cell.text for _, row in found.rows for cell in row}
    assert texts == {"", "+", MINUS}
    assert len(found.strongest) == 15
    assert len(found.others) == 780 - 15
    assert all("±" in cell.title for _, row in found.rows for cell in row if cell.reading != "self")


def test_every_architecture_has_a_map_of_its_own(study: Study) -> None:
    names = tuple(study["tasks"])
    study["conflict"].append(make_conflict(names[:3], architecture="mmoe <b>"))
    whole = page(study)
    assert len(whole.of_class("heat")) == 2
    assert "mmoe <b>" in whole.text


def test_no_section_without_a_measurement(study: Study) -> None:
    assert 'id="conflict"' not in str(page(study | {"conflict": []}).tags)
    assert "Where tasks agree" in page(study).text
    assert "Where tasks agree" not in page(study | {"conflict": []}).text


def test_names_are_escaped_in_the_map() -> None:
    names = ("<script>1</script>", 'a "quoted" & b', "{{ 7 * 7 }}", "مرحبا", "😀" * 30, "x" * 200)
    whole = page(study_of(names))
    assert not {"script"} & {tag for tag, _ in whole.tags}
    for name in names:
        assert name in whole.text.replace("\u2068", "").replace("\u2069", "")


def luminance(colour: tuple[float, ...]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def themes() -> dict[str, dict[str, tuple[float, ...]]]:
    """The colours of the light, the dark and the printed page."""
    folder = files("polytask.report") / "templates"
    sheets = [(folder / name).read_text() for name in ("report.css", "heat.css", "print.css")]

    def tokens(text: str) -> dict[str, tuple[float, ...]]:
        found = re.findall(r"--([\w]+): #([0-9a-f]{3,6})\b", text)
        wide = {name: "".join(c * 2 for c in v) if len(v) == 3 else v for name, v in found}
        return {k: tuple(int(v[i : i + 2], 16) / 255 for i in (0, 2, 4)) for k, v in wide.items()}

    parts = [re.split(r"@media \(prefers-color-scheme: dark\) \{", sheet) for sheet in sheets[:2]]
    light = {k: v for part in parts for k, v in tokens(part[0]).items()}
    dark = {k: v for part in parts for k, v in tokens(part[1]).items()}
    return {"light": light, "dark": light | dark, "print": light | tokens(sheets[2])}


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_the_numbers_can_be_read_on_every_shade(theme: str) -> None:
    # WCAG 2: 4.5 for text. The shade goes from 12 % to 80 % of the colour.
    tokens = themes()[theme]
    ink = luminance(tokens["ink"])
    for colour in ("agree", "fight"):
        for percent in range(12, 81, 4):
            mixed = tuple(
                a * percent / 100 + b * (1 - percent / 100)
                for a, b in zip(tokens[colour], tokens["panel"], strict=True)
            )
            low, high = sorted((ink, luminance(mixed)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (theme, colour, percent)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
@pytest.mark.parametrize("token", ["ink", "muted", "good", "bad", "none"])
def test_words_can_be_read_on_paper_and_panel(theme: str, token: str) -> None:
    tokens = themes()[theme]
    for ground in ("paper", "panel"):
        low, high = sorted((luminance(tokens[token]), luminance(tokens[ground])))
        assert (high + 0.05) / (low + 0.05) >= 4.5
