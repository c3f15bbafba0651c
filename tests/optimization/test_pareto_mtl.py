"""Pareto-MTL: reference vectors, phases, and its decisions against a quadratic program."""

import numpy as np
import pytest
import quadprog
import torch
from gradient_rows import J2, J3, jacobian, near
from hypothesis import given, settings
from hypothesis import strategies as st

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic
from polytask.optimization.gradients._directions import directions, lattice


def shortest(rows):
    """The shortest vector in the hull of the rows."""
    size = np.linalg.norm(rows, axis=1).max()
    p = (rows / size) @ (rows / size).T + 1e-11 * np.eye(len(rows))
    ones = np.hstack([np.ones((len(rows), 1)), np.eye(len(rows))])
    w = quadprog.solve_qp(p, np.zeros(len(rows)), ones, np.r_[1.0, np.zeros(len(rows))], 1)[0]
    return w @ rows


def published(j, losses, vectors, k, first):
    """The direction as in the official code, its subproblem solved by quadprog, any length."""
    away = vectors - vectors[k]
    active = away[away @ (losses / np.linalg.norm(losses)) > 0]
    rows = active @ j if first and len(active) else np.vstack([j, active @ j])
    return shortest(rows)


def known(j, losses, names="abcdefghij"):
    losses = torch.as_tensor(losses, dtype=torch.float64)
    return Statistic(tuple(names[: len(j)]), losses, torch.as_tensor(j @ j.T))


class TestDirections:
    def test_two_tasks_are_at_equal_angles(self):
        expected = np.radians([0, 22.5, 45, 67.5, 90])
        near(directions(2, 5), np.stack([np.cos(expected), np.sin(expected)], 1).tolist(), 1e-15)
        assert float(directions(2, 9)[4, 0]) == float(directions(2, 9)[4, 1])
        near(directions(2, 1), [[0.5**0.5] * 2], 1e-15)

    @pytest.mark.parametrize(
        ("tasks", "count", "number"),
        [
            (1, 5, 1),
            (3, 1, 1),
            (3, 2, 3),
            (3, 3, 3),
            (3, 4, 6),
            (3, 10, 10),
            (4, 5, 10),
            (40, 5, 40),
        ],
    )
    def test_more_tasks_are_a_lattice(self, tasks, count, number):
        found = directions(tasks, count)
        assert found.shape == (number, tasks)
        near(found.norm(dim=1), [1.0] * number, 1e-12)
        assert len({tuple(row) for row in found.tolist()}) == number
        assert float(found.min()) >= 0
        # No task is treated otherwise than another.
        near(found.sort(dim=0).values.std(dim=1, correction=0), [0.0] * number, 1e-12)

    def test_the_lattice_in_full(self):
        assert lattice(3, 2) == [
            [2, 0, 0], [1, 1, 0], [1, 0, 1], [0, 2, 0], [0, 1, 1], [0, 0, 2]
        ]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    tasks=st.integers(2, 6),
    count=st.integers(2, 8),
    first=st.booleans(),
)
def test_equals_the_official_directions(seed, tasks, count, first):
    rng = np.random.default_rng(seed)
    j, losses = jacobian(seed, tasks), np.exp(rng.standard_normal(tasks))
    vectors = directions(tasks, count).numpy()
    k = int(rng.integers(len(vectors)))
    method = polytask.ParetoMTL(preference=k, preferences=count, warmup_epochs=int(first))
    w = method.decide(known(j, losses))
    expected = published(j.numpy(), losses, vectors, k, first)
    found = (j.T @ w).numpy()
    assert float(w.abs().sum()) == pytest.approx(tasks, rel=1e-9)
    # The weights were normalised, so only the directions can be compared.
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-5)


class TestPhases:
    outside = np.array([2.0, 0.1])  # nearest to the first of five vectors

    def weights(self, method, losses):
        return method.decide(known(J2, losses))

    def searching(self, method):
        """Only the first phase's weights have opposite signs for this Jacobian and choice."""
        return float(self.weights(method, self.outside).min()) < 0

    def test_the_first_phase_ends_by_epochs(self):
        method = polytask.ParetoMTL(preference=2)
        for epoch in range(2):
            assert self.searching(method)
            method.observe(epoch=epoch)
        assert not self.searching(method)

    def test_or_by_steps(self):
        method = polytask.ParetoMTL(preference=2, warmup_steps=3)
        assert [self.searching(method) for _ in range(5)] == [True, True, True, False, False]

    def test_or_once_the_cone_is_reached_and_never_returns(self):
        method = polytask.ParetoMTL(preference=2)
        assert self.searching(method)
        inside = self.weights(method, [1.0, 1.1])
        near(inside, (2 * polytask.MGDA().weights(J2 @ J2.T)).tolist(), 1e-9)
        assert not self.searching(method)

    def test_no_warm_up(self):
        assert not self.searching(polytask.ParetoMTL(preference=2, warmup_epochs=0))

    def test_one_active_constraint_is_followed_straight(self):
        vectors = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}]
        method = polytask.ParetoMTL(preference=1, preferences=vectors)
        near(self.weights(method, [2.0, 1.0]), [1.0, -1.0])

    def test_phase_one_lowers_every_violation(self):
        for seed in range(20):
            j = jacobian(seed, 3)
            losses = np.exp(np.random.default_rng(seed).standard_normal(3))
            method = polytask.ParetoMTL(preference=4, preferences=6)
            w = method.decide(known(j, losses))
            away = directions(3, 6) - directions(3, 6)[4]
            active = away[away @ torch.tensor(losses) > 0]
            if len(active):
                assert float((active @ j @ (j.T @ w)).min()) >= -1e-9

    def test_the_phase_is_saved(self):
        method = polytask.ParetoMTL(preference=2, warmup_steps=2)
        self.searching(method)
        twin = polytask.ParetoMTL(preference=2, warmup_steps=2)
        twin.load_state_dict(method.state_dict())
        assert [self.searching(twin) for _ in range(3)] == [True, False, False]


