"""The bandit finds the best arm, forgets when told to, and its numbers are those of the Betas."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from polytask.auxiliary import Bandit
from polytask.errors import UserError


def play(rates: list[float], rounds: int, seed: int = 0, decay: float = 0.0) -> tuple[Bandit, list]:
    """So many rounds against arms with these success rates; the regret after every round."""
    bandit = Bandit([f"arm{i}" for i in range(len(rates))], decay=decay, seed=seed)
    chance = np.random.default_rng(1000 + seed)
    regret, total = [], 0.0
    for _ in range(rounds):
        arm = bandit.draw()
        rate = rates[bandit.arms.index(arm)]
        bandit.update(arm, float(chance.random() < rate))
        total += max(rates) - rate
        regret.append(total)
    return bandit, regret


def test_counts_are_those_of_a_beta() -> None:
    bandit = Bandit(["a", "b"], decay=0.0)
    for reward in (1, 1, 0, 1, 0.5):
        bandit.update("a", reward)
    known = bandit.posterior("a")
    assert (known.alpha, known.beta, known.pulls) == (4.5, 2.5, 5)
    oracle = stats.beta(4.5, 2.5)
    assert known.mean == pytest.approx(oracle.mean())
    assert known.standard_error == pytest.approx(oracle.std())
    assert known.interval(0.9) == pytest.approx(oracle.interval(0.9))
    assert bandit.posterior("b").mean == 0.5
    assert bandit.posterior("b").standard_error == pytest.approx(12**-0.5)


def test_the_update_of_autosem() -> None:
    # Two updates by hand, decay 0.3 towards (1, 1), the reward added afterwards.
    bandit = Bandit(["a", "b"])
    bandit.update("a", 1)
    bandit.update("b", 0)
    assert bandit.posterior("a").alpha == pytest.approx(0.7 * 2 + 0.3)
    assert bandit.posterior("a").beta == pytest.approx(1)
    assert bandit.posterior("b").alpha == pytest.approx(1)
    assert bandit.posterior("b").beta == pytest.approx(2)


def test_decay_forgets() -> None:
    bandit = Bandit(["old", "new"], decay=0.1)
    for _ in range(60):
        bandit.update("old", 1)
    ceiling = 1 + 1 / 0.1
    assert bandit.posterior("old").alpha == pytest.approx(ceiling, rel=0.01)
    before = bandit.posterior("old").standard_error
    for _ in range(60):
        bandit.update("new", 1)
    # Nothing is left of the old arm but the prior, however often it was taken.
    assert bandit.posterior("old").mean == pytest.approx(0.5, abs=0.01)
    assert bandit.posterior("old").standard_error > 2 * before
    assert bandit.posterior("old").pulls == 60


def test_decay_follows_a_change() -> None:
    """The best arm becomes the worst: with a decay the other one is found soon, without late."""
    taken = {}
    for decay in (0.0, 0.05):
        bandit = Bandit(["a", "b"], decay=decay, seed=1)
        chance = np.random.default_rng(0)
        late = []
        for turn in range(600):
            arm = bandit.draw()
            good = "a" if turn < 300 else "b"
            bandit.update(arm, float(chance.random() < (0.8 if arm == good else 0.3)))
            late.append(arm == "b" and turn >= 300)
        taken[decay] = sum(late[300:450])
    assert taken[0.05] > 90
    assert taken[0.05] > taken[0.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_arm_is_found(seed: int) -> None:
    bandit, regret = play([0.3, 0.7, 0.4, 0.5], 800, seed)
    assert max(bandit.arms, key=lambda arm: bandit.posterior(arm).pulls) == "arm1"
    assert bandit.probability_best()["arm1"] > 0.85
    # Drawing arms alike would lose 0.225 a round.
    assert regret[-1] < 0.225 * 800 / 3


def test_regret_grows_slower_than_the_rounds() -> None:
    runs = np.array([play([0.35, 0.65, 0.5], 1600, seed)[1] for seed in range(8)]).mean(0)
    first, second, third = runs[399], runs[799] - runs[399], runs[1599] - runs[799]
    assert second < 0.6 * first  # linear regret would make them equal,
    assert third < 1.5 * second  # and this twice as large


def test_probabilities_of_being_best() -> None:
    bandit = Bandit(["a", "b", "c"], decay=0.0)
    for arm, successes, failures in (("a", 12, 4), ("b", 9, 5), ("c", 1, 7)):
        for reward in [1] * successes + [0] * failures:
            bandit.update(arm, reward)
    chance = np.random.default_rng(0)
    draws = np.stack([chance.beta(*bandit._counts[arm], 400_000) for arm in bandit.arms])
    oracle = np.bincount(draws.argmax(0), minlength=3) / 400_000
    found = bandit.probability_best()
    assert sum(found.values()) == pytest.approx(1)
    assert list(found.values()) == pytest.approx(oracle.tolist(), abs=0.004)


@given(st.lists(st.floats(0.2, 60), min_size=4, max_size=4))
@settings(max_examples=15, deadline=None)
def test_two_arms_have_the_probability_of_an_integral(counts: list[float]) -> None:
    bandit = Bandit(["a", "b"], decay=0.0)
    bandit.load_state_dict(
        {
            "counts": {"a": counts[:2], "b": counts[2:]},
            "pulls": {"a": 1, "b": 1},
            "draws": 0,
        }
    )
    # P(a > b) as the mean of the one's distribution function over the other, from either side.
    grid = (np.arange(4000) + 0.5) / 4000
    a, b = stats.beta(*counts[:2]), stats.beta(*counts[2:])
    oracle = (b.cdf(a.ppf(grid)).mean() + 1 - a.cdf(b.ppf(grid)).mean()) / 2
    assert bandit.probability_best()["a"] == pytest.approx(oracle, abs=1e-3)


def test_when_to_stop() -> None:
    bandit = Bandit(["a", "b", "c"], decay=0.0)
    assert bandit.decided() is None
    assert list(bandit.probability_best().values()) == pytest.approx([1 / 3] * 3, abs=1e-3)
    for _ in range(6):
        bandit.update("a", 1)
        bandit.update("b", 1)
        bandit.update("c", 0)
    assert bandit.decided() is None  # two are alike
    for _ in range(12):
        bandit.update("a", 1)
        bandit.update("b", 0)
    assert bandit.decided() == "a"
    assert bandit.decided(1e-12) is None
    assert Bandit(["only"]).decided() == "only"


def test_the_same_seed_draws_the_same() -> None:
    one, other = play([0.3, 0.6], 50, seed=3)[0], play([0.3, 0.6], 50, seed=3)[0]
    assert one.state_dict() == other.state_dict()
    assert play([0.3, 0.6], 50, seed=4)[0].state_dict() != one.state_dict()


def test_a_saved_state_goes_on() -> None:
    whole = play([0.3, 0.6], 40, seed=3)[0]
    saved = json.loads(json.dumps(whole.state_dict()))
    fresh = Bandit(whole.arms, decay=0.0, seed=3)
    fresh.load_state_dict(saved)
    assert [whole.draw() for _ in range(20)] == [fresh.draw() for _ in range(20)]
    with pytest.raises(UserError, match="arms arm0, arm1; expected x, y"):
        Bandit(["x", "y"]).load_state_dict(saved)


def test_what_cannot_be() -> None:
    for arms in ([], ["a", "a"], "ab"):
        with pytest.raises(UserError, match="different names"):
            Bandit(arms)
    with pytest.raises(UserError, match="decay must be"):
        Bandit(["a"], decay=1.0)
    with pytest.raises(UserError, match="prior must be"):
        Bandit(["a"], prior=(1.0, 0.0))
    bandit = Bandit(["pose", "smile"])
    with pytest.raises(UserError, match="did you mean 'pose'"):
        bandit.update("post", 1)
    with pytest.raises(UserError, match="within 0 and 1"):
        bandit.update("pose", 1.5)
    with pytest.raises(UserError, match="within 0 and 1"):
        bandit.update("pose", float("nan"))
    with pytest.raises(UserError, match="unknown arm"):
        bandit.posterior("x")
    with pytest.raises(UserError, match="delta"):
        bandit.decided(0)
