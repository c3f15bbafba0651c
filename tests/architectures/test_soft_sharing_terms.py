"""The terms alone: values and gradients in closed form, where they are safe."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor

from polytask.optimization.regularization._tensor_normal import TensorNormal
from polytask.optimization.regularization._terms import (
    nuclear_norm,
    shrunk,
    spread,
    towards_mean,
    tucker_norm,
    unfolded,
)

GOLDEN = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], dtype=torch.float64)


def gradient(function: object, at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf), leaf)  # type: ignore[operator]
    return found


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_spread_is_the_sum_over_pairs() -> None:
    stack = drawn(4, 3, 5)
    pairs = [(a - b).square().sum() for a, b in combinations(stack, 2)]
    torch.testing.assert_close(spread(stack), torch.stack(pairs).sum())


def test_the_proximal_step_of_the_spread_minimises_it() -> None:
    """Its optimality condition: what it moved is the gradient there, times the step."""
    before = drawn(4, 3, 5)
    after = towards_mean(before, 0.3)
    expected = 0.3 * gradient(lambda w: spread(w) / 2, after)
    torch.testing.assert_close(before - after, expected)


def test_nuclear_norm_of_a_known_matrix() -> None:
    assert nuclear_norm(GOLDEN).item() == pytest.approx(7)
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(gradient(nuclear_norm, GOLDEN), expected)
    expected = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(shrunk(GOLDEN, 1.0), expected)


def test_nuclear_norm_against_torch_where_that_is_smooth() -> None:
    matrix = drawn(6, 4)
    torch.testing.assert_close(nuclear_norm(matrix), torch.linalg.matrix_norm(matrix, "nuc"))
    oracle = gradient(lambda m: torch.linalg.svdvals(m).sum(), matrix)
    torch.testing.assert_close(gradient(nuclear_norm, matrix), oracle)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "matrix",
    [torch.zeros(4, 3), torch.eye(4), torch.ones(5, 3), torch.diag(torch.tensor([2.0, 2.0, 0.0]))],
    ids=["zero", "repeated", "rank one", "both"],
)
def test_the_subgradient_is_finite_where_singular_values_meet(
    matrix: Tensor, dtype: torch.dtype
) -> None:
    found = gradient(nuclear_norm, matrix.to(dtype))
    assert found.isfinite().all()
    assert torch.linalg.svdvals(found.double()).max() <= 1 + 1e-2
    if not matrix.any():
        assert not found.any()


def test_the_subgradient_is_one_of_least_norm() -> None:
    """At identical columns: u v^T, no arbitrary part in directions whose singular value is 0."""
    column = drawn(7)
    found = gradient(nuclear_norm, column[:, None].repeat(1, 3))
    expected = (column / column.norm())[:, None].repeat(1, 3) / 3**0.5
    torch.testing.assert_close(found, expected)


def test_a_matrix_that_is_not_finite_is_not_hidden() -> None:
    assert nuclear_norm(torch.tensor([[1.0, torch.inf]])).isnan()


def test_the_proximal_step_ends_at_rank_zero() -> None:
    matrix = drawn(6, 4)
    values = torch.linalg.svdvals(matrix)
    between = float(values[1] + values[2]) / 2
    assert torch.linalg.matrix_rank(shrunk(matrix, between)) == 2
    torch.testing.assert_close(shrunk(matrix, 1e3), torch.zeros_like(matrix))
    half = matrix.bfloat16()
    assert shrunk(half, 0.1).dtype == torch.bfloat16


def test_tucker_is_the_mean_over_unfoldings() -> None:
    stack = drawn(3, 4, 5)
    by_hand = [stack.reshape(3, 20), stack.permute(1, 0, 2).reshape(4, 15)]
    by_hand.append(stack.permute(2, 0, 1).reshape(5, 12))
    norms = [torch.linalg.matrix_norm(m, "nuc") for m in by_hand]
    torch.testing.assert_close(tucker_norm(stack), torch.stack(norms).mean())
    assert [unfolded(stack, mode).equal(m) for mode, m in enumerate(by_hand)] == [True] * 3
    assert gradient(tucker_norm, torch.zeros(2, 3, 4)).eq(0).all()


def test_the_identity_is_a_ridge() -> None:
    stack = drawn(3, 4, 5)
    prior = TensorNormal(stack.shape, (0, 1, 2), 0.1).double()
    torch.testing.assert_close(prior(stack), stack.square().sum())


def test_the_quadratic_form_is_that_of_the_kronecker_product() -> None:
    stack = drawn(3, 4, 5)
    prior = TensorNormal(stack.shape, (0, 1, 2), 0.05).double()
    prior.update(drawn(3, 4, 5) + 1)
    tasks, outputs, inputs = (prior.covariance(mode) for mode in (0, 1, 2))
    precision = torch.kron(torch.kron(tasks, outputs), inputs).inverse()
    vector = stack.flatten()
    torch.testing.assert_close(prior(stack), vector @ precision @ vector)
    assert all(
        prior.covariance(m).trace().item() == pytest.approx(d) for m, d in enumerate((3, 4, 5))
    )


def test_an_estimate_given_the_others() -> None:
    """S_0 is proportional to W_(0) (S_1 x S_2)^-1 W_(0)^T, once the others are at rest."""
    stack = drawn(3, 4, 5)
    prior = TensorNormal(stack.shape, (0, 1, 2), 1e-9).double()
    for _ in range(200):
        prior.update(stack)
    precision = torch.kron(prior.covariance(1), prior.covariance(2)).inverse()
    rows = stack.reshape(3, 20)
    found = rows @ precision @ rows.T
    torch.testing.assert_close(found * 3 / found.trace(), prior.covariance(0), rtol=1e-6, atol=1e-6)


def test_flip_flop_recovers_the_covariance_of_tasks() -> None:
    factor = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.1, 0.9]], dtype=torch.float64)
    stack = torch.einsum("st,tij->sij", factor, drawn(3, 40, 60))
    prior = TensorNormal(stack.shape, (0,), 1e-6).double()
    prior.update(stack)
    truth = factor @ factor.T
    truth = truth * 3 / truth.trace()
    torch.testing.assert_close(prior.covariance(0), truth, rtol=0.1, atol=0.05)


@pytest.mark.parametrize("epsilon", [0.1, 1e-4])
def test_duplicated_tasks_are_fully_correlated(epsilon: float) -> None:
    one = drawn(4, 5)
    prior = TensorNormal((2, 4, 5), (0,), epsilon).double()
    prior.update(torch.stack([one, one]))
    covariance = prior.covariance(0)
    correlation = (covariance[0, 1] / covariance[0, 0]).item()
    assert correlation == pytest.approx(1 / (1 + epsilon))


def test_weights_of_zero_leave_the_covariance() -> None:
    prior = TensorNormal((2, 4, 5), (0, 1, 2), 0.1)
    prior.update(torch.zeros(2, 4, 5))
    assert all(prior.covariance(m).equal(torch.eye(d)) for m, d in enumerate((2, 4, 5)))


def test_the_prior_of_some_tasks() -> None:
    prior = TensorNormal((3, 4, 5), (0, 1), 0.1).double()
    prior.update(drawn(3, 4, 5))
    covariance = prior.covariance(0).clone()
    prior.keep_tasks([2, 0])
    assert prior.covariance(0).equal(covariance[[2, 0]][:, [2, 0]])
    torch.testing.assert_close(prior.precision_0, prior.covariance(0).inverse())