class TestChoice:
    def test_a_vector_stands_for_its_place(self):
        one = polytask.ParetoMTL(preference=3)
        u = directions(2, 5)[3].tolist()
        other = polytask.ParetoMTL(preference={"a": 7 * u[0], "b": 7 * u[1]})
        for losses in ([1.0, 2.0], [2.0, 1.0]):
            w = one.decide(known(J2, losses))
            near(other.decide(known(J2, losses)), w.tolist(), 1e-9)

    def test_equal_losses_without_a_choice(self):
        middle, none = polytask.ParetoMTL(preference=2), polytask.ParetoMTL()
        for losses in ([1.0, 2.0], [2.0, 1.0], [1.0, 1.0]):
            w = middle.decide(known(J2, losses))
            near(none.decide(known(J2, losses)), w.tolist(), 1e-9)

    def test_absent_tasks_lose_their_part_of_the_vectors(self):
        vectors = [{"a": 1.0, "b": 0.0, "c": 0.0}, {"a": 0.0, "b": 1.0, "c": 1.0},
                   {"a": 0.0, "b": 3.0, "c": 1.0}]  # fmt: skip
        method = polytask.ParetoMTL(preference=1, preferences=vectors, warmup_epochs=0)
        rows = [{"c": 1.0, "b": 1.0}, {"c": 1.0, "b": 3.0}]
        small = polytask.ParetoMTL(preference=0, preferences=rows, warmup_epochs=0)
        for losses in ([0.1, 1.0], [1.0, 0.1], [1.0, 1.0]):
            some = known(J2, losses, "cb")
            near(method.decide(some), small.decide(some).tolist(), 1e-9)
        near(method.decide(known(J2[:1], [2.0], "a")), [1.0])
        near(method.decide(known(J3, [1.0, 1.0, 1.0])).abs().sum(), 3.0)

    def test_spread_vectors_keep_to_the_tasks_order_of_arrival(self):
        """Leaving a task out for a step, or passing them in another order, changes nothing."""
        method = polytask.ParetoMTL(preference=0, preferences=6, warmup_epochs=0)
        losses = np.array([0.2, 1.0, 1.5])
        w = method.decide(known(J3, losses))
        method.decide(known(J2, [1.0, 2.0], "cb"))
        order = [2, 0, 1]
        again = method.decide(known(J3[order], losses[order], "cab"))
        near(again, w[order].tolist(), 1e-9)
        twin = polytask.ParetoMTL(preference=0, preferences=6, warmup_epochs=0)
        twin.load_state_dict(method.state_dict())
        near(twin.decide(known(J3[order], losses[order], "cab")), w[order].tolist(), 1e-12)

    def test_equal_gradients_do_not_stop_the_step(self):
        """The constraint's gradient is zero; the tasks' own still counts."""
        rows = J2[:1].expand(2, -1)
        for warmup in (0, 2):
            method = polytask.ParetoMTL(preference=4, warmup_epochs=warmup, preferences=5)
            symmetric = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}]
            method = polytask.ParetoMTL(preference=1, preferences=symmetric, warmup_epochs=warmup)
            near(method.decide(known(rows, [2.0, 1.0])).sum(), 2.0)

    @pytest.mark.parametrize("factor", [1e-12, 1e12])
    def test_no_absolute_scale(self, factor):
        for first in (0, 2):
            w = polytask.ParetoMTL(preference=0, warmup_epochs=first).weights(
                J2 @ J2.T, torch.tensor([1.0, 2.0])
            )
            scaled = polytask.ParetoMTL(preference=0, warmup_epochs=first).weights(
                J2 @ J2.T * factor**2, torch.tensor([1.0, 2.0]) * factor
            )
            near(scaled, w.tolist(), 1e-9)

    def test_losses_of_zero(self):
        w = polytask.ParetoMTL(preference=0).weights(J2 @ J2.T, torch.zeros(2))
        near(w, (2 * polytask.MGDA().weights(J2 @ J2.T)).tolist(), 1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preferences": 0}, "preferences must be at least 1"),
        ({"preferences": []}, "at least one vector"),
        ({"preferences": [{"a": -1.0}]}, "not negative"),
        ({"preference": {"a": 0.0, "b": 0.0}}, "one of them positive"),
        ({"preference": -1}, "preference must be at least 0"),
        ({"preference": 2, "preferences": [{"a": 1.0}, {"a": 2.0}]}, "expected 0 to 1"),
        ({"warmup_epochs": -1}, "warmup_epochs must be at least 0"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0"),
        ({"transform": "log"}, "any sign"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        polytask.ParetoMTL(**arguments)


def test_arguments_that_do_not_fit_the_tasks():
    with pytest.raises(UserError, match="place 5 among 5"):
        polytask.ParetoMTL(preference=5).weights(J2 @ J2.T)
    with pytest.raises(UserError, match="does not name task 'b'"):
        polytask.ParetoMTL(preference={"a": 1.0}).decide(known(J2, [1.0, 1.0]))
    with pytest.raises(UserError, match="loss of task '0' is -1"):
        polytask.ParetoMTL().weights(J2 @ J2.T, torch.tensor([-1.0, 1.0]))


def test_vectors_are_plain_words_in_a_configuration():
    method = polytask.create_method(
        "pareto_mtl", preference={"a": 1, "b": 2}, preferences=[{"a": 1, "b": 0}, {"a": 0, "b": 1}]
    )
    assert method.preferences == [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}]
    with pytest.raises(UserError, match="preferences should be"):
        polytask.create_method("pareto_mtl", preferences="many")
