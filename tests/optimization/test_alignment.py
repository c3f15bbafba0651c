"""IMTL-G, Aligned-MTL and ConFIG: combinations that treat all gradients alike."""

import numpy as np
import pytest
import torch
from gradient_rows import J2, J3, OPPOSITE, jacobian, near

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic


def projections(j, d):
    return (j @ d) / j.norm(dim=1)


class TestIMTLG:
    def test_golden(self):
        near(polytask.IMTLG().weights(J2 @ J2.T), [0.320377, 0.679623])
        near(polytask.IMTLG().weights(J3 @ J3.T), [0.240536, 0.518928, 0.240536])
        near(projections(J2, polytask.IMTLG().combine(J2)), [0.281509] * 2)
        near(projections(J3, polytask.IMTLG().combine(J3)), [0.297319] * 3)

    def test_two_tasks_closed_form(self):
        for seed in range(30):
            j = jacobian(seed, 2)
            one, two = j.norm(dim=1).tolist()
            near(polytask.IMTLG().weights(j @ j.T), [two / (one + two), one / (one + two)], 1e-9)

    @pytest.mark.parametrize("tasks", [3, 8, 30])
    @pytest.mark.parametrize("seed", range(3))
    def test_solves_the_paper_s_linear_system(self, tasks, seed):
        rows = jacobian(seed, tasks).numpy()
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        system = np.vstack([(unit[:1] - unit[1:]) @ rows.T, np.ones(tasks)])
        expected = np.linalg.solve(system, np.eye(tasks)[-1])
        found = polytask.IMTLG().weights(torch.tensor(rows @ rows.T)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)

    def test_opposite_gradients_get_no_weight(self):
        near(polytask.IMTLG().weights(OPPOSITE @ OPPOSITE.T), [0.0, 0.0])


class TestConFIG:
    def test_golden(self):
        d = polytask.ConFIG().combine(J2)
        near(d, [0.646447, 1.560660])
        near(projections(J2, d / d.norm()), [0.382683] * 2)
        near(polytask.ConFIG().combine(J3), [-0.121933, 0.121933, 2.385296])

    @pytest.mark.parametrize("tasks", [1, 2, 5, 20])
    @pytest.mark.parametrize("seed", range(3))
    def test_equals_the_pseudo_inverse_of_the_unit_rows(self, tasks, seed):
        rows = jacobian(seed, tasks).numpy()
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        x = np.linalg.pinv(unit) @ np.ones(tasks)
        x /= np.linalg.norm(x)
        expected = (rows @ x).sum() * x
        found = polytask.ConFIG().combine(torch.tensor(rows)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(rows).max())

    def test_agrees_with_torchjd(self):
        from torchjd.aggregation import ConFIG

        for seed in range(5):
            j = jacobian(seed, 4)
            near(polytask.ConFIG().combine(j), ConFIG()(j).tolist(), 1e-8)

    def test_has_three_names(self):
        assert polytask.ConFIG is polytask.ConflictFree
        assert type(polytask.create_method("config")) is polytask.ConFIG
        assert type(polytask.create_method("conflict_free")) is polytask.ConFIG

    def test_opposite_gradients_get_no_weight(self):
        near(polytask.ConFIG().weights(OPPOSITE @ OPPOSITE.T), [0.0, 0.0])


@pytest.mark.parametrize("name", ["imtl_g", "conflict_free"])
class TestBoth:
    def test_a_zero_gradient_gets_no_weight_and_changes_nothing(self, name):
        with_zero = torch.cat([J3, torch.zeros(1, 3, dtype=torch.float64)])
        method = polytask.create_method(name)
        expected = [*method.weights(J3 @ J3.T).tolist(), 0.0]
        near(method.weights(with_zero @ with_zero.T), expected, 1e-12)

    def test_rows_that_are_equal_up_to_float32_rounding_share(self, name):
        """Their difference is noise, which an inverse would blow up to any size."""
        j = torch.stack([J3[0], J3[1], J3[1] * (1 + 1e-7)])
        weights = polytask.create_method(name).weights(j @ j.T)
        near(weights[1], float(weights[2]), 1e-5)
        noise = torch.tensor([[0, 0, 0], [0, 0, 4e-7], [0, 4e-7, 0]], dtype=torch.float64)
        near(polytask.create_method(name).weights(j @ j.T + noise), weights.tolist(), 1e-5)


