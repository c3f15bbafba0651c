"""The data behind the plots equals that of the results."""

from __future__ import annotations

import math
from typing import Any

import pytest

from polytask.report.numbers import number
from polytask.report.plot_data import (
    cost_points,
    delta_m_forests,
    learning_curves,
    task_forests,
    versus_linear_forest,
    weight_curves,
)
from polytask.report.results import read

Study = dict[str, Any]


def by_label(study: Study) -> dict[str, dict[str, Any]]:
    return {candidate["label"]: candidate for candidate in study["candidates"]}


def test_delta_m_forest_holds_every_candidate_with_its_interval(study: Study) -> None:
    epochs, cost = delta_m_forests(read(study))
    raw = by_label(study)
    for row, at_cost in zip(epochs.rows, cost.rows, strict=True):
        entry = raw[row.label]
        whole, cut = entry["delta_m"], entry["equal_time"]["delta_m"]
        assert (row.mean, row.low, row.high) == (whole["mean"], whole["low"], whole["high"])
        assert (at_cost.mean, at_cost.low, at_cost.high) == (cut["mean"], cut["low"], cut["high"])
        assert row.chosen == (entry["id"] == study["chosen"])
    assert epochs.limits == cost.limits


def test_the_comparison_with_equal_weights_leaves_equal_weights_out(study: Study) -> None:
    forest = versus_linear_forest(read(study))
    assert forest is not None
    raw = by_label(study)
    assert {row.label for row in forest.rows} == set(raw) - {"linear"}
    assert all(row.mean == raw[row.label]["versus_linear"]["mean"] for row in forest.rows)
    for candidate in study["candidates"]:
        candidate["versus_linear"] = None
    assert versus_linear_forest(read(study)) is None


def test_limits_hold_every_number_and_zero(any_study: Study) -> None:
    for forest in [*delta_m_forests(read(any_study)), *task_forests(read(any_study))]:
        low, high = forest.limits
        assert low < 0 < high
        assert all(low <= value <= high for value in forest.spans)


def test_task_forests_hold_boosting_and_share_a_scale(study: Study) -> None:
    forests = task_forests(read(study))
    assert [forest.title for forest in forests] == list(study["tasks"])
    assert {forest.rows[-1].label for forest in forests} == {"gradient boosting"}
    assert len({forest.limits for forest in forests}) == 1


def test_one_wild_task_does_not_flatten_the_others(study: Study) -> None:
    study["candidates"][0]["tasks"]["price"]["gain_low"] = -400.0
    wild, *tame = (forest.limits for forest in task_forests(read(study)))
    assert wild[0] < -400
    assert all(limits[0] > -20 for limits in tame)


def test_learning_curves_are_those_of_the_file(study: Study) -> None:
    raw = by_label(study)
    panels = learning_curves(read(study))
    assert [panel.title for panel in panels] == ["price", "sold", "heating"]
    for panel in panels:
        single = study["single_task"][panel.title]["val"]
        assert panel.reference == pytest.approx(sum(single) / len(single))
        for line in panel.lines:
            entry = raw.get(line.label, {}).get("curves", {}).get(panel.title)
            entry = entry or study["single_task"][panel.title]["curves"]
            assert list(line.y) == entry["val"]
        assert [line.strong for line in panel.lines].count(True) == 1


def test_the_axis_shows_the_settled_part_and_the_reference(study: Study) -> None:
    for panel in learning_curves(read(study)):
        low, high = panel.limits
        assert panel.reference is not None
        assert low <= panel.reference <= high
        assert all(low <= value <= high for line in panel.lines for value in line.y[5:])


def test_single_task_curves_are_drawn_where_given(study: Study) -> None:
    own = {"epochs": [1, 2, 3], "val": [0.5, 0.6, 0.7]}
    study["single_task"]["sold"]["curves"] = own
    study["single_task"]["price"]["curves"] = {"epochs": [], "val": []}
    assert learning_curves(read(study))[0].lines[-1].label != "single-task"
    panel = learning_curves(read(study))[1]
    assert panel.lines[-1].label == "single-task"
    assert panel.lines[-1].y == (0.5, 0.6, 0.7)


def test_undefined_points_are_left_out_of_curves(study: Study) -> None:
    curve = study["candidates"][0]["curves"]["price"]
    curve["val"][3] = {"undefined": "no label"}
    curve["val"][4] = math.nan
    line = next(li for li in learning_curves(read(study))[0].lines if li.label == "linear")
    assert len(line.y) == 18
    assert 4.0 not in line.x
    assert 5.0 not in line.x


def test_weights_share_a_scale_that_holds_zero(study: Study) -> None:
    panels = weight_curves(read(study))
    assert len(panels) == 3
    assert len({panel.limits for panel in panels}) == 1
    assert panels[0].limits[0] <= 0
    for candidate in study["candidates"]:
        candidate["weights"] = None
    assert weight_curves(read(study)) == []


def test_cost_points_need_a_cost_and_a_gain(study: Study) -> None:
    study["candidates"][0]["cost"] = None
    study["candidates"][1]["delta_m"]["mean"] = {"undefined": "why"}
    points = cost_points(read(study))
    raw = by_label(study)
    assert {point.label for point in points} == {"pcgrad", "mgda", "uncertainty"}
    for point in points:
        assert point.cost == raw[point.label]["cost"]["relative"]
        assert point.mean == raw[point.label]["delta_m"]["mean"]


def test_every_study_gives_plot_data_without_nan(any_study: Study) -> None:
    results = read(any_study)
    drawn = [value for panel in learning_curves(results) for li in panel.lines for value in li.y]
    drawn += [value for panel in weight_curves(results) for li in panel.lines for value in li.y]
    drawn += [value for forest in task_forests(results) for value in forest.spans]
    assert all(number(value) is not None for value in drawn)
