"""The tree of tasks and the forests of a check: against an oracle, and read back from the SVG."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relation_study import TASKS, make_affinity, make_relation

from polytask.errors import UserError
from polytask.relationships import Affinity, group_tasks
from polytask.report import affinity_heat_map, dendrogram
from polytask.report.numbers import signed
from polytask.report.relation_plots import check_forests, tree_svg
from polytask.report.relation_results import read_relation
from polytask.report.relation_scale import scale_of
from polytask.report.relation_tree import Tree, tree_of


def affinity_of(size: int, seed: int = 0, scale: float = 1.0) -> Affinity:
    return Affinity.from_mapping(make_affinity([f"t{i}" for i in range(size)], scale, seed))


def tree(affinity: Affinity) -> Tree:
    found = tree_of(affinity)
    assert isinstance(found, Tree)
    return found


def by_hand(affinity: Affinity) -> list[float]:
    """Average linkage as it is defined: join the two clusters of greatest mean affinity."""
    mean = (affinity.values + affinity.values.T) / 2
    clusters = [[i] for i in range(len(affinity.tasks))]
    joins = []
    while len(clusters) > 1:
        ways = [
            (float(np.mean([mean[i, j] for i in one for j in other])), a, b)
            for a, one in enumerate(clusters)
            for b, other in enumerate(clusters[:a])
        ]
        best, a, b = max(ways)
        joins.append(best)
        clusters = [c for k, c in enumerate(clusters) if k not in (a, b)] + [
            clusters[a] + clusters[b]
        ]
    return joins


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 10), st.integers(0, 10**6))
def test_the_tree_is_that_of_average_linkage(size: int, seed: int) -> None:
    affinity = affinity_of(size, seed)
    found = tree(affinity)
    assert sorted(found.leaves) == sorted(affinity.tasks)
    np.testing.assert_allclose([j.affinity for j in found.joins], by_hand(affinity), atol=1e-12)
    # Branches do not cross: what is joined lies side by side.
    spans = {float(place): (place, place) for place in range(size)}
    for join in found.joins:
        one, other = (spans.pop(place) for place in join.places)
        assert one[1] + 1 == other[0]
        spans[sum(join.places) / 2] = (one[0], other[1])


def test_a_tree_needs_every_pair_and_two_tasks() -> None:
    values = np.zeros((3, 3))
    values[0, 1] = np.nan
    assert tree_of(Affinity(["a", "b", "c"], values)) == (
        "2 of 3 pairs were measured both ways, and all must be"
    )
    assert tree_of(Affinity(["a"], [[0.0]])) == "one task alone has no tree"


def test_without_scipy_there_is_a_sentence_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    assert tree_of(affinity_of(3)) == "SciPy, which computes it, is not installed"


@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_the_drawn_joins_lie_at_the_affinities(scale: float) -> None:
    affinity = affinity_of(7, scale=scale)
    found = tree(affinity)
    drawn = tree_svg(found, scale_of(affinity, True), ["A"] * 7)
    brackets = re.findall(r'd="M (\S+) (\S+) L (\S+) \S+ L \S+ (\S+) L (\S+) \S+ "', drawn)
    assert len(brackets) == len(found.joins)
    x = np.array([float(corner) for _, _, corner, _, _ in brackets])
    wanted = np.array([join.affinity for join in found.joins])
    slope, offset = np.polyfit(wanted, x, 1)
    assert slope < 0  # less affinity lies further right
    np.testing.assert_allclose(slope * wanted + offset, x, atol=0.02)
    for (left, above, _, below, right), join in zip(brackets, found.joins, strict=True):
        for start, before in zip((left, right), join.starts, strict=True):
            if before is not None:
                assert float(start) == pytest.approx(slope * before + offset, abs=0.02)
        assert float(below) - float(above) == pytest.approx(
            22 * (join.places[1] - join.places[0]), abs=0.02
        )
    for leaf in found.leaves:
        assert f">{leaf}<" in drawn
    unit = 10.0 ** scale_of(affinity, True).power
    ticks = re.findall(r' x="([\d.]+)" y="[\d.]+">(\u2212?[\d.]+)</text>', drawn)
    assert len(ticks) > 2
    for place, said in ticks:
        value = float(said.replace("\u2212", "-")) * unit
        assert float(place) == pytest.approx(slope * value + offset, abs=0.02)
    assert ("in 10⁻" in drawn) == (scale < 1)


def test_forests_hold_the_numbers_of_the_check() -> None:
    study = make_relation()
    gains, versus = check_forests(read_relation(study))
    others = [e for e in study["check"]["arrangements"] if e["id"] != "alone"]
    assert [(r.label, r.mean, r.low, r.high, r.chosen) for r in gains.rows] == [
        (e["name"], *(e["delta_m"][k] for k in ("mean", "low", "high")), e["id"] == "recommended")
        for e in others
    ]
    assert [(r.mean, r.low, r.high) for r in versus.rows] == [
        (c["mean"], c["low"], c["high"]) for c in study["check"]["contrasts"]
    ]
    assert gains.limits == versus.limits
    study["check"] |= {"contrasts": []}
    assert len(check_forests(read_relation(study))) == 1


def test_figures_of_an_affinity_of_ones_own() -> None:
    table = make_affinity(TASKS)
    table["rent"]["age"] = None  # type: ignore[assignment]
    grouping = group_tasks(table, 3, alone=0.0)
    (axes,) = affinity_heat_map(table, grouping).axes
    texts = [text.get_text() for text in axes.texts]
    order = [label.get_text() for label in axes.get_yticklabels()]
    assert [label.get_text() for label in axes.get_xticklabels()] == order
    for index, text in enumerate(texts):
        scored, companion = order[index // 7], order[index % 7]
        value = table[scored].get(companion)
        assert text == ("" if value is None else signed(value, 3))
    (axes,) = dendrogram(make_affinity(TASKS), group_tasks(make_affinity(TASKS), 3)).axes
    assert {text.get_text() for text in axes.texts} == {*TASKS, "A", "B", "C"}
    with pytest.raises(UserError, match="20 of 21 pairs were measured both ways"):
        dendrogram(table)
    with pytest.raises(UserError, match="expected groups of the tasks of the affinities"):
        affinity_heat_map(make_affinity(["a", "b"]), grouping)
    with pytest.raises(UserError, match="expected an Affinity"):
        dendrogram([[1.0]])  # type: ignore[arg-type]


def test_a_figure_of_many_tasks_and_plain_numbers_can_be_written(tmp_path: object) -> None:
    table = make_affinity([f"task {i}" for i in range(20)], 1e-4)
    figure = affinity_heat_map(table, gains=False)
    figure.savefig(f"{tmp_path}/map.svg")
    assert "numbers in 10⁻" in figure.axes[0].get_xlabel()