class TestAlignedMTL:
    def test_golden(self):
        near(polytask.AlignedMTL().weights(J2 @ J2.T), [0.305116, 0.572092])
        near(polytask.AlignedMTL().weights(J3 @ J3.T), [0.225990, 0.401760, 0.225990])

    @pytest.mark.parametrize(("rows", "level"), [(J2, 0.890228), (J3, 1.293812)])
    def test_aligned_gradients_are_orthogonal_and_equally_long(self, rows, level):
        names = [str(i) for i in range(len(rows))]
        aligned = []
        for name in names:
            # Nearly all of the preference on one task shows that task's aligned gradient.
            preference = {other: 1.0 if other == name else 1e-12 for other in names}
            aligned.append(polytask.AlignedMTL(preference=preference).combine(rows))
        b = torch.stack(aligned)
        near(b @ b.T, (level * torch.eye(len(rows))).tolist(), 1e-6)

    @pytest.mark.parametrize("tasks", [2, 5, 20])
    @pytest.mark.parametrize("mode", ["min", "median", "rmse"])
    def test_equals_the_orthogonal_procrustes_solution(self, tasks, mode):
        rows = jacobian(tasks, tasks).numpy()
        u, sigma, v = np.linalg.svd(rows, full_matrices=False)
        level = {
            "min": sigma[-1],
            "median": np.sort(sigma)[(tasks - 1) // 2],
            "rmse": np.sqrt((sigma**2).mean()),
        }[mode]
        expected = (level * u @ v).mean(axis=0)
        found = polytask.AlignedMTL(mode=mode).combine(torch.tensor(rows)).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(rows).max())

    @pytest.mark.parametrize("mode", ["min", "median", "rmse"])
    def test_agrees_with_torchjd(self, mode):
        from torchjd.aggregation import AlignedMTLWeighting

        for seed in range(5):
            j = jacobian(seed, 4)
            g = j @ j.T
            theirs = AlignedMTLWeighting(scale_mode=mode)(g)
            near(polytask.AlignedMTL(mode=mode).weights(g), theirs.tolist(), 1e-8)

    def test_preference_is_by_name_and_relative(self):
        g = J2 @ J2.T
        for factor in (1.0, 10.0):
            method = polytask.AlignedMTL(preference={"b": 3.0 * factor, "a": factor})
            weights = method.decide(Statistic(("a", "b"), torch.ones(2), g))
            b = torch.linalg.inv(_root(g)) * torch.linalg.eigvalsh(g)[0].sqrt()
            near(weights, (b @ torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist(), 1e-9)

    def test_follows_the_preference_to_a_pareto_point(self):
        """Two quadratics: at the end the gradients, weighted by the preference, cancel."""
        goals = torch.eye(2, dtype=torch.float64)
        theta = torch.tensor([2.0, -1.0], dtype=torch.float64)
        method = polytask.AlignedMTL(preference={"0": 0.8, "1": 0.2}, mode="rmse")
        for _ in range(4000):
            theta = theta - 0.01 * method.combine(theta - goals)
        near(theta, [0.8, 0.2], 1e-2)

    def test_a_short_gradient_is_no_dependent_one(self):
        independent = torch.tensor([[1e5, 0.0], [0.0, 1e-2]], dtype=torch.float64)
        near(polytask.AlignedMTL().combine(independent), [0.005, 0.005], 1e-9)

    def test_dependent_rows_in_float32_do_not_shrink_the_step(self):
        rows = jacobian(0, 2, 1000)
        dependent = torch.cat([rows, rows[:1] + rows[1:]]).float()
        exact = polytask.AlignedMTL().combine(dependent.double())
        noisy = polytask.AlignedMTL().weights(dependent @ dependent.T)
        found = dependent.double().T @ noisy.double()
        assert float((found - exact).norm() / exact.norm()) < 1e-3

    def test_wrong_arguments(self):
        with pytest.raises(UserError, match="mode must be one of"):
            polytask.AlignedMTL(mode="max")
        with pytest.raises(UserError, match="must be positive"):
            polytask.AlignedMTL(preference={"a": 0.0})
        with pytest.raises(UserError, match="did you mean 'dept'"):
            polytask.AlignedMTL(preference={"dept": 1.0, "seg": 1.0}).decide(
                Statistic(("depth", "seg"), torch.ones(2), J2 @ J2.T)
            )


def _root(g):
    values, vectors = torch.linalg.eigh(g)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T
