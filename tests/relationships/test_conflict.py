"""Cosines from halves of batches: closed forms, calibration on known truths, what is undefined."""

import json
from functools import lru_cache

import numpy as np
import pytest
from gradient_records import noisy, pair, record
from scipy import stats

from polytask.errors import UserError
from polytask.relationships import Conflict, estimate
from polytask.relationships.conflict import _student

RUNS = 240
LUCK = 3 * np.sqrt(0.05 * 0.95 / RUNS)


def table(cross, first, second):
    return np.array([[first, cross], [cross, second]])


def test_the_cosine_is_a_ratio_of_means_not_a_mean_of_ratios():
    draw = np.random.default_rng(0)
    first, second = draw.normal(0.3, 0.1, (2, 20))
    cross = draw.normal(-0.12, 0.1, 20)
    found = estimate([record([table(*v) for v in zip(cross, first, second, strict=True)])])
    wanted = cross.mean() / np.sqrt(first.mean() * second.mean())
    assert found.cosine[0, 1] == found.cosine[1, 0] == pytest.approx(wanted)
    assert found.cosine.diagonal().tolist() == [1.0, 1.0]
    assert found.standard_error.diagonal().tolist() == found.null.diagonal().tolist() == [0.0, 0.0]
    assert (found.samples, found.seeds, found.blocks) == (20, 1, 15)
    assert found.groups.tolist() == [[15, 15], [15, 15]]
    assert found.counts.tolist() == [[20, 20], [20, 20]]


def test_error_and_level_by_hand():
    draw = np.random.default_rng(1)
    values = draw.normal([-0.1, 0.4, 0.3], 0.1, (60, 3))
    found = estimate([record([table(*v) for v in values])])
    blocks = values.reshape(15, 4, 3).sum(1)

    def ratio(sums):
        return sums[0] / np.sqrt(sums[1] * sums[2])

    without = [ratio(blocks.sum(0) - block) for block in blocks]
    error = np.sqrt(14 / 15 * np.sum((without - np.mean(without)) ** 2))
    assert found.standard_error[0, 1] == pytest.approx(error, rel=1e-9)
    spread = stats.sem(blocks[:, 0]) * 15 / 60
    scale = np.sqrt(values[:, 1].mean() * values[:, 2].mean())
    assert found.null[0, 1] == pytest.approx(stats.t.ppf(0.975, 14) * spread / scale, rel=2e-3)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 14, 74, 1000])
def test_the_quantile_is_student_s(freedom):
    wanted = stats.t.ppf(0.975, freedom)
    assert _student(np.array([freedom]))[0] == pytest.approx(wanted, rel=2e-3)


@lru_cache
def simulate(cosine, noise):
    """Cosines, errors and levels of many trainings of one seed; their noise is heavy-tailed."""
    draw = np.random.default_rng(42)
    found = [estimate([noisy(draw, pair(cosine), noise=noise)]) for _ in range(RUNS)]
    parts = [(f.cosine[0, 1], f.standard_error[0, 1], f.null[0, 1]) for f in found]
    return np.array([part for part in parts if np.isfinite(part[0])]).T


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_one_unrelated_pair_in_twenty_lies_above_the_level(noise):
    cosines, _, levels = simulate(0.0, noise)
    assert len(cosines) > 0.9 * RUNS
    above = np.mean(np.abs(cosines) > levels)
    assert 0.05 - LUCK < above < 0.05 + LUCK
    assert np.median(levels) == pytest.approx(2.145 * cosines.std(), rel=0.2)


@pytest.mark.parametrize(("cosine", "noise"), [(0.5, 1.0), (-0.5, 1.0), (0.5, 3.0), (0.9, 3.0)])
def test_cosines_are_right_and_their_intervals_hold_the_truth(cosine, noise):
    cosines, errors, _ = simulate(cosine, noise)
    assert len(cosines) > 0.9 * RUNS
    # The mean of single batches' cosines would be cosine / (1 + noise²) here, without the noise
    # that tasks share: a half to a tenth of the truth.
    assert cosines.mean() == pytest.approx(cosine, abs=0.04)
    # Larger where the cosine is cut off at 1 and its error is not.
    assert 0.87 < np.sqrt(np.mean(errors**2)) / cosines.std() < 1.3
    held = np.mean(np.abs(cosines - cosine) < stats.t.ppf(0.975, 14) * errors)
    assert 0.95 - LUCK < held < 0.95 + LUCK + 0.01


def test_the_signal_of_a_pair_that_agrees_does_not_raise_its_level():
    levels = [np.median(simulate(cosine, 1.0)[2]) for cosine in (0.0, 0.9)]
    assert levels[1] < 3 * levels[0] < 0.2


def test_seeds_that_differ_by_more_than_their_blocks_tell_are_believed():
    # Unrelated on average, but each network has its own cosine of 0.3 or so.
    draw = np.random.default_rng(3)
    found = []
    for _ in range(150):
        truths = np.clip(draw.normal(0, 0.3, 5), -0.95, 0.95)
        found.append(estimate([noisy(draw, pair(t), noise=1.0, steps=16) for t in truths]))
    cosines = np.array([f.cosine[0, 1] for f in found])
    levels = np.array([f.null[0, 1] for f in found])
    errors = np.array([f.standard_error[0, 1] for f in found])
    assert np.mean(np.abs(cosines) > levels) < 0.05 + LUCK * np.sqrt(2)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(0.3 / np.sqrt(5), rel=0.2)
    assert (found[0].seeds, found[0].blocks, found[0].samples) == (5, 75, 80)
    assert np.mean([f.groups[0, 1] == 5 for f in found]) > 0.9
    few = estimate([noisy(draw, pair(t), noise=1.0, steps=16) for t in (-0.5, 0.5)])
    assert few.groups[0, 1] == 30  # two seeds: about these networks alone


