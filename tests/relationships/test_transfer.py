"""Transfer policies: against all choices of supervised tasks, on random and published tables."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.errors import UserError
from polytask.relationships import Affinity, transfer_policy

# Not part of the repository: affinities that StanfordVL/taskonomy publishes, as JSON beside it.
FILE = Path(__file__).parents[3] / "shared" / "data" / "taskonomy_affinities.json"


def score(table, names, importance=None):
    """The best total affinity with these tasks supervised; -inf where a target has none."""
    best = 0.0
    for target, row in table.items():
        usable = [v for key, v in row.items() if set(_key(key)) <= set(names)]
        best += (importance or {}).get(target, 1.0) * max(usable, default=-np.inf)
    return best


def _key(source):
    return (source,) if isinstance(source, str) else source


def best_by_looking_at_all(table, budget, costs=None, importance=None):
    names = sorted({n for row in table.values() for key in row for n in _key(key)})
    return max(
        score(table, chosen, importance)
        for size in range(len(names) + 1)
        for chosen in itertools.combinations(names, size)
        if sum((costs or {}).get(n, 1.0) for n in chosen) <= budget + 1e-9
    )


def check(found, table, budget, costs=None, importance=None):
    assert found.cost == pytest.approx(sum((costs or {}).get(n, 1.0) for n in found.supervised))
    assert found.cost <= budget + 1e-9
    assert set(found.transfers) == set(table)
    assert {n for key in found.transfers.values() for n in key} == set(found.supervised)
    assert found.score == pytest.approx(score(table, found.supervised, importance))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_policy_is_better(data) -> None:
    names = "abcde"[: data.draw(st.integers(1, 5))]
    keys = [*names, *itertools.combinations(names, 2)]
    number = st.integers(0, 3).map(float) | st.floats(-1, 1, width=16)
    table = {
        t: {
            key: data.draw(number)
            for key in data.draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
        }
        for t in data.draw(st.lists(st.sampled_from("abcdexy"), min_size=1, unique=True))
    }
    used = sorted({n for row in table.values() for key in row for n in _key(key)})
    costs = {n: data.draw(st.integers(0, 4)) / 2 for n in used}
    importance = {t: data.draw(st.integers(0, 3)) / 2 for t in table}
    budget = data.draw(st.integers(0, 10)) / 2
    wanted = best_by_looking_at_all(table, budget, costs, dict.fromkeys(table, 1.0))
    if wanted == -np.inf:
        with pytest.raises(UserError, match="smallest feasible budget is"):
            transfer_policy(table, budget, costs=costs, importance=importance)
        return
    found = transfer_policy(table, budget, costs=costs, importance=importance)
    check(found, table, budget, costs, importance)
    wanted = np.nan_to_num(_best_weighted(table, budget, costs, importance), neginf=-1e9)
    assert found.score == pytest.approx(wanted, abs=1e-5)


def _best_weighted(table, budget, costs, importance):
    """As `best_by_looking_at_all`, where an importance of 0 times no transfer is no answer."""
    plain = dict.fromkeys(table, 1.0)
    names = sorted({n for row in table.values() for key in row for n in _key(key)})
    return max(
        score(table, chosen, importance)
        for size in range(len(names) + 1)
        for chosen in itertools.combinations(names, size)
        if sum(costs[n] for n in chosen) <= budget + 1e-9 and score(table, chosen, plain) > -np.inf
    )


def test_the_smallest_feasible_budget_is_told() -> None:
    table = {"a": {"a": 1.0}, "b": {"a": 0.5, "b": 1.0}, "c": {("a", "d"): 0.3}}
    with pytest.raises(UserError, match=r"nothing of cost 1 .* smallest feasible budget is 2\."):
        transfer_policy(table, 1)
    with pytest.raises(UserError, match=r"smallest feasible budget is 3\.5"):
        transfer_policy(table, 3, costs={"d": 2.5})
    found = transfer_policy(table, 2)
    assert found.supervised == ("a", "d")
    assert found.transfers == {"a": ("a",), "b": ("a",), "c": ("a", "d")}
    assert found.score == pytest.approx(1.8)


def test_importance_decides_and_free_sources_are_free() -> None:
    table = {"a": {"a": 1.0, "b": 0.1}, "b": {"b": 1.0, "a": 0.2}}
    assert transfer_policy(table, 1).supervised == ("a",)
    assert transfer_policy(table, 1, importance={"b": 5}).supervised == ("b",)
    assert transfer_policy(table, 1, costs={"b": 0}).supervised == ("a", "b")


def test_equal_answers_have_a_rule() -> None:
    table = {"a": {("b", "c"): 1.0, "c": 1.0, "b": 1.0, "d": 1.0}}
    found = transfer_policy(table, 4)
    assert len(found.supervised) == 1
    assert all(transfer_policy(table, 4) == found for _ in range(3))


def test_an_affinity_is_read_as_targets_and_sources() -> None:
    table = Affinity(("a", "b"), [[1.0, 0.9], [0.1, 1.0]])
    found = transfer_policy(table, 1)
    assert found.transfers == {"a": ("b",), "b": ("b",)}
    assert found.score == pytest.approx(1.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"affinities": {}}, "found an empty one"),
        ({"affinities": [1]}, "found list"),
        ({"affinities": {"a": 1.0}}, "expected a mapping, found 1.0"),
        ({"affinities": {"a": {}}}, "no transfer is known"),
        ({"affinities": {"a": {"a": np.nan}}}, "no transfer is known"),
        ({"affinities": {"a": {"a": np.inf}}}, "from 'a': expected a finite number, found inf"),
        ({"affinities": {"a": {"a": "x"}}}, "a finite number, found 'x'"),
        ({"affinities": {"a": {("b", "b"): 1.0}}}, "names each task once"),
        ({"affinities": {"a": {3: 1.0}}}, "tuples of names, found 3"),
        ({"budget": np.nan}, "budget: expected a finite number of at least 0"),
        ({"budget": "x"}, "budget: expected a finite number of at least 0"),
        ({"budget": 0}, "smallest feasible budget is 1"),
        ({"importance": {"q": 1}}, "unknown name in importance: 'q'"),
        ({"costs": {"a": -1}}, "costs of 'a': expected a finite number of at least 0, found -1"),
    ],
)
def test_what_is_wrong_is_refused(arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        transfer_policy(**({"affinities": {"a": {"a": 1.0}}, "budget": 1} | arguments))


def taskonomy():
    """By target; there "self" is the target's own network, "random" an untrained one."""
    if not FILE.is_file():
        pytest.skip("the published affinities are not here")
    table: dict = {}
    for key, number in json.loads(FILE.read_text()).items():
        *sources, target = key.split("__")
        if sources == [target] or "random" in sources:
            continue
        named = (target,) if sources == ["self"] else tuple(sources)
        table.setdefault(target, {})[named] = number
    return table


def test_policies_for_part_of_taskonomy_are_the_best() -> None:
    whole = taskonomy()
    kept = ["rgb2depth", "rgb2sfnorm", "reshade", "curvature", "edge3d", "keypoint3d", "rgb2mist",
            "segment25d", "room_layout"]  # fmt: skip
    part = {t: {k: v for k, v in whole[t].items() if set(k) <= set(kept)} for t in kept}
    assert max(len(key) for row in part.values() for key in row) == 2
    for budget in range(1, 10):
        found = transfer_policy(part, budget)
        check(found, part, budget)
        assert found.score == pytest.approx(best_by_looking_at_all(part, budget), abs=1e-7)


def test_policies_for_all_of_taskonomy() -> None:
    table = taskonomy()
    assert len(table) == 22
    scores = []
    for budget in (1, 2, 4, 8, 16, 26):
        found = transfer_policy(table, budget)
        check(found, table, budget)
        scores.append(found.score)
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(sum(max(row.values()) for row in table.values()))
    assert scores[0] == pytest.approx(best_by_looking_at_all_of_one(table))


def best_by_looking_at_all_of_one(table):
    names = {n for row in table.values() for key in row for n in key}
    return max(score(table, [name]) for name in names)
