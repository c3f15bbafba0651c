"""Drawings: valid, themeable, harmless."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

from polytask.report.plot_cost import cost_svg
from polytask.report.plot_data import (
    cost_points,
    delta_m_forests,
    learning_curves,
    task_forests,
    weight_curves,
)
from polytask.report.plots import forest_svgs, panel_svg
from polytask.report.results import read
from polytask.report.svg import marker_path, new_figure, settings, to_svg

Study = dict[str, Any]


def drawings(study: Study) -> list[str]:
    results = read(study)
    svgs = [str(svg) for _, svg in forest_svgs(delta_m_forests(results))]
    svgs += [str(svg) for _, svg in forest_svgs(task_forests(results))]
    svgs += [str(panel_svg(panel, "Learning curves")) for panel in learning_curves(results)]
    svgs += [str(panel_svg(panel, "Task weight")) for panel in weight_curves(results)]
    points = cost_points(results)
    return svgs + ([str(cost_svg(points))] if points else [])


def test_every_drawing_is_one_svg_in_css_colours(study: Study) -> None:
    for svg in drawings(study):
        assert ElementTree.fromstring(svg).tag == "svg"
        assert "http" not in svg
        assert not re.search(r"#[0-9a-f]{6}\b", svg), "a colour that no theme can change"
        assert "var(--muted)" in svg


def test_text_is_text_and_shows_the_numbers(study: Study) -> None:
    forest = delta_m_forests(read(study))[0]
    root = ElementTree.fromstring(str(forest_svgs([forest])[0][1]))
    texts = {"".join(node.itertext()) for node in root.iter("text")}
    assert {row.label for row in forest.rows} <= texts
    assert {row.text for row in forest.rows} <= texts


def test_names_are_escaped_and_never_formulas(study: Study) -> None:
    nasty = "</svg><script>$x^2$"
    forest = delta_m_forests(read(study))[0]
    rows = tuple(replace(row, label=nasty) for row in forest.rows)
    svg = str(forest_svgs([replace(forest, title=nasty, rows=rows)])[0][1])
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == f"% better than single-task: {nasty}"
    assert "<script" not in svg
    assert nasty[:18] in " ".join("".join(node.itertext()) for node in root.iter("text"))


def test_glyphs_that_the_drawing_font_lacks_do_not_warn() -> None:
    with settings():
        figure = new_figure(100, 50)
        figure.text(0.1, 0.1, "価格 \U0001f600 مرحبا")
        assert "価格" in to_svg(figure, "names")


def test_tick_labels_are_not_cut() -> None:
    with settings():
        figure = new_figure(100, 50)
        figure.text(0.1, 0.1, "0.98765")
        assert "0.98765" in to_svg(figure, "digits")


def test_ids_differ_between_drawings_and_drawing_twice_is_the_same(study: Study) -> None:
    svgs = drawings(study)
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in svgs]
    assert sum(len(found) for found in ids) == len(set().union(*ids))
    assert svgs == drawings(study)


def test_the_users_matplotlib_settings_are_left_alone(study: Study) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawings(study)
    assert dict(matplotlib.rcParams) == before


def test_every_study_draws(any_study: Study) -> None:
    for svg in drawings(any_study):
        assert "nan" not in svg.lower()


def test_marker_outlines() -> None:
    assert marker_path("s") == "M-5.0 5.0 L5.0 5.0 L5.0 -5.0 L-5.0 -5.0 L-5.0 5.0Z"
    assert marker_path("o").startswith("M")
