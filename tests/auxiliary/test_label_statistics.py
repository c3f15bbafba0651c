"""Statistics of labels equal those of SciPy and scikit-learn, and chance is told from relation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_diabetes, load_wine
from sklearn.feature_selection import f_classif
from sklearn.metrics import normalized_mutual_info_score

from polytask.auxiliary import Association, label_statistics
from polytask.auxiliary._association import (
    binned,
    correlation_ratio,
    mutual_information,
    squared_correlation,
)
from polytask.errors import UserError
from polytask.tasks import Task

RNG = np.random.default_rng
MAIN = Task("main", "multiclass", classes=(0, 1, 2))


def one(task: Task, target: Any, main: Any, main_task: Task = MAIN, **options: Any) -> Any:
    """The statistics of one candidate beside a main task."""
    tasks = {task.name: task, main_task.name: main_task}
    targets = {task.name: np.asarray(target), main_task.name: np.asarray(main)}
    return label_statistics(tasks, targets, main_task.name, **options)[task.name]


def helper(kind: Any = "regression", **options: Any) -> Task:
    return Task("helper", kind, role="auxiliary", **options)


@given(st.integers(0, 10_000), st.integers(2, 7), st.integers(2, 7))
@settings(max_examples=30, deadline=None)
def test_information_is_scikit_learns(seed: int, a: int, b: int) -> None:
    chance = RNG(seed)
    x = chance.integers(0, a, 60)
    y = np.where(chance.random(60) < 0.5, x % b, chance.integers(0, b, 60))
    if len(set(x)) < 2 or len(set(y)) < 2:
        return
    found = mutual_information(x.astype(float), y.astype(float))
    assert found == pytest.approx(normalized_mutual_info_score(x, y), abs=1e-12)
    assert found == pytest.approx(mutual_information(y.astype(float), x.astype(float)), abs=1e-12)


def test_shares_of_variance_are_those_of_the_tests() -> None:
    data = load_wine()
    classes = data.target.astype(float)
    for column in data.data.T:
        (f,), _ = f_classif(column[:, None], data.target)
        between, within = 2, len(classes) - 3
        oracle = f * between / (f * between + within)
        assert correlation_ratio(classes, column) == pytest.approx(oracle, rel=1e-9)
    one_, other = data.data[:, 0], data.data[:, 9]
    oracle = stats.pearsonr(one_, other).statistic ** 2
    assert squared_correlation(one_, other) == pytest.approx(oracle, rel=1e-9)


def test_missing_labels_are_left_out() -> None:
    chance = RNG(0)
    x, y = chance.integers(0, 3, 200).astype(float), chance.normal(size=200)
    y += x
    x[:40], y[30:90] = np.nan, np.nan
    both = slice(90, None)
    assert correlation_ratio(x, y) == correlation_ratio(x[both], y[both])
    assert squared_correlation(x, y) == squared_correlation(x[both], y[both])
    assert mutual_information(x, binned(y, 4)) == mutual_information(x[both], binned(y, 4)[both])


def test_bins_are_equally_full() -> None:
    values = RNG(0).normal(size=803)
    values[:3] = np.nan
    cut = binned(values, 8)
    assert np.isnan(cut[:3]).all()
    assert (np.bincount(cut[3:].astype(int)) == 100).all()
    assert len(np.unique(binned(np.repeat([0.0, 1.0, 2.0], 20), 8))) == 3


def test_distributions_of_real_targets() -> None:
    data = load_diabetes(scaled=False)
    main = RNG(0).integers(0, 3, 442)
    found = one(helper(), data.target, main)
    assert found.excess_kurtosis == pytest.approx(stats.kurtosis(data.target), rel=1e-6)
    assert (found.entropy, found.reasons["entropy"]) == (None, "it has no classes")
    assert found.labelled == 1.0
    sex = data.data[:, 1].astype(int) - 1
    found = one(helper("binary"), sex, main)
    assert found.entropy == pytest.approx(stats.entropy(np.bincount(sex)))
    assert found.excess_kurtosis is None
    assert found.correlation is None
    assert "classes" in found.reasons["correlation"]
    assert 0 < found.entropy < np.log(2)


def test_missing_labels_and_the_training_part() -> None:
    values = RNG(0).normal(size=60).astype(np.float32)
    codes = np.arange(60) % 3
    values[:15], codes[50:] = np.nan, -100
    found = one(helper(), values, codes)
    assert found.labelled == 0.75
    assert found.information.rows == 35
    part = np.arange(10, 50)
    within = one(helper(), values, codes, train=part)
    assert within.labelled == pytest.approx(35 / 40)
    assert within == one(helper(), values[part], codes[part])
    values[50:] = 1e6  # what is outside plays no part
    assert one(helper(), values, codes, train=part) == within


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_a_copy_and_noise(kind: str) -> None:
    """A copy of the main target explains all of it; noise stays within its null."""
    chance = RNG(1)
    main = chance.integers(0, 3, 400)
    options = {"classes": (0, 1, 2)} if kind == "multiclass" else {}
    copy = one(helper(kind, **options), main.astype(int if options else float), main)
    assert copy.information.value == pytest.approx(1)
    assert copy.information.p_value == pytest.approx(1 / 201)
    assert copy.information.clear
    assert copy.information.standard_error < 1e-9
    if kind == "regression":
        assert copy.correlation.value == pytest.approx(1)
    noise = chance.integers(0, 3, 400)
    found = one(helper(kind, **options), noise.astype(int if options else float), main)
    assert found.information.value < 0.03
    assert found.information.p_value > 0.01
    assert found.information.null_mean > 0


def test_the_null_is_one() -> None:
    """Independent targets are found clear in about 5 of 100 cases, and p-values are even."""
    p_values = []
    for seed in range(80):
        chance = RNG(seed)
        found = one(
            helper(),
            chance.normal(size=60),
            chance.integers(0, 3, 60),
            permutations=39,
            resamples=2,
            seed=seed,
        )
        p_values.append(found.information.p_value)
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.13
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.1)


def test_the_error_is_that_of_samples() -> None:
    """The resampled error of r squared lies near its spread over data sets."""
    task, values, errors = Task("main", "regression"), [], []
    for seed in range(60):
        chance = RNG(seed)
        x = chance.normal(size=150)
        y = 0.6 * x + 0.8 * chance.normal(size=150)
        found = one(helper(), x, y, task, permutations=1).correlation
        values.append(found.value)
        errors.append(found.standard_error)
    assert np.mean(values) == pytest.approx(0.36, abs=0.03)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_a_relation_that_no_line_has() -> None:
    x = RNG(0).normal(size=600)
    found = one(helper(), x, x**2, Task("main", "regression"))
    assert found.correlation.value < 0.1
    assert found.information.value > 0.5
    assert found.information.clear


def test_numbers_beside_classes_either_way_round() -> None:
    data = load_wine()
    alcohol = data.data[:, 0]
    one_way = one(helper(), alcohol, data.target)
    task = Task("main", "regression")
    other = one(helper("multiclass", classes=(0, 1, 2)), data.target, alcohol, task)
    oracle = correlation_ratio(data.target.astype(float), alcohol)
    assert one_way.correlation.value == other.correlation.value == pytest.approx(oracle)
    assert one_way.correlation.clear


def test_several_labels_and_outputs_are_means() -> None:
    chance = RNG(0)
    main = chance.integers(0, 3, 300)
    labels = np.stack([main == 0, chance.random(300) < 0.5], 1).astype(np.float32)
    labels[:100, 1] = np.nan
    labels[:20] = np.nan
    found = one(helper("multilabel", classes=("a", "b")), labels, main)
    shares = [np.nanmean(labels[:, i]) for i in range(2)]
    assert found.entropy == pytest.approx(np.mean([stats.entropy([p, 1 - p]) for p in shares]))
    assert found.labelled == pytest.approx(280 / 300)
    each = [
        mutual_information(labels[20:, i].astype(float), main[20:].astype(float)) for i in (0, 1)
    ]
    assert found.information.value == pytest.approx(np.mean(each))
    values = chance.normal(size=(300, 2)) ** 3
    found = one(helper(size=2), values, main)
    assert found.excess_kurtosis == pytest.approx(stats.kurtosis(values, axis=0).mean())
    column = one(helper(), values[:, :1], main)
    assert column.excess_kurtosis == pytest.approx(stats.kurtosis(values[:, 0]))
    wide = chance.normal(size=(40, 30))
    assert isinstance(one(helper(size=30), wide, main[:40]).information, Association)


def test_dense_targets_are_read_row_by_row() -> None:
    """Places of one row are copies of each other: the error is that of rows, not of places."""
    chance = RNG(0)
    rows = chance.integers(0, 3, 80)
    main = np.broadcast_to(rows[:, None, None], (80, 8, 8)).copy()
    field = main + chance.normal(size=80)[:, None, None]
    main[:, 0] = -100
    dense = one(helper(), field, main)
    flat = one(helper(), field[:, 1, 1], rows)
    assert dense.correlation.rows == 80
    assert dense.correlation.value == pytest.approx(flat.correlation.value)
    assert dense.correlation.standard_error == pytest.approx(
        flat.correlation.standard_error, rel=0.4
    )
    assert dense.correlation.null_level == pytest.approx(flat.correlation.null_level, rel=0.6)
    labels = one(helper("multiclass", classes=(0, 1, 2)), main, main)
    assert labels.labelled == pytest.approx(7 / 8)
    assert labels.information.value == pytest.approx(1)
    assert labels.entropy == pytest.approx(stats.entropy(np.bincount(rows)))


def test_a_sequence_beside_one_label_a_row() -> None:
    tags = RNG(0).integers(0, 3, (50, 7))
    found = one(helper("multiclass", classes=(0, 1, 2)), tags, tags[:, 0])
    assert found.information is None
    assert found.reasons["information"] == "its places [7] are not those of the main task, []"
    assert found.entropy == pytest.approx(stats.entropy(np.bincount(tags.ravel())))


def test_what_is_undefined_has_a_reason() -> None:
    main = np.arange(40) % 3
    constant = one(helper(), np.full(40, 0.1), main)
    assert constant.excess_kurtosis is None
    assert constant.information is None
    assert constant.correlation is None
    assert "constant" in constant.reasons["correlation"]
    single = one(helper("binary"), np.zeros(40, int), main)
    assert single.entropy == 0
    assert "constant" in single.reasons["information"]
    nothing = one(helper(), np.full(40, np.nan), main)
    assert nothing.labelled == 0
    assert nothing.reasons["excess_kurtosis"] == "no item has a label"
    assert nothing.reasons["information"] == "only 0 rows have a label of both"
    few = np.where(np.arange(40) < 9, np.arange(40.0), np.nan)
    assert one(helper(), few, main).reasons["correlation"].startswith("only 9 rows")
    custom = Task("helper", "custom", role="auxiliary", loss_function=lambda a, b: (a - b).mean(1))
    odd = one(custom, np.ones((40, 2), np.float32), main)
    assert (odd.labelled, odd.entropy, odd.information) == (1.0, None, None)
    assert "custom" in odd.reasons["information"]
    plain = json.loads(json.dumps(constant.to_dict()))
    assert plain["information"] == {"undefined": constant.reasons["information"]}
    assert plain["labelled"] == 1.0
    assert "reasons" not in plain


def test_numbers_do_not_depend_on_company_units_or_order() -> None:
    chance = RNG(0)
    main = chance.integers(0, 3, 9000)
    value = main + chance.normal(size=9000)
    tasks = {"main": MAIN, "helper": helper(), "other": Task("other", "regression")}
    targets = {"other": chance.normal(size=9000), "helper": value, "main": main}
    found = label_statistics(tasks, targets, "main", resamples=5, permutations=5)
    assert list(found) == ["helper", "other"]
    alone = one(helper(), value, main, resamples=5, permutations=5)
    assert found["helper"] == alone
    assert alone.information.rows == 5000
    scaled = one(helper(), 1e6 * value, main, resamples=5, permutations=5)
    assert scaled.correlation.value == pytest.approx(alone.correlation.value)
    assert scaled.information == alone.information
    assert one(helper(), value, main, resamples=5, permutations=5, seed=1) != alone


def test_what_cannot_be() -> None:
    tasks, target = {"main": MAIN, "helper": helper()}, np.arange(30) % 3
    targets = {"main": target, "helper": target.astype(float)}
    with pytest.raises(UserError, match="did you mean 'main'"):
        label_statistics(tasks, targets, "mian")
    with pytest.raises(UserError, match="unknown target of the task 'helper'"):
        label_statistics(tasks, {"main": target}, "main")
    with pytest.raises(UserError, match="same number of rows"):
        label_statistics(tasks, {**targets, "helper": np.zeros(3)}, "main")
    with pytest.raises(UserError, match="same number of rows"):
        label_statistics(tasks, targets, "main", train=np.arange(0))
    with pytest.raises(UserError, match="infinite values"):
        label_statistics(tasks, {**targets, "helper": np.full(30, np.inf)}, "main")
    for word, value in (("bins", 1), ("resamples", 1), ("permutations", 0), ("max_rows", 2)):
        with pytest.raises(UserError, match=f"{word} must be a whole number"):
            label_statistics(tasks, targets, "main", **{word: value})
