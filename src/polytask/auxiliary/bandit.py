"""A Beta-Bernoulli bandit with Thompson sampling: which of several arms succeeds most often."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betainc, betaincinv

from polytask.errors import UserError, unknown

POINTS = 4096
"""Points of the integral behind `probability_best`; errors are below 0.001."""


@dataclass(frozen=True)
class Posterior:
    """What is believed of the success rate of one arm: a Beta(alpha, beta) distribution."""

    alpha: float
    beta: float
    pulls: int
    """How often the arm was updated, decayed or not."""

    @property
    def mean(self) -> float:
        """The expected success rate."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def standard_error(self) -> float:
        """The posterior's standard deviation."""
        total = self.alpha + self.beta
        return math.sqrt(self.alpha * self.beta / (total + 1)) / total

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The central interval that holds the rate with probability `level`."""
        tail = (1 - level) / 2
        low, high = (float(betaincinv(self.alpha, self.beta, q)) for q in (tail, 1 - tail))
        return low, high


class Bandit:
    """Arms whose successes are counted, and drawn in proportion to their chance to be the best.

    Thompson sampling: draw a success rate for every arm from its posterior, take the arm with the
    highest. The counts of *all* arms decay towards the prior before each update,

        alpha <- (1 - decay) alpha + decay alpha_0 + [arm was taken] reward,

    beta likewise with 1 - reward, so that what was seen n updates ago counts (1 - decay)^n and an
    arm that is no longer taken becomes uncertain again: the first stage of AutoSeM (Guo,
    Pasunuru and Bansal 2019, https://arxiv.org/abs/1904.04153; the update is that of the published
    code, https://github.com/HanGuo97/AutoSeM, with its decay of 0.3). With decay 0 it is the
    bandit for rates that stay the same.

    With a decay the counts have a ceiling of alpha_0 + 1 / decay, so no arm is ever certain: a
    `decided` with a small delta needs a decay near 0.

    The n-th draw is a function of the seed, n and the counts alone, so a state is its counts.

    Args:
        arms: their names, at least one.
        decay: in [0, 1).
        prior: alpha_0 and beta_0, above 0; (1, 1) is uniform.
        seed: of the draws.

    Raises:
        UserError: an argument that cannot be.

    >>> bandit = Bandit(["pose", "smile"], decay=0.0)
    >>> for _ in range(8):
    ...     bandit.update("pose", 1)
    ...     bandit.update("smile", 0)
    >>> bandit.posterior("pose").mean
    0.9
    >>> bandit.decided(delta=0.05)
    'pose'
    """

    def __init__(
        self,
        arms: Sequence[str],
        decay: float = 0.3,
        prior: tuple[float, float] = (1.0, 1.0),
        seed: int = 0,
    ) -> None:
        self.arms = tuple(arms)
        if isinstance(arms, str) or not self.arms or len(set(self.arms)) < len(self.arms):
            raise UserError(f"a bandit needs arms with different names, found {arms!r}.")
        if not 0 <= decay < 1:
            raise UserError(f"decay must be at least 0 and below 1, found {decay!r}.")
        if len(prior) != 2 or not min(prior) > 0:
            raise UserError(f"prior must be two numbers above 0, found {prior!r}.")
        self.decay = decay
        self.prior = (float(prior[0]), float(prior[1]))
        self.seed = seed
        self._counts = dict.fromkeys(self.arms, self.prior)
        self._pulls = dict.fromkeys(self.arms, 0)
        self._draws = 0

    def draw(self) -> str:
        """The arm to take next."""
        chance = np.random.default_rng([self.seed, self._draws])
        self._draws += 1
        rates = [chance.beta(*self._counts[arm]) for arm in self.arms]
        return self.arms[int(np.argmax(rates))]

    def update(self, arm: str, reward: float) -> None:
        """Decay all counts, then add what taking `arm` has brought.

        Args:
            arm: the one that was taken.
            reward: 1 for a success, 0 for none; a share of one in between.

        Raises:
            UserError: an unknown arm, or a reward outside [0, 1].
        """
        self._check(arm)
        if not 0 <= reward <= 1:
            raise UserError(f"a reward must lie within 0 and 1, found {reward!r}.")
        for name, counts in self._counts.items():
            alpha, beta = (
                (1 - self.decay) * count + self.decay * before
                for count, before in zip(counts, self.prior, strict=True)
            )
            taken = name == arm
            self._counts[name] = (alpha + taken * reward, beta + taken * (1 - reward))
        self._pulls[arm] += 1

    def posterior(self, arm: str) -> Posterior:
        """What is believed of an arm. Raises `UserError` for an unknown one."""
        self._check(arm)
        return Posterior(*self._counts[arm], self._pulls[arm])

    def probability_best(self) -> dict[str, float]:
        """By arm, the probability that its rate is the highest; they sum to 1.

        The integral of f_i(x) prod_{j != i} F_j(x) over x, by the midpoint rule in the quantiles
        of arm i.
        """
        quantiles = (np.arange(POINTS) + 0.5) / POINTS
        found = {}
        for arm, (alpha, beta) in self._counts.items():
            rates = betaincinv(alpha, beta, quantiles)
            others = [betainc(a, b, rates) for name, (a, b) in self._counts.items() if name != arm]
            found[arm] = float(np.prod(others, axis=0).mean()) if others else 1.0
        total = sum(found.values())
        return {arm: value / total for arm, value in found.items()}

    def decided(self, delta: float = 0.05) -> str | None:
        """The arm that one may stop with; None while there is none.

        It is the best with a probability above 1 - delta, or the lower end of its interval of
        level 1 - delta lies above the upper ends of all others.
        """
        if not 0 < delta < 1:
            raise UserError(f"delta must lie between 0 and 1, found {delta!r}.")
        chances = self.probability_best()
        best = max(chances, key=chances.__getitem__)
        if chances[best] > 1 - delta:
            return best
        ends = {arm: self.posterior(arm).interval(1 - delta) for arm in self.arms}
        apart = all(ends[best][0] > high for arm, (_, high) in ends.items() if arm != best)
        return best if apart else None

    def state_dict(self) -> dict[str, Any]:
        """Counts by arm and the number of draws, as plain values."""
        return {
            "counts": {arm: list(counts) for arm, counts in self._counts.items()},
            "pulls": dict(self._pulls),
            "draws": self._draws,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Raises `UserError` when it is of other arms."""
        if set(state["counts"]) != set(self.arms):
            raise UserError(
                f"the saved bandit has the arms {', '.join(state['counts'])}; expected "
                f"{', '.join(self.arms)}. Build it with the same arms."
            )
        for arm in self.arms:
            alpha, beta = state["counts"][arm]
            self._counts[arm] = (alpha, beta)
            self._pulls[arm] = int(state["pulls"][arm])
        self._draws = int(state["draws"])

    def _check(self, arm: str) -> None:
        if arm not in self._counts:
            raise unknown("arm", arm, self.arms)
