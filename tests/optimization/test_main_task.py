"""Methods around a main task: cosine gating and the one-way projection."""

import pytest
import torch
from gradient_rows import J3, OPPOSITE, jacobian, near

import polytask
from polytask.errors import UserError
from polytask.kernel import Statistic

METHODS = ["gcs", "agem"]


def decide(method, names, rows):
    return method.decide(Statistic(tuple(names), torch.ones(len(names)), rows @ rows.T))


class TestGCS:
    def test_unweighted_keeps_helpers_that_agree(self):
        near(polytask.GCS(main=0).weights(J3 @ J3.T), [1.0, 0.0, 1.0])
        near(polytask.GCS(main=1).weights(J3 @ J3.T), [0.0, 1.0, 0.0])

    def test_weighted_takes_the_cosine(self):
        near(polytask.GCS(main=0, form="weighted").weights(J3 @ J3.T), [1.0, 0.0, 0.2])

    @pytest.mark.parametrize("form", ["unweighted", "weighted"])
    def test_closed_forms(self, form):
        method = polytask.GCS(form=form)
        near(method.combine(OPPOSITE), [1.0, 2.0])
        near(method.combine(OPPOSITE[:1].expand(2, 2)), [2.0, 4.0], 1e-12)
        orthogonal = torch.tensor([[1.0, 2.0], [-2.0, 1.0]], dtype=torch.float64)
        near(method.combine(orthogonal), [1.0, 2.0], 1e-12)
        near(method.weights(torch.zeros(2, 2, dtype=torch.float64)), [1.0, 0.0])

    @pytest.mark.parametrize("form", ["unweighted", "weighted"])
    def test_equals_the_loop_over_gradients(self, form):
        for seed in range(10):
            j = jacobian(seed, 5)
            expected = j[2].clone()
            for k in (0, 1, 3, 4):
                cosine = torch.cosine_similarity(j[2], j[k], dim=0).clamp_min(0)
                expected += (cosine if form == "weighted" else (cosine > 0)) * j[k]
            near(polytask.GCS(main=2, form=form).combine(j), expected.tolist(), 1e-10)

    def test_without_the_main_task_no_helper_counts(self):
        method = polytask.GCS(main="a")
        decide(method, "abc", J3)
        near(decide(method, "bc", J3[1:]), [0.0, 0.0])

    def test_converges_to_the_main_task_s_minimum(self):
        """Their proposition: whatever the helper wants, the main loss ends at its minimum."""
        for form in ("unweighted", "weighted"):
            theta = torch.tensor([3.0, -2.0], dtype=torch.float64)
            method = polytask.GCS(form=form)
            goals = torch.tensor([[1.0, 1.0], [-1.0, 2.0]], dtype=torch.float64)
            for _ in range(600):
                theta = theta - 0.02 * method.combine(theta - goals)
            near(theta, [1.0, 1.0], 1e-3)


class TestAGEM:
    def test_equals_the_projection_of_each_helper(self):
        for seed in range(10):
            j = jacobian(seed, 5)
            expected = j[1].clone()
            for k in (0, 2, 3, 4):
                against = (j[k] @ j[1]).clamp_max(0)
                expected += j[k] - against / (j[1] @ j[1]) * j[1]
            near(polytask.AGEM(main=1).combine(j), expected.tolist(), 1e-10)

    def test_main_gradient_is_never_opposed(self):
        for seed in range(20):
            j = jacobian(seed, 4)
            d = polytask.AGEM().combine(j)
            assert float(d @ j[0]) >= float(j[0] @ j[0]) * (1 - 1e-9)

    def test_two_tasks_are_pcgrad_in_one_direction(self):
        near(polytask.AGEM().combine(OPPOSITE), [1.0, 2.0])
        helper = polytask.AGEM(main=0).combine(J3[:2]) - J3[0]
        near(helper @ J3[0], 0.0, 1e-12)

    def test_nothing_to_project_on_is_the_plain_sum(self):
        zero = torch.cat([torch.zeros(1, 3, dtype=torch.float64), J3[1:]])
        near(polytask.AGEM().weights(zero @ zero.T), [1.0, 1.0, 1.0])
        method = polytask.AGEM(main="a")
        decide(method, "abc", J3)
        near(decide(method, "bc", J3[1:]), [1.0, 1.0])


@pytest.mark.parametrize("name", METHODS)
class TestMain:
    def test_by_name_or_row_is_the_same(self, name):
        by_name = decide(polytask.create_method(name, main="b"), "abc", J3)
        torch.testing.assert_close(by_name, polytask.create_method(name, main=1).weights(J3 @ J3.T))

    def test_a_name_follows_its_task(self, name):
        method = polytask.create_method(name, main="b")
        near(decide(method, "abc", J3)[[1, 0, 2]], decide(method, "bac", J3[[1, 0, 2]]).tolist())

    def test_unknown_names_and_rows_are_said(self, name):
        with pytest.raises(UserError, match="did you mean 'depth'"):
            decide(polytask.create_method(name, main="dept"), ["depth", "seg", "normal"], J3)
        with pytest.raises(UserError, match="not a row of the 3"):
            polytask.create_method(name, main=3).weights(J3 @ J3.T)

    def test_a_resumed_run_may_start_without_the_main_task(self, name):
        first = polytask.create_method(name, main="a")
        decide(first, "abc", J3)
        second = polytask.create_method(name, main="a")
        with pytest.raises(UserError, match="first step"):
            decide(second, "bc", J3[1:])
        second.load_state_dict(first.state_dict())
        assert decide(second, "bc", J3[1:]).shape == (2,)


def test_form_is_checked():
    with pytest.raises(UserError, match="form must be one of"):
        polytask.GCS(form="both")
