"""Indicators of a set of trade-offs: closed forms, brute force, what must not change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import directed_hausdorff

from polytask.errors import UserError
from polytask.metrics import hypervolume, igd, non_dominated


def by_cells(points, reference):
    """All cells of the grid that the points' coordinates cut out, one by one."""
    points = np.asarray(points, dtype=float)
    edges = [np.unique(np.r_[points[:, k], r]) for k, r in enumerate(reference)]
    edges = [edge[edge <= r] for edge, r in zip(edges, reference, strict=True)]
    low = np.stack(np.meshgrid(*[e[:-1] for e in edges], indexing="ij"), -1)
    high = np.stack(np.meshgrid(*[e[1:] for e in edges], indexing="ij"), -1)
    covered = np.zeros(low.shape[:-1], dtype=bool)
    for point in points:
        covered |= (point <= low).all(-1)
    return float(((high - low).prod(-1) * covered).sum())


def by_inclusion(points, reference):
    """The sum over all subsets of the box they share, with alternating signs."""
    total = 0.0
    for mask in range(1, 2 ** len(points)):
        chosen = [p for i, p in enumerate(points) if mask >> i & 1]
        edges = np.clip(np.asarray(reference) - np.max(chosen, axis=0), 0, None)
        total += (-1) ** (len(chosen) + 1) * edges.prod()
    return total


class TestNonDominated:
    def test_by_hand(self):
        points = [[1, 4], [2, 2], [4, 1], [3, 3], [2, 4], [2, 2]]
        assert non_dominated(points).tolist() == [True, True, True, False, False, True]

    def test_one_column_keeps_the_least(self):
        assert non_dominated([[3], [1], [1], [2]]).tolist() == [False, True, True, False]

    def test_nothing(self):
        assert non_dominated(np.zeros((0, 3))).shape == (0,)

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10_000), count=st.integers(1, 25), columns=st.integers(1, 5))
    def test_the_definition(self, seed, count, columns):
        points = np.random.default_rng(seed).integers(0, 5, (count, columns))
        for kept, one in zip(non_dominated(points), points, strict=True):
            beaten = any((other <= one).all() and (other < one).any() for other in points)
            assert kept == (not beaten)


class TestHypervolume:
    @pytest.mark.parametrize("columns", [1, 2, 3, 5, 8])
    def test_one_point_is_a_box(self, columns):
        edges = np.arange(1.0, columns + 1)
        assert hypervolume([10 - edges], np.full(columns, 10.0)) == pytest.approx(edges.prod())

    def test_a_staircase(self):
        assert hypervolume([[1, 3], [2, 2], [3, 1]], [4, 4]) == pytest.approx(6.0)

    @pytest.mark.parametrize("columns", [2, 3, 4, 5, 6])
    def test_slabs(self, columns):
        """Point k is at the half in column k and best elsewhere: all but the cube of the halves."""
        points = 0.5 * np.eye(columns)
        assert hypervolume(points, np.ones(columns)) == pytest.approx(1 - 0.5**columns)

    def test_the_quarter_circle(self):
        """A dense front tends to the area above it."""
        angle = np.linspace(0, np.pi / 2, 4001)
        points = 1 - np.stack([np.cos(angle), np.sin(angle)], 1)
        assert hypervolume(points, [1, 1]) == pytest.approx(np.pi / 4, abs=1e-3)

    @settings(max_examples=80, deadline=None)
    @given(
        seed=st.integers(0, 10_000),
        count=st.integers(0, 8),
        columns=st.integers(1, 5),
        whole=st.booleans(),
    )
    def test_equals_two_brute_forces(self, seed, count, columns, whole):
        rng = np.random.default_rng(seed)
        points = rng.integers(0, 5, (count, columns)) if whole else 4 * rng.random((count, columns))
        reference = np.full(columns, 3.5)
        found = hypervolume(np.reshape(points, (count, columns)), reference)
        assert found == pytest.approx(by_inclusion(points, reference), abs=1e-9)
        if count:
            assert found == pytest.approx(by_cells(points, reference), abs=1e-9)

    def test_equals_darts(self):
        rng = np.random.default_rng(0)
        points = rng.random((30, 4))
        darts = rng.random((200_000, 4))
        hit = np.zeros(len(darts), dtype=bool)
        for point in points:
            hit |= (point <= darts).all(axis=1)
        assert hypervolume(points, np.ones(4)) == pytest.approx(hit.mean(), abs=0.005)

    @pytest.mark.parametrize("columns", [2, 3, 4])
    def test_what_changes_nothing(self, columns):
        rng = np.random.default_rng(columns)
        points, reference = rng.random((12, columns)), np.ones(columns)
        plain = hypervolume(points, reference)
        kept = points[non_dominated(points)]
        order = rng.permutation(columns)
        beyond = np.r_[points, [np.full(columns, 2.0)], [[1.0] + [0.0] * (columns - 1)]]
        assert hypervolume(kept[::-1], reference) == pytest.approx(plain)
        assert hypervolume(points[:, order], reference) == pytest.approx(plain)
        assert hypervolume(np.r_[points, points], reference) == pytest.approx(plain)
        assert hypervolume(beyond, reference) == pytest.approx(plain)
        assert hypervolume(points + 3, reference + 3) == pytest.approx(plain)
        scale = np.exp(rng.standard_normal(columns))
        assert hypervolume(points * scale, scale) == pytest.approx(plain * scale.prod())
        better = np.r_[points, [kept[0] - 0.01]]
        assert hypervolume(better, reference) > plain

    def test_many_points_on_a_front(self):
        rng = np.random.default_rng(0)
        points = np.abs(rng.standard_normal((60, 5)))
        points = 1 - points / np.linalg.norm(points, axis=1, keepdims=True)
        assert 0 < hypervolume(points, np.ones(5)) < 1

    def test_nothing_is_covered(self):
        assert hypervolume(np.zeros((0, 3)), [1, 1, 1]) == 0
        assert hypervolume([[2, 0]], [1, 1]) == 0


class TestIGD:
    def test_by_hand(self):
        assert igd([[0, 0]], [[3, 4], [0, 0]]) == pytest.approx(2.5)
        assert igd([[0, 1], [1, 0]], [[1, 0], [0, 1]]) == 0

    def test_lies_below_the_farthest_distance(self):
        rng = np.random.default_rng(0)
        points, front = rng.random((7, 3)), rng.random((20, 3))
        assert 0 < igd(points, front) <= directed_hausdorff(front, points)[0]
        assert igd(np.r_[points, front], front) == 0


@pytest.mark.parametrize("points", [[1.0, 2.0], [[np.nan, 1.0]], [[np.inf, 1.0]], np.zeros((3, 0))])
def test_tables_of_numbers_only(points):
    for function in (non_dominated, lambda p: hypervolume(p, [1, 1]), lambda p: igd(p, [[1, 1]])):
        with pytest.raises(UserError, match="must be a table of finite numbers"):
            function(points)


def test_columns_must_agree():
    with pytest.raises(UserError, match="one finite number for each of the 2 columns"):
        hypervolume([[1, 2]], [1, 2, 3])
    with pytest.raises(UserError, match="one finite number"):
        hypervolume([[1, 2]], [1, np.nan])
    with pytest.raises(UserError, match="equally many columns"):
        igd([[1, 2]], [[1, 2, 3]])
    with pytest.raises(UserError, match="at least one row"):
        igd(np.zeros((0, 2)), [[1, 2]])
