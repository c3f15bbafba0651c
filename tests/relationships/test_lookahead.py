"""Look-aheads of records: means, errors by blocks and seeds, what is undefined, what it cost."""

import json

import numpy as np
import pytest
from gradient_records import record as gradients
from scipy import stats

from polytask.errors import UserError
from polytask.relationships import Affinity, estimate, group_tasks, lookahead

RUNS = 300


def record(values, tasks="ab", **changes):
    """A record of tables [S, T, T], scored tasks in rows."""
    tables = np.asarray(values, dtype=float)
    rows = tables.reshape(len(tables), len(tasks) ** 2)
    made = {
        "tasks": list(tasks),
        "order": "first",
        "statistic": "exact",
        "evaluate": None,
        "optimizer": "SGD",
        "source": "exact (10 numbers)",
        "values": [[None if np.isnan(v) else float(v) for v in row] for row in rows],
        "batches": 100,
        "each": 2.0,
        "skipped": {},
    }
    return json.loads(json.dumps(made | changes))


def draws(seed, steps=60, mean=0.0, spread=1.0, size=2):
    return np.random.default_rng(seed).normal(mean, spread, (steps, size, size))


def test_mean_and_error_by_hand():
    values = draws(0, mean=[[3, 1], [-1, 2]])
    found = lookahead([record(values)])
    np.testing.assert_allclose(found.values, values.mean(0), rtol=1e-12)
    blocks = values.reshape(15, 4, 2, 2).mean(1)
    np.testing.assert_allclose(found.standard_errors, stats.sem(blocks, axis=0), rtol=1e-9)
    # Rows are scored: this is what b does for a.
    assert found["a"]["b"] == pytest.approx(values.mean(0)[0, 1])
    assert found["a"]["a"] == pytest.approx(values.mean(0)[0, 0])  # the own effect is kept


def test_steps_of_all_seeds_count_alike():
    one, other = draws(1, steps=60), draws(2, steps=20)
    found = lookahead([record(one), record(other)])
    np.testing.assert_allclose(found.values, np.concatenate([one, other]).mean(0), rtol=1e-12)


def test_from_three_seeds_on_their_spread_counts_where_it_is_larger():
    seeds = [draws(s, mean=shift) for s, shift in enumerate((-3.0, 0.0, 3.0))]
    apart = lookahead([record(values) for values in seeds])
    means = np.array([values.mean(0) for values in seeds])
    np.testing.assert_allclose(apart.standard_errors, stats.sem(means, axis=0), rtol=1e-9)
    two = lookahead([record(values) for values in seeds[1:]])
    assert (two.standard_errors < apart.standard_errors / 2).all()
    alike = [record(draws(0)) for _ in range(3)]
    assert (lookahead(alike).standard_errors > 0).all()  # seeds alike: blocks tell


def test_intervals_hold_the_truth_in_nineteen_of_twenty_cases():
    inside = 0
    for seed in range(RUNS):
        draw = np.random.default_rng(seed)
        heavy = 0.2 + draw.standard_t(4, (60, 2, 2))
        found = lookahead([record(heavy)])
        z = (found.values[0, 1] - 0.2) / found.standard_errors[0, 1]
        inside += abs(z) < stats.t.ppf(0.975, 14)
    assert inside / RUNS == pytest.approx(0.95, abs=3 * np.sqrt(0.05 * 0.95 / RUNS))


def test_too_few_steps_or_blocks_are_undefined():
    assert np.isnan(lookahead([record(draws(0, steps=7))]).values).all()
    assert np.isfinite(lookahead([record(draws(0, steps=8))]).values).all()
    values = draws(0, steps=60)
    values[9:, 0, 1] = np.nan  # 9 steps, in 3 of 15 blocks
    values[8:, 1, 0] = np.nan
    values[:40, 1, 1] = np.nan
    found = lookahead([record(values)])
    assert np.isnan(found.values).tolist() == [[False, True], [True, False]]
    assert np.isnan(found.standard_errors).tolist() == [[False, True], [True, False]]
    assert found.values[1, 1] == pytest.approx(values[40:, 1, 1].mean())


