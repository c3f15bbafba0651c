"""Groups from losses of groups: published answers, budgets, predictions, what is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_groups import STANDLEY

from polytask.errors import UserError
from polytask.relationships import GroupLosses, choose_groups, predict_group_losses

TASKS = "sdnke"
PAIRS = {group: losses for group, losses in STANDLEY.items() if len(group) < 3}


def named(text: str) -> set[tuple[str, ...]]:
    return {tuple(word) for word in text.split()}


def total(losses, groups) -> float:
    return sum(min(losses[g][t] for g in groups if t in losses[g]) for t in TASKS)


@pytest.mark.parametrize(
    ("most", "score", "groups"),
    [(1, 0.50761, "sdnke"), (2, 0.45686, "sdn nke"), (3, 0.44702, "sdn n nke")],
)
def test_measured_losses_of_the_paper(most, score, groups) -> None:
    found = choose_groups(STANDLEY, max_groups=most)
    assert found.score == pytest.approx(score, abs=5e-6)
    assert set(found.groups) == named(groups)
    assert found.score == pytest.approx(sum(found.values.values()))
    assert found.gap == 0.0
    assert choose_groups(STANDLEY, budget=most) == found  # each network costs 1
    assert found.cost == most


def test_a_task_may_be_served_by_a_smaller_group_than_it_is_in() -> None:
    found = choose_groups(STANDLEY, max_groups=3)
    assert found.assignment["n"] == ("n",)
    assert found.assignment["k"] == ("n", "k", "e")


def test_all_alone_is_one_choice() -> None:
    alone = {group: losses for group, losses in STANDLEY.items() if len(group) == 1}
    found = choose_groups(alone)
    assert found.score == pytest.approx(0.45313, abs=5e-6)
    with pytest.raises(UserError, match=r"smallest feasible number is 5; found max_groups=4"):
        choose_groups(alone, max_groups=4)
    with pytest.raises(UserError, match=r"for 4\.5; the smallest feasible budget is 5"):
        choose_groups(alone, budget=4.5)


@pytest.mark.parametrize(
    ("most", "groups", "true", "predicted"),
    [(2, "sn dnke", 0.46009, 0.46188), (3, "sn dnk e", 0.45334, 0.45559)],
)
def test_predicted_losses_of_the_paper(most, groups, true, predicted) -> None:
    losses = predict_group_losses(PAIRS)
    found = choose_groups(losses, max_groups=most)
    assert set(found.groups) == named(groups)
    assert found.score == pytest.approx(predicted, abs=5e-6)
    assert total(STANDLEY, found.groups) == pytest.approx(true, abs=5e-6)
    # All groups written out take another way through the code.
    written = choose_groups(dict(losses), max_groups=most)
    assert set(written.groups) == set(found.groups)
    assert written.score == pytest.approx(found.score)


def test_predictions_correlate_with_what_was_measured() -> None:
    losses = predict_group_losses(PAIRS)
    entries = [(losses[g][t], STANDLEY[g][t]) for g in STANDLEY if len(g) > 2 for t in g]
    assert len(entries) == 55
    assert np.corrcoef(np.transpose(entries))[0, 1] == pytest.approx(0.996, abs=5e-4)
    assert all(losses[g] == pytest.approx(PAIRS[g]) for g in PAIRS)


def test_a_prediction_is_the_mean_over_pairs() -> None:
    losses = predict_group_losses(
        {("a", "b"): {"a": 1, "b": 2}, ("c", "a"): {"a": 3, "c": 4}, ("b", "c"): {"b": 5, "c": 8}}
    )
    assert losses["a", "b", "c"] == {"a": 2.0, "b": 3.5, "c": 6.0}
    assert losses["c", "b", "a"] == losses["a", "b", "c"]
    assert losses["c", "a"] == {"a": 3.0, "c": 4.0}
    assert list(losses) == [("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert len(losses) == 4
    for wrong in [("a",), ("a", "x"), ("a", "a"), (), "ab", 3]:
        assert wrong not in losses


def test_unknown_pairs_predict_nothing() -> None:
    losses = predict_group_losses({("a", "b"): {"a": 1, "b": float("nan")}, ("c", "b"): {"c": 1}})
    assert dict(losses) == {("a", "b"): {"a": 1.0}, ("b", "c"): {"c": 1.0}}
    with pytest.raises(UserError, match="no group serves 'b'"):
        choose_groups(losses, 3)


def best_by_looking_at_all(losses, tasks, most, budget, costs):
    groups, best = list(losses), np.inf
    for count in range(1, min(most or len(tasks), len(groups)) + 1):
        for chosen in itertools.combinations(groups, count):
            if budget is not None and sum(costs[g] for g in chosen) > budget + 1e-12:
                continue
            offers = [[losses[g][t] for g in chosen if t in losses[g]] for t in tasks]
            if all(offers):
                best = min(best, sum(map(min, offers)))
    return best


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_choice_is_better(data) -> None:
    tasks = "abcd"[: data.draw(st.integers(1, 4))]
    every = [g for s in range(1, len(tasks) + 1) for g in itertools.combinations(tasks, s)]
    groups = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=7, unique=True))
    loss = st.integers(0, 4) | st.floats(0, 2, width=16)
    losses = {g: {t: data.draw(loss) for t in g if data.draw(st.integers(0, 5))} for g in groups}
    costs = {g: data.draw(st.integers(0, 4)) / 2 for g in groups}
    most = data.draw(st.none() | st.integers(1, 3))
    budget = data.draw(st.none() | st.integers(0, 12).map(lambda n: n / 2))
    inside = [t for t in tasks if any(t in g for g in groups)]
    wanted = best_by_looking_at_all(losses, inside, most, budget, costs)
    if wanted == np.inf:
        with pytest.raises(UserError, match=r"smallest feasible|no group serves"):
            choose_groups(losses, most, budget, costs)
        return
    found = choose_groups(losses, most, budget, costs)
    assert found.score == pytest.approx(wanted, abs=1e-6)
    assert found.gap == 0.0
    assert found.cost == pytest.approx(sum(costs[g] for g in _given(found.groups, groups)))
    assert len(found.groups) <= (most or 99)
    assert budget is None or found.cost <= budget + 1e-9
    for task in inside:
        chosen = next(g for g in groups if set(g) == set(found.assignment[task]))
        assert found.values[task] == losses[chosen][task]


def _given(found, groups):
    """The groups as they were given: the order of names may differ."""
    return [next(g for g in groups if set(g) == set(one)) for one in found]


def test_costs_by_mapping_and_by_function() -> None:
    costs = {tuple(reversed(g)): 1.0 + 0.1 * len(g) for g in STANDLEY}
    by_table = choose_groups(STANDLEY, budget=2.6, costs=costs)
    by_function = choose_groups(STANDLEY, budget=2.6, costs=lambda g: 1.0 + 0.1 * len(g))
    assert by_table == by_function
    assert by_table.cost <= 2.6 + 1e-9
    assert by_table.score == pytest.approx(
        best_by_looking_at_all(
            STANDLEY, TASKS, None, 2.6, {g: 1.0 + 0.1 * len(g) for g in STANDLEY}
        )
    )
    predicted = choose_groups(
        predict_group_losses(PAIRS), budget=2.6, costs=lambda g: 1.0 + 0.1 * len(g)
    )
    assert predicted.cost <= 2.6 + 1e-9
    with pytest.raises(UserError, match=r"smallest feasible budget is 1\.5"):
        choose_groups(STANDLEY, budget=1.4, costs=lambda g: 1.0 + 0.1 * len(g))


def test_the_smallest_budget_keeps_the_number_of_groups() -> None:
    losses = {
        ("a", "b"): {"a": 1, "b": 1}, ("a",): {"a": 1}, ("b",): {"b": 1}, ("c",): {"c": 1},
    }  # fmt: skip
    costs = {("a", "b"): 7, ("a",): 1, ("b",): 2, ("c",): 0.5}
    with pytest.raises(UserError, match=r"smallest feasible budget is 3\.5"):
        choose_groups(losses, budget=3, costs=costs)
    with pytest.raises(UserError, match=r"smallest feasible budget is 7\.5"):
        choose_groups(losses, max_groups=2, budget=3, costs=costs)
    assert choose_groups(losses, budget=3.5, costs=costs).cost == 3.5


def test_of_equal_choices_the_one_with_the_fewest_groups_then_members() -> None:
    flat = {g: dict.fromkeys(g, 1.0) for g in STANDLEY}
    assert choose_groups(flat).groups == (tuple(TASKS),)
    del flat[tuple(TASKS)]
    found = choose_groups(flat)
    assert sorted(map(len, found.groups)) == [1, 4]
    assert all(choose_groups(flat) == found for _ in range(3))


def test_more_tasks_than_are_searched_wholly() -> None:
    # 24 tasks in blocks of 6: losses are small inside a block. And 200 measured groups are exact.
    tasks = [f"t{i:02}" for i in range(24)]
    draw = np.random.default_rng(0)
    pairs = {(t,): {t: 2.0} for t in tasks}
    for i, j in itertools.combinations(range(24), 2):
        base = 1.0 if i // 6 == j // 6 else 3.0
        pairs[tasks[i], tasks[j]] = {
            tasks[i]: base + draw.normal(0, 0.02), tasks[j]: base + draw.normal(0, 0.02)
        }  # fmt: skip
    losses = predict_group_losses(pairs)
    assert isinstance(losses, GroupLosses)
    found = choose_groups(losses, max_groups=4)
    assert set(found.groups) == {tuple(tasks[6 * b : 6 * b + 6]) for b in range(4)}
    assert 0 <= found.gap < 1.0
    few = {g: losses[g] for g in pairs} | {g: losses[g] for g in found.groups}
    exact = choose_groups(few, max_groups=4)
    assert (exact.groups, exact.gap) == (found.groups, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_losses": {}}, "expected a mapping such as .* found an empty one"),
        ({"group_losses": [1]}, "found list"),
        ({"group_losses": {"ab": {"a": 1}}}, "groups as tuples of names, found 'ab'"),
        ({"group_losses": {(): {}}}, r"tuples of names, found \(\)"),
        ({"group_losses": {(1, 2): {}}}, r"tuples of names, found \(1, 2\)"),
        ({"group_losses": {("a", "a"): {}}}, "names each task once"),
        ({"group_losses": {("a", "b"): {}, ("b", "a"): {}}}, "each group may be there once"),
        ({"group_losses": {("a",): 1.0}}, "a mapping from tasks to losses"),
        ({"group_losses": {("a", "bc"): {"b": 1.0}}}, "did you mean 'bc'"),
        ({"group_losses": {("a",): {"a": "x"}}}, "a finite loss, or NaN where unknown; found 'x'"),
        ({"group_losses": {("a",): {"a": np.inf}}}, "found inf"),
        ({"group_losses": {("a",): {"a": None}}}, "no group serves 'a'"),
        ({"max_groups": 0}, "a whole number of at least 1, found 0"),
        ({"budget": -1}, "a finite number of at least 0, found -1"),
        ({"budget": np.nan}, "a finite number of at least 0, found nan"),
        ({"costs": {("a",): 1.0}}, r"found none for \('a', 'b'\)"),
        ({"costs": 3.0}, "a mapping from groups to numbers"),
        ({"costs": lambda g: -1.0}, "a finite number of at least 0, found -1.0"),
        ({"costs": lambda g: "x"}, "a finite number of at least 0, found 'x'"),
    ],
)
def test_what_is_wrong_is_refused(arguments, message) -> None:
    fine = {"group_losses": {("a",): {"a": 1}, ("a", "b"): {"a": 1, "b": 1}}}
    with pytest.raises(UserError, match=message):
        choose_groups(**(fine | arguments))


def test_predictions_need_pairs() -> None:
    with pytest.raises(UserError, match="groups of one or two tasks"):
        predict_group_losses(STANDLEY)
    with pytest.raises(UserError, match="found an empty one"):
        predict_group_losses({})
