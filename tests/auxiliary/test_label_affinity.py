"""Affinities of labels: copies, strangers, all pairs of kinds, and what cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats.contingency import association
from sklearn.datasets import load_wine
from sklearn.metrics import normalized_mutual_info_score

from polytask.auxiliary import label_affinity, label_statistics
from polytask.auxiliary._label_affinity import contingency
from polytask.errors import UserError
from polytask.relationships import Affinity, group_tasks
from polytask.tasks import Task

FEW: dict[str, Any] = {"resamples": 20, "permutations": 30}


def two(one: Task, other: Task, a: Any, b: Any, **options: Any) -> Affinity:
    """The affinity of two tasks."""
    tasks = {one.name: one, other.name: other}
    return label_affinity(tasks, {one.name: np.asarray(a), other.name: np.asarray(b)}, **options)


def task(name: str, kind: Any = "regression", **options: Any) -> Task:
    return Task(name, kind, **options)


def three(rows: int = 400, seed: int = 0) -> tuple[dict[str, Task], dict[str, np.ndarray]]:
    """A number, classes that hang on it, and a label that has nothing to do with either."""
    chance = np.random.default_rng(seed)
    number = chance.normal(size=rows)
    which = np.digitize(number + 0.5 * chance.normal(size=rows), [-0.5, 0.5])
    tasks = {
        "number": task("number"),
        "which": task("which", "multiclass", classes=(0, 1, 2)),
        "coin": task("coin", "binary"),
    }
    return tasks, {"number": number, "which": which, "coin": chance.integers(0, 2, rows)}


@pytest.mark.parametrize("measure", ["information", "correlation"])
@pytest.mark.parametrize("adjusted", [True, False])
def test_copies_have_an_affinity_of_one(measure: str, adjusted: bool) -> None:
    chance = np.random.default_rng(0)
    codes, numbers = chance.integers(0, 4, 200), chance.normal(size=200)
    options: dict[str, Any] = {"measure": measure, "adjusted": adjusted, **FEW}
    classes = {"kind": "multiclass", "classes": (0, 1, 2, 3)}
    found = two(task("a", **classes), task("b", **classes), codes, 3 - codes, **options)
    assert found["a"]["b"] == pytest.approx(1)
    assert found.standard_errors is not None
    assert found.standard_errors[0, 1] == pytest.approx(0, abs=1e-12)
    found = two(task("a"), task("b"), numbers, 7 - 2 * numbers, **options)
    assert found["a"]["b"] == pytest.approx(1)
    tags = chance.integers(0, 2, 200)
    found = two(task("a", "binary"), task("b", "binary"), tags, tags, **options)
    assert found["b"]["a"] == pytest.approx(1)
    assert found["a"]["a"] == 1


@pytest.mark.parametrize("measure", ["information", "correlation"])
def test_strangers_stay_within_what_chance_gives(measure: str) -> None:
    many = {"kind": "multiclass", "classes": tuple(range(20))}
    values, plain, errors = [], [], []
    for seed in range(20):
        chance = np.random.default_rng(seed)
        a, b = chance.integers(0, 20, (2, 300))
        found = two(task("a", **many), task("b", **many), a, b, measure=measure, **FEW)
        values.append(found["a"]["b"])
        assert found.standard_errors is not None
        errors.append(found.standard_errors[0, 1])
        raw = two(
            task("a", **many), task("b", **many), a, b, measure=measure, adjusted=False, **FEW
        )
        plain.append(raw["a"]["b"])
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(20)
    assert np.std(values) < 0.02
    assert min(plain) > 0.03  # what is taken off is not small
    assert min(values) < 0 < max(values)
    assert min(errors) > 0


def test_plain_values_are_those_of_the_statistics_and_of_scikit_learn() -> None:
    tasks, targets = three()
    for measure in ("information", "correlation"):
        found = label_affinity(tasks, targets, measure=measure, adjusted=False, **FEW)
        for name in ("number", "coin"):
            statistics = label_statistics(tasks, targets, "which", **FEW)[name]
            told = getattr(statistics, measure)
            if told is not None:  # of two tasks with classes the statistics have no correlation
                assert found[name]["which"] == pytest.approx(told.value, rel=1e-12)
    found = label_affinity(tasks, targets, adjusted=False, **FEW)
    oracle = normalized_mutual_info_score(targets["which"], targets["coin"])
    assert found["which"]["coin"] == pytest.approx(oracle, abs=1e-12)
    kinds = label_affinity(tasks, targets, **FEW)
    assert kinds["number"]["which"] > 0.15
    assert abs(kinds["number"]["coin"]) < 0.03


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_of_classes_it_is_cramers(seed: int, a: int, b: int) -> None:
    chance = np.random.default_rng(seed)
    x = chance.integers(0, a, 60)
    y = np.where(chance.random(60) < 0.5, x % b, chance.integers(0, b, 60))
    table = np.zeros((a, b), int)
    np.add.at(table, (x, y), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    found = contingency(x.astype(float), y.astype(float))
    if min(table.shape) < 2:
        assert found is None
        return
    assert found == pytest.approx(association(table, method="cramer") ** 2, abs=1e-12)
    if table.shape == (2, 2):
        assert found == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, abs=1e-12)


@given(st.integers(0, 1000), st.sampled_from(["information", "correlation"]))
@settings(max_examples=10, deadline=None)
def test_symmetric_whatever_the_order_and_the_others(seed: int, measure: str) -> None:
    tasks, targets = three(80, seed)
    found = label_affinity(tasks, targets, measure=measure, seed=seed, **FEW)
    np.testing.assert_array_equal(found.values, found.values.T)
    assert found.standard_errors is not None
    np.testing.assert_array_equal(found.standard_errors, found.standard_errors.T)
    turned = {name: tasks[name] for name in ("coin", "number")}
    again = label_affinity(turned, targets, measure=measure, seed=seed, **FEW)
    assert again["coin"]["number"] == found["number"]["coin"]


def test_missing_labels_are_left_out_and_training_rows_are_chosen() -> None:
    tasks, targets = three()
    number, which = targets["number"].copy(), targets["which"].copy()
    number[:100], which[300:] = np.nan, -100
    both = np.arange(100, 300)
    one = {"number": number, "which": which, "coin": targets["coin"]}
    found = label_affinity(tasks, one, adjusted=False, **FEW)
    oracle = label_affinity(tasks, targets, both, adjusted=False, **FEW)
    # The bins are those of all rows that are read, here the very same ones.
    assert found["number"]["which"] == pytest.approx(oracle["number"]["which"], abs=1e-12)
    assert found["number"]["coin"] != oracle["number"]["coin"]


def test_labels_and_outputs_in_several_columns() -> None:
    chance = np.random.default_rng(0)
    tags = chance.integers(0, 2, (300, 3)).astype(np.float32)
    pair = tags[:, :2] + 0.1 * chance.normal(size=(300, 2))
    several = task("tags", "multilabel", classes=("a", "b", "c"))
    found = two(several, task("pair", size=2), tags, pair, measure="correlation", **FEW)
    # Two of the six pairs of columns belong together.
    assert found["tags"]["pair"] == pytest.approx(1 / 3, abs=0.02)


def test_what_is_not_defined_says_why() -> None:
    tasks, targets = three(60)
    tasks |= {
        "one": task("one", "binary"),
        "map": task("map", places=(2, 2)),
        "rare": task("rare"),
        "own": task("own", "custom", loss_function=lambda o, t: (o - t).square()),
    }
    rare = np.full(60, np.nan)
    rare[:9] = np.arange(9)
    targets |= {
        "one": np.zeros(60, int),
        "map": np.random.default_rng(0).normal(size=(60, 2, 2)),
        "rare": rare,
        "own": np.zeros(60),
    }
    found = label_affinity(tasks, targets, **FEW)
    for name in ("one", "map", "rare", "own"):
        others = [other for other in tasks if other != name]
        assert all(np.isnan(found[name][other]) for other in others)
    assert np.isfinite(found.values[:3, :3]).all()
    assert found["map"]["map"] == 1
    assert np.isnan(found["one"]["one"])
    assert "normalised mutual information" in found.measured
    assert "number with one (one of the two is constant" in found.measured
    assert len(found.measured) < 600
    few = label_affinity({k: tasks[k] for k in ("map", "which")}, targets, **FEW)
    assert "places [2, 2] of the one are not [] of the other" in few.measured
    few = label_affinity({k: tasks[k] for k in ("rare", "which")}, targets, **FEW)
    assert "only 9 rows have a label of both" in few.measured
    few = label_affinity({k: tasks[k] for k in ("own", "which")}, targets, **FEW)
    assert "'own' is a custom task" in few.measured


def test_the_columns_of_wines_fall_into_groups() -> None:
    data = load_wine()
    names = [name.replace("/", " ") for name in data.feature_names]
    tasks = {name: task(name) for name in names}
    targets = dict(zip(names, data.data.T, strict=True))
    found = label_affinity(tasks, targets, measure="correlation", adjusted=False, **FEW)
    oracle = np.corrcoef(data.data.T) ** 2
    np.testing.assert_allclose(found.values, oracle, atol=1e-9)
    groups = group_tasks(label_affinity(tasks, targets, measure="correlation", **FEW), 3).groups
    assert any({"flavanoids", "total_phenols"} <= set(group) for group in groups)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"measure": "mutual"}, "unknown measure of labels 'mutual'"),
        ({"bins": 1}, "bins must be"),
        ({"resamples": 1}, "resamples must be"),
        ({"targets": {"number": np.zeros(3)}}, "unknown target of the task 'which'"),
        ({"tasks": {"number": task("number")}}, "at least two tasks, found 1 task"),
        ({"train": np.arange(0)}, "above 0"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], said: str) -> None:
    tasks, targets = three()
    with pytest.raises(UserError, match=said):
        label_affinity(**{"tasks": tasks, "targets": targets, **arguments})