def test_exact_zeros_are_undefined_where_the_tail_read_nothing_in_common():
    values = draws(0)
    values[:, 0, 1] = 0.0
    tail = lookahead([record(values, statistic="tail")])
    assert np.isnan(tail.values).tolist() == [[False, True], [False, False]]
    # Where all that is shared was read, no common parameter is no help.
    for changes in ({}, {"order": "exact", "evaluate": "same"}):
        assert lookahead([record(values, **changes)]).values[0, 1] == 0.0


def test_words_and_cost():
    found = lookahead([record(draws(0)), record(draws(1, steps=20), skipped={"no labels": 5})])
    assert found.measured == (
        "look-ahead to first order on halves of batches (exact), SGD, 80 steps of 2 seeds"
    )
    assert found.cost == pytest.approx(2 + 1.2 + 0.5)
    exact = {"order": "exact", "optimizer": "AdamW with its second moments"}
    other = lookahead([record(draws(0), **exact, evaluate="other")])
    assert other.measured == (
        "exact look-ahead, judged on the other half of the batch, AdamW with its second moments, "
        "60 steps of 1 seed"
    )
    same = lookahead([record(draws(0), **exact, evaluate="same")])
    assert "judged on the same batch" in same.measured


def test_a_training_that_recorded_nothing_is_all_undefined():
    empty = record(np.empty((0, 2, 2)), optimizer="", batches=0)
    found = lookahead([empty])
    assert np.isnan(found.values).all()
    assert found.cost == 1.0
    both = lookahead([empty, record(draws(0))])
    np.testing.assert_allclose(both.values, draws(0).mean(0), rtol=1e-12)


def test_it_groups_saves_and_loads(tmp_path):
    wanted = np.array([[3, 2, -1, -1], [2, 3, -1, -1], [-1, -1, 3, 1], [-1, -1, 2, 3]])
    found = lookahead([record(draws(0, mean=wanted, spread=0.3, size=4), tasks="abcd")])
    groups = group_tasks(found, max_groups=2, alone=0.0).groups
    assert sorted(map(sorted, groups)) == [["a", "b"], ["c", "d"]]
    found.save(tmp_path / "affinity.json")
    again = Affinity.load(tmp_path / "affinity.json")
    assert np.array_equal(again.values, found.values)
    assert (again.measured, again.cost) == (found.measured, found.cost)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ["a", "c"]}, "expected the same tasks in all of them"),
        ({"order": "exact"}, "the same order in all of them, found 'first' and 'exact'"),
        ({"statistic": "tail"}, "the same statistic"),
        ({"evaluate": "other"}, "the same evaluate"),
        ({"optimizer": "Adam"}, "the same optimizer in all of them, found 'SGD' and 'Adam'"),
    ],
)
def test_records_that_do_not_go_together(changes, message):
    with pytest.raises(UserError, match=message):
        lookahead([record(draws(0)), record(draws(1), **changes)])


def test_no_record_is_an_error():
    with pytest.raises(UserError, match="at least one record of look-aheads, found none"):
        lookahead([])


def test_cosines_are_a_symmetric_affinity():
    draw = np.random.default_rng(0)
    tables = 0.4 + 0.05 * draw.normal(size=(40, 3, 3))
    tables = (tables + tables.transpose(0, 2, 1)) / 2
    tables[:, range(3), range(3)] = 0.8
    tables[:35, 0, 2] = tables[:35, 2, 0] = np.nan
    conflict = estimate([gradients(tables, tasks="abc")])
    found = conflict.to_affinity()
    assert found.tasks == ("a", "b", "c")
    assert np.array_equal(found.values, found.values.T, equal_nan=True)
    assert found.values.diagonal().tolist() == [1.0] * 3
    assert found.standard_errors[0, 1] == conflict.standard_error[0, 1] > 0
    assert np.isnan(found.values[0, 2])
    assert found.measured == "cosine of the full data's gradients (tail), 40 steps of 1 seed"
