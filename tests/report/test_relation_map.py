"""The heat map of affinities: the file's numbers, every kind of cell, outlines that close."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relation_study import TASKS, make_affinity, make_relation
from report_page import Page

from polytask.relationships import Affinity, group_tasks
from polytask.report.html import render_relation
from polytask.report.numbers import fixed, signed
from polytask.report.relation_groups import Groups, assigned, letter
from polytask.report.relation_map import (
    LESS,
    MORE,
    NOISE,
    SELF,
    UNKNOWN,
    WITH_TEXT,
    affinity_map,
    ends_text,
)
from polytask.report.relation_results import read_relation
from polytask.report.relation_scale import scale_of
from polytask.report.relation_tree import tree_of


def table(values: Any, errors: Any = None) -> Affinity:
    return Affinity([f"t{i}" for i in range(len(values))], values, errors)


def readings(affinity: Affinity, **options: Any) -> list[list[str]]:
    """In the order of the tasks: without a tree and without groups."""
    drawn = affinity_map(affinity, "no tree", Groups(), **({"gains": True} | options))
    return [[cell.reading for cell in row] for row in drawn.rows]


@pytest.mark.parametrize("tasks", [2, 7, 14, pytest.param(40, marks=pytest.mark.slow)])
def test_the_numbers_of_the_page_are_those_of_the_results(tasks: int) -> None:
    study = make_relation([f"task {i}" for i in range(tasks)], most=2)
    found = study["estimators"][0]["affinity"]
    heat, other = Page(render_relation(read_relation(study))).of_class("heat")
    order = [int(row[0][0].split()[1]) for row in heat[1:]]
    assert sorted(order) == list(range(tasks))
    for i, row in zip(order, heat[1:], strict=True):
        for j, (text, value) in zip(order, row[1:], strict=True):
            assert value == (None if i == j else found["values"][i][j])
            if value is not None and tasks <= WITH_TEXT:
                error = found["standard_errors"][i][j]
                assert text == f"{signed(value, 3)} ±{fixed(error, 3)}"
    shown = {value for row in other[1:] for _, value in row[1:]} - {None}
    pairwise = study["estimators"][1]["affinity"]["values"]
    assert shown == {value for row in pairwise for value in row} - {None}


def test_every_kind_of_cell_looks_different() -> None:
    nan = math.nan
    affinity = table(
        [[0, 1.0, 0.1], [-1.0, 0, nan], [0.0, -0.1, 0]],
        [[0, 0.1, 0.1], [0.4, 0, nan], [nan, nan, 0]],
    )
    assert readings(affinity) == [
        [SELF, MORE, NOISE], [LESS, SELF, UNKNOWN], [NOISE, LESS, SELF]
    ]  # fmt: skip
    plain = readings(affinity, gains=False)
    assert [plain[0][2], plain[1][2], plain[2][2]] == [MORE, UNKNOWN, SELF]
    drawn = affinity_map(affinity, "no tree", Groups(), gains=True)
    titles = [cell.title for row in drawn.rows for cell in row]
    assert titles[1] == "t0, trained with t1: +1.00 ±0.10; helps"
    assert titles[5] == "t1, trained with t2: not measured"
    assert (drawn.noise, drawn.unknown, drawn.known) == (True, True, True)


def test_two_standard_errors_are_the_limit() -> None:
    affinity = table([[0, 0.2], [0.21, 0]], [[0, 0.1], [0.1, 0]])
    assert readings(affinity) == [[SELF, NOISE], [MORE, SELF]]


def test_a_table_without_numbers_has_no_scale_to_show() -> None:
    drawn = affinity_map(table(np.full((3, 3), np.nan)), "why", Groups(), gains=True)
    assert (drawn.known, drawn.unknown, drawn.noise) == (False, True, False)


@pytest.mark.parametrize(
    ("largest", "said", "unit"),
    [
        (0.31, "+0.31", ""), (12.0, "+12", ""), (0.0004, "+0.40", "10⁻³"), (2e-5, "+20", "10⁻⁶"),
        (31000.0, "+31", "10³"), (0.012, "+0.012", ""),
    ],
)  # fmt: skip
def test_numbers_of_any_size_have_two_digits(largest: float, said: str, unit: str) -> None:
    scale = scale_of(table([[0, largest], [largest, 0]]), True)
    assert (scale.text(largest), scale.unit) == (said, unit)
    assert scale.text(None) == "–"  # noqa: RUF001
    assert scale.text({"undefined": "so"}) == "undefined"


def test_the_power_of_ten_is_that_of_most_numbers() -> None:
    values = np.full((4, 4), -0.0004)
    values[0, 1] = 0.0131
    scale = scale_of(table(values), True)
    assert (scale.text(0.0131), scale.text(-0.0004), scale.unit) == ("+13.1", "\u22120.4", "10⁻³")
    nothing = scale_of(table(np.zeros((2, 2))), True)
    assert (nothing.text(0.0), nothing.unit) == ("0.0", "")


def test_one_wild_number_does_not_pale_the_others() -> None:
    values = np.full((4, 4), 0.1)
    values[0, 1] = 50.0
    scale = scale_of(table(values), True)
    assert (scale.shade(0.1), scale.shade(50.0), scale.cut) == (25, 100, True)
    assert ends_text(scale) == ("≤ \u22120.4", "≥ +0.4")
    similar = scale_of(table(values), False)
    assert (similar.shade(0.1), similar.shade(50.0), similar.cut) == (0, 100, False)


def outline(affinity: Affinity, groups: Groups) -> set[tuple[int, int, str]]:
    drawn = affinity_map(affinity, tree_of(affinity), groups, gains=True)
    return {
        (i, j, side)
        for i, row in enumerate(drawn.rows)
        for j, cell in enumerate(row)
        for side in cell.sides
    }


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 10**6))
def test_outlines_hold_what_the_score_is_made_of(size: int, most: int, seed: int) -> None:
    affinity = Affinity.from_mapping(make_affinity([f"t{i}" for i in range(size)], 1.0, seed))
    grouping = group_tasks(affinity, most, alone=0.0)
    groups = assigned(grouping.groups, dict(grouping.assignment))
    drawn = affinity_map(affinity, tree_of(affinity), groups, gains=True)
    # Walking along a row, the sides say where the group of its task begins and ends.
    for task, cells in zip(drawn.tasks, drawn.rows, strict=True):
        inside, found = False, []
        for companion, cell in zip(drawn.tasks, cells, strict=True):
            inside = inside or "left" in cell.sides
            if inside:
                found.append(companion)
            inside = inside and "right" not in cell.sides
        assert set(found) == set(grouping.assignment[task])
        assert not inside
    # A border between two groups is drawn from both of its sides, and none ends in the open.
    sides = outline(affinity, groups)
    assert sum(side == "top" for *_, side in sides) == sum(side == "bottom" for *_, side in sides)


def test_a_group_that_another_serves_is_told_from_it() -> None:
    groups = assigned([["a", "b"], ["b", "c"]], {"a": ["a", "b"], "b": ["c", "b"], "c": ["b", "c"]})
    assert [groups.letter(task) for task in "abc"] == ["A", "B", "B"]
    assert groups.together("a", "b")
    assert not groups.together("b", "a")
    assert Groups().letter("a") == ""
    assert [letter(place) for place in (0, 25, 26, 53)] == ["A", "Z", "A2", "B3"]


def test_without_a_tree_groups_stand_together() -> None:
    affinity = table(np.full((4, 4), np.nan))
    groups = assigned([["t0", "t2"], ["t1", "t3"]], {})
    drawn = affinity_map(affinity, "no tree", groups, gains=True)
    assert drawn.tasks == ("t0", "t2", "t1", "t3")
    assert drawn.letters == ("A", "A", "B", "B")


def test_many_tasks_show_signs_and_long_names_stand_on_end() -> None:
    names = [f"{name} and so on, without an end, number {i}" for i in range(3) for name in TASKS]
    affinity = Affinity.from_mapping(make_affinity(names))
    drawn = affinity_map(affinity, tree_of(affinity), Groups(), gains=True)
    assert drawn.dense
    assert drawn.upright
    assert {cell.text for row in drawn.rows for cell in row} == {"+", "\u2212", ""}
    assert max(map(len, drawn.headings)) <= 19
    assert sorted(drawn.tasks) == sorted(names)
