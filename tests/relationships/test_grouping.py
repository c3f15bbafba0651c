"""Groups from affinities: published answers, every small case against all groupings, ties."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_groups import CELEBA9, CELEBA9_TASKS, TASKONOMY5, TASKONOMY5_TASKS, mapping

import polytask
from polytask.errors import UserError
from polytask.relationships import Affinity, group_tasks
from polytask.relationships._pairwise import Pairs, _choose
from polytask.relationships._pairwise import choose_by_pairs as by_pairs

NAMES = "abcdefghijklmnopqrstuvwxyz"


def value(values, group, task, alone=None):
    others = [u for u in group if u != task]
    if task not in group or (not others and alone is None):
        return -np.inf
    found = np.mean([values[task][u] for u in others]) if others else alone
    return -np.inf if np.isnan(found) else found


def best_by_looking_at_all(values, most, alone=None):
    """The largest score of all groupings of T tasks into up to `most` groups."""
    size = len(values)
    groups = [g for s in range(1, size + 1) for g in itertools.combinations(range(size), s)]
    table = np.array([[value(values, g, t, alone) for t in range(size)] for g in groups])
    return max(
        table[list(chosen)].max(0).mean()
        for count in range(1, min(most, size) + 1)
        for chosen in itertools.combinations(range(len(groups)), count)
    )


def check(found, values, most, alone=None):
    """A grouping is what it says: limits, members, and the best group for each task."""
    names = NAMES[: len(values)]
    groups = [tuple(names.index(t) for t in g) for g in found.groups]
    assert len(groups) <= most
    assert groups == sorted(groups)
    assert set(found.assignment) == set(names) == set(found.values)
    for t, name in enumerate(names):
        worth = [value(values, g, t, alone) for g in groups]
        assert found.assignment[name] in found.groups
        assert found.values[name] == pytest.approx(max(worth))
        assert worth[found.groups.index(found.assignment[name])] == pytest.approx(max(worth))
    assert found.score == pytest.approx(np.mean(list(found.values.values())))
    assert set(found.groups) == set(found.assignment.values())  # none without use


@pytest.mark.parametrize(
    ("most", "score", "groups"),
    [
        (1, 0.129292, {"ss_l depth_l norm_l key_l edge2d_l"}),
        (2, 0.321696, {"key_l edge2d_l", "ss_l depth_l norm_l"}),
        (3, 0.348670, {"ss_l depth_l", "depth_l norm_l", "key_l edge2d_l"}),
        (99, 0.348670, {"ss_l depth_l", "depth_l norm_l", "key_l edge2d_l"}),
    ],
)
def test_taskonomy_of_the_paper(most, score, groups) -> None:
    found = polytask.group_tasks(mapping(TASKONOMY5_TASKS, TASKONOMY5), max_groups=most)
    assert found.score == pytest.approx(score, abs=5e-7)
    assert set(found.groups) == {
        tuple(sorted(g.split(), key=TASKONOMY5_TASKS.index)) for g in groups
    }
    assert found.gap == 0.0


def test_celeba_of_the_paper() -> None:
    table = Affinity(CELEBA9_TASKS, CELEBA9)
    one, two = group_tasks(table, 1), group_tasks(table, 2)
    assert one.score == pytest.approx(-106.905452, abs=5e-7)
    assert one.groups == (CELEBA9_TASKS,)
    assert two.score == pytest.approx(-99.441819, abs=5e-7)
    assert two.groups == (("5_o_Clock_Shadow", "No_Beard"), CELEBA9_TASKS[1:])
    assert one.gap == two.gap == 0.0


def test_the_direction_matters() -> None:
    turned = mapping(TASKONOMY5_TASKS, np.transpose(TASKONOMY5).tolist())
    # Where no task is in two groups the sum over a group is the same both ways; here one is.
    assert group_tasks(turned, 2).score == pytest.approx(0.321696, abs=5e-7)
    assert group_tasks(turned, 3).score != pytest.approx(0.348670, abs=1e-3)


def test_every_way_of_giving_a_table() -> None:
    table = Affinity(TASKONOMY5_TASKS, TASKONOMY5)
    frame = pd.DataFrame(TASKONOMY5, index=TASKONOMY5_TASKS, columns=TASKONOMY5_TASKS)
    assert group_tasks(frame, 2) == group_tasks(table, 2)
    assert group_tasks(mapping(TASKONOMY5_TASKS, TASKONOMY5), 2) == group_tasks(table, 2)
    with pytest.raises(UserError, match=r"For an array, use Affinity\(tasks, values\)"):
        group_tasks(np.array(TASKONOMY5), 2)


numbers = st.integers(-3, 3).map(float) | st.floats(-1, 1, width=16)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_grouping_is_better(data) -> None:
    size = data.draw(st.integers(2, 4))
    most = data.draw(st.integers(1, 3))
    alone = data.draw(st.none() | numbers)
    entry = numbers | st.just(np.nan)
    cells = data.draw(st.lists(entry, min_size=size**2, max_size=size**2))
    values = np.reshape(cells, (size, size))
    np.fill_diagonal(values, data.draw(st.sampled_from([0.0, np.nan, 100.0])))
    wanted = best_by_looking_at_all(values, most, alone)
    table = Affinity(tuple(NAMES[:size]), values)
    if wanted == -np.inf:
        with pytest.raises(UserError, match=r"smallest feasible number|no group serves"):
            group_tasks(table, most, alone)
        return
    found = group_tasks(table, most, alone)
    check(found, values, most, alone)
    assert found.score == pytest.approx(wanted, abs=1e-6)
    assert found.gap == 0.0


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0])
def test_units_do_not_matter(scale, shift) -> None:
    values = np.random.default_rng(0).normal(size=(7, 7))
    plain = group_tasks(Affinity(tuple(NAMES[:7]), values), 3)
    other = group_tasks(Affinity(tuple(NAMES[:7]), scale * (values + shift)), 3)
    assert other.groups == plain.groups
    assert other.score == pytest.approx(scale * (plain.score + shift))


@pytest.mark.parametrize("seed", range(4))
def test_the_table_of_all_groups_and_a_part_with_the_answer_agree(seed) -> None:
    # What leaves columns out must not leave out the answer: twelve tasks, 4095 groups.
    draw = np.random.default_rng(seed)
    parts = draw.normal(size=(12, 3))
    values = parts @ parts.T + draw.normal(size=(12, 12))
    most = 2 + seed % 4
    found = group_tasks(Affinity(tuple(NAMES[:12]), values), most)
    check(found, values, most)
    pairs = Pairs(values, np.full(12, -np.inf))
    for _ in range(8):  # random groupings, improved by exchanges among random groups
        members = draw.random((300, 12)) < draw.uniform(0.2, 0.6)
        members[0] = True
        tried = _choose(NAMES[:12], pairs, members, most, None, lambda m: np.ones(len(m)))
        assert pairs.gains(tried.members).max(1).mean() <= found.score + 1e-9


def test_more_groups_are_never_worse() -> None:
    table = Affinity(CELEBA9_TASKS, CELEBA9)
    scores = [group_tasks(table, k).score for k in range(1, 7)]
    assert scores == sorted(scores)
    tops = [max(v for j, v in enumerate(row) if j != i) for i, row in enumerate(CELEBA9)]
    assert group_tasks(table, 9).score == pytest.approx(np.mean(tops))


def test_the_order_of_tasks_does_not_matter_without_ties() -> None:
    order = [4, 2, 0, 8, 6, 1, 3, 5, 7]
    turned = Affinity([CELEBA9_TASKS[i] for i in order], np.array(CELEBA9)[np.ix_(order, order)])
    one, other = group_tasks(Affinity(CELEBA9_TASKS, CELEBA9), 3), group_tasks(turned, 3)
    assert {frozenset(g) for g in one.groups} == {frozenset(g) for g in other.groups}
    assert one.score == pytest.approx(other.score)


def test_of_equal_answers_the_one_with_the_fewest_groups_then_members() -> None:
    flat = Affinity(tuple("abcd"), np.ones((4, 4)))
    assert group_tasks(flat, 4).groups == (("a", "b", "c", "d"),)
    # Two pairs are best; a third group, or a wider one, adds nothing.
    pairs = np.kron(np.eye(2), np.ones((2, 2)))
    found = group_tasks(Affinity(tuple("abcd"), pairs), 4)
    assert found.groups == (("a", "b"), ("c", "d"))
    assert [group_tasks(flat, 2, alone=1.0) for _ in range(3)] == [group_tasks(flat, 2, 1.0)] * 3


def test_a_task_in_two_groups_is_served_by_the_smaller() -> None:
    values = np.array([[0, 2, 2, 2], [2, 0, 0, 0], [0, 0, 0, 3], [0, 0, 3, 0]], dtype=float)
    found = group_tasks(Affinity(tuple("abcd"), values), 2)
    check(found, values, 2)
    assert found.assignment["a"] == ("a", "b")


def test_alone_can_be_the_answer() -> None:
    harm = {"a": {"b": -0.1, "c": -0.2}, "b": {"a": 0.3, "c": -1}, "c": {"a": -0.4, "b": -0.5}}
    found = group_tasks(harm, 3, alone=0)
    assert found.groups == (("a",), ("a", "b"), ("c",))
    assert found.assignment == {"a": ("a",), "b": ("a", "b"), "c": ("c",)}
    assert found.score == pytest.approx(0.1)
    assert all(len(g) > 1 for g in group_tasks(harm, 3).groups)
    assert group_tasks({"a": {}}, 5, alone=0.25).groups == (("a",),)
    assert group_tasks({"a": {}, "b": {}}, 2, alone=0.0).groups == (("a",), ("b",))


def test_unknown_pairs_serve_nobody() -> None:
    values = np.ones((4, 4))
    values[0, 2] = values[0, 3] = values[1, 2] = values[1, 3] = np.nan
    found = group_tasks(Affinity(tuple("abcd"), values), 2)
    assert found.groups == (("a", "b"), ("c", "d"))
    with pytest.raises(UserError, match="smallest feasible number is 2; found max_groups=1"):
        group_tasks(Affinity(tuple("abcd"), values), 1)
    values[0, 1] = np.nan
    with pytest.raises(UserError, match="no group serves 'a'"):
        group_tasks(Affinity(tuple("abcd"), values), 4)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_a_wrong_number_of_groups_is_refused(wrong) -> None:
    with pytest.raises(UserError, match="max_groups: expected a whole number of at least 1"):
        group_tasks(Affinity(("a", "b"), np.ones((2, 2))), wrong)


def test_one_task_and_a_wrong_alone_are_refused() -> None:
    with pytest.raises(UserError, match="expected at least two tasks, found only 'a'"):
        group_tasks({"a": {"a": 1.0}}, 1)
    with pytest.raises(UserError, match="alone: expected a finite number"):
        group_tasks({"a": {"b": 1}, "b": {"a": 1}}, 1, alone=float("nan"))


@pytest.mark.parametrize("alone", [None, 0.1])
def test_many_tasks_have_an_answer_and_an_honest_gap(alone) -> None:
    # Four blocks of six tasks that help each other and nobody else: the answer is known.
    draw = np.random.default_rng(1)
    values = np.kron(np.eye(4), np.ones((6, 6))) + draw.normal(0, 0.02, (24, 24))
    found = group_tasks(Affinity(tuple(NAMES[:24]), values), 4, alone)
    check(found, values, 4, alone)
    blocks = {tuple(NAMES[6 * b : 6 * b + 6]) for b in range(4)}
    assert set(found.groups) == blocks
    assert 0.0 <= found.gap < 0.05
    assert group_tasks(Affinity(tuple(NAMES[:24]), values), 4, alone) == found


@pytest.mark.parametrize("most", [1, 2, 4, 9])
@pytest.mark.parametrize("alone", [None, 0.4])
def test_the_beam_s_bound_is_one_and_its_answer_is_near(monkeypatch, most, alone) -> None:
    draw = np.random.default_rng(most)
    values = draw.normal(size=(9, 9))
    values[draw.random((9, 9)) < 0.1] = np.nan
    values[0, 1:] = np.abs(values[0, 1:])
    table = Affinity(tuple(NAMES[:9]), values)
    lone = np.full(9, -np.inf if alone is None else alone)
    monkeypatch.setattr("polytask.relationships._bound.ENTRIES", 200)  # groups of up to 3
    if most < 3:  # with unknown pairs so few groups cannot serve all
        values[:] = np.nan_to_num(values)
        table = Affinity(tuple(NAMES[:9]), values)
    best = group_tasks(table, most, alone)
    monkeypatch.setattr("polytask.relationships._pairwise.EXACT", 3)
    ones = lambda members: np.ones(len(members))  # noqa: E731
    found = by_pairs(table.tasks, Pairs(table.values, lone), most, None, ones)
    beam = group_tasks(table, most, alone)
    assert beam.gap == pytest.approx(found.gap / 9)
    assert best.score - 0.02 <= beam.score <= best.score + 1e-9
    assert beam.score + beam.gap >= best.score - 1e-9
    check(beam, table.values, most, alone)
