"""Where trainings end on fronts that are known: the trade-off that was asked for."""

import numpy as np
import pytest
from fronts import PROBLEMS, descend, front, gap

import polytask


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_epo_ends_with_preference_times_loss_equal(problem, share):
    end = descend(polytask.EPO(preference={"0": share, "1": 1 - share}), problem)
    first, second = end * [share, 1 - share]
    assert first == pytest.approx(second, rel=0.03)
    assert gap(end, front(problem)) < 2e-3


@pytest.mark.parametrize("place", range(5))
def test_pareto_mtl_ends_in_its_cone(problem, place):
    end = descend(polytask.ParetoMTL(preference=place), problem)
    angle = np.degrees(np.arctan2(end[1], end[0]))
    assert abs(angle - 22.5 * place) <= 22.5 / 2 + 0.2
    assert gap(end, front(problem)) < 2e-3


def test_linear_weights_reach_all_of_a_convex_front_and_only_the_ends_of_a_concave_one():
    middles = {}
    for name, problem in PROBLEMS.items():
        curve = front(problem)
        ends = [descend(_fixed(share), problem) for share in (0.2, 0.4, 0.6, 0.8)]
        assert max(gap(end, curve) for end in ends) < 2e-3
        middles[name] = sum(end.min() / end.max() > 0.05 for end in ends)
    assert middles["concave"] == 0
    assert middles["convex"] == 4


def test_mgda_goes_where_it_happens_to_go():
    """The reason for preferences: without one the start decides."""
    problem = PROBLEMS["concave"]
    ends = np.array([descend(polytask.MGDA(), problem, seed) for seed in range(3)])
    assert max(gap(end, front(problem)) for end in ends) < 2e-3
    assert np.ptp(ends[:, 0]) > 0.02


def _fixed(share):
    class Fixed(polytask.Linear):
        statistic_kind = "gramian"

    return Fixed(weights={"0": share, "1": 1 - share})