def test_seeds_that_agree_are_averaged():
    draw = np.random.default_rng(4)
    records = [noisy(draw, pair(0.4), noise=2.0) for _ in range(12)]
    alone, together = estimate(records[:1]), estimate(records)
    assert together.standard_error[0, 1] < 0.5 * alone.standard_error[0, 1]
    assert together.cosine[0, 1] == pytest.approx(0.4, abs=0.06)


def test_units_and_the_order_of_tasks_do_not_matter():
    draw = np.random.default_rng(5)
    truth = draw.normal(size=(3, 40))
    one = noisy(draw, truth, noise=1.0)
    scaled = one | {"norms": [[a * 1e-6, b * 1e6, c] for a, b, c in one["norms"]]}
    first, second = estimate([one]), estimate([scaled])
    np.testing.assert_allclose(first.cosine, second.cosine)
    np.testing.assert_allclose(first.null, second.null)
    full = np.zeros((len(one["products"]), 3, 3))
    full[:, *np.triu_indices(3)] = one["products"]
    full += full.transpose(0, 2, 1) * (1 - np.eye(3))
    order = [2, 0, 1]
    turned = record(full[:, order][:, :, order], np.array(one["norms"])[:, order], tasks="cab")
    other = estimate([turned])
    np.testing.assert_allclose(other.cosine, first.cosine[np.ix_(order, order)])
    np.testing.assert_allclose(other.standard_error, first.standard_error[np.ix_(order, order)])


def test_steps_without_a_task_count_for_the_other_pairs():
    draw = np.random.default_rng(6)
    truth = np.eye(3, 60) + 0.5
    full = noisy(draw, truth, noise=0.5)
    gone = full | {"products": [list(row) for row in full["products"]]}
    for step in range(0, 60, 2):  # task c: half of the steps have none of its labels
        for place in (2, 4, 5):
            gone["products"][step][place] = None
    found = estimate([gone])
    assert found.counts.tolist() == [[60, 60, 30], [60, 60, 30], [30, 30, 30]]
    assert not found.reasons
    np.testing.assert_allclose(found.cosine, estimate([full]).cosine, atol=0.1)
    few = full | {"products": [list(row) for row in full["products"]]}
    for step in range(55):
        for place in (2, 4, 5):
            few["products"][step][place] = None
    found = estimate([few])
    assert found.reasons.keys() == {(0, 2), (1, 2), (2, 0), (2, 1), (2, 2)}
    assert "measured in 5 of 60 recorded steps" in found.reasons[0, 2]


def undefined(found: Conflict, i: int, j: int) -> str:
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    keys = ("cosine", "standard_error", "null", "groups")
    entries = [content[key][i][j] for key in keys]
    assert all(entry == entries[0] for entry in entries)
    return str(entries[0]["undefined"])


def test_noise_has_no_cosine():
    draw = np.random.default_rng(7)
    truth = np.zeros((2, 60))
    truth[0, 0] = 1.0
    truth[1, 1] = 1e-9
    lengths = np.array([1.0, 1.0])
    one, other = truth + draw.normal(size=(2, 60, 2, 60)) * lengths[:, None] / 8
    products = one @ other.transpose(0, 2, 1)
    found = estimate([record((products + products.transpose(0, 2, 1)) / 2)])
    assert undefined(found, 0, 1) == "the gradient of 'b' does not stand out from noise"
    assert undefined(found, 1, 1) == "the gradient of 'b' does not stand out from noise"
    assert found.cosine[0, 0] == 1.0
    assert np.isnan(found.cosine[0, 1])


def test_tasks_that_never_meet_have_no_cosine():
    found = estimate([record([table(0.0, 0.4 + 0.01 * (k % 3), 0.5) for k in range(20)])])
    assert undefined(found, 0, 1) == "the two tasks share no parameter that was read"
    assert found.cosine[0, 0] == 1.0


def test_a_single_step_that_decides_all_has_no_error():
    steps = [table(0.01, 0.02, 0.02)] * 7
    assert "measured in 7 of 7" in undefined(estimate([record(steps)]), 0, 1)
    assert estimate([record([*steps, steps[0] * 1.1])]).cosine[0, 1] == pytest.approx(0.5)


def test_no_record_has_steps():
    found = estimate([record(np.zeros((0, 2, 2)))])
    assert (found.samples, found.seeds, found.blocks) == (0, 0, 0)
    assert "measured in 0 of 0" in undefined(found, 0, 1)


def test_numbers_are_whole_json():
    found = estimate([noisy(np.random.default_rng(8), pair(-0.9), noise=0.5)])
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["cosine"][0][1] == pytest.approx(-0.9, abs=0.05)
    assert content["tasks"] == ["a", "b"]
    assert content["statistic"] == "tail"
    assert abs(content["cosine"][0][1]) > content["null"][0][1] > 0


def test_records_that_do_not_belong_together_are_refused():
    one = record([table(0.1, 0.2, 0.3)])
    with pytest.raises(UserError, match="at least one record"):
        estimate([])
    with pytest.raises(UserError, match="same tasks and statistic"):
        estimate([one, one | {"statistic": "exact"}])
    with pytest.raises(UserError, match="same tasks and statistic"):
        estimate([one, one | {"tasks": ["b", "a"]}])
