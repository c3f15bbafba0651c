"""Norms, their gradients and proximal steps against NumPy, on any matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes
from stacks import drawn, gradient
from torch import Tensor

from polytask.optimization.regularization import create_regularizer

VALUES = st.floats(-8, 8, allow_nan=False, width=32).map(lambda x: round(x, 3))
STACKS = shapes.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=4).flatmap(
    lambda shape: shapes.arrays(np.float64, shape, elements=VALUES)
)


def names(stack: np.ndarray) -> list[str]:
    return [f"t{i}" for i in range(len(stack))]


def trace_norms(stack: np.ndarray) -> list[np.ndarray]:
    return [stack.reshape(len(stack), -1)]


def tucker_matrices(stack: np.ndarray) -> list[np.ndarray]:
    return [np.moveaxis(stack, d, 0).reshape(stack.shape[d], -1) for d in range(stack.ndim)]


def cuts(stack: np.ndarray) -> list[np.ndarray]:
    sizes = np.cumprod(stack.shape)[:-1]
    return [stack.reshape(int(size), -1) for size in sizes]


MATRICES = {"trace_norm": trace_norms, "tucker": tucker_matrices, "tensor_train": cuts}


@pytest.mark.parametrize("name", sorted(MATRICES))
@settings(max_examples=60, deadline=None)
@given(stack=STACKS)
def test_norms_are_those_of_numpy(name: str, stack: np.ndarray) -> None:
    expected = np.mean([np.linalg.norm(m, "nuc") for m in MATRICES[name](stack)])
    term = create_regularizer(name, strength=0.5)
    found = term.penalty(torch.from_numpy(stack), names(stack)).item()
    assert found == pytest.approx(0.5 * expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", sorted(MATRICES))
@settings(max_examples=60, deadline=None)
@given(stack=STACKS, seed=st.integers(0, 99))
def test_gradients_are_sub_gradients_of_least_norm_or_less(
    name: str, stack: np.ndarray, seed: int
) -> None:
    """f(y) >= f(x) + <g, y - x> for any y, also where singular values are 0 or repeated."""
    term, at = create_regularizer(name, strength=1.0), torch.from_numpy(stack)
    tasks = names(stack)
    slope = gradient(lambda x: term.penalty(x, tasks), at)
    there = at + drawn(*stack.shape, seed=seed) * 10.0 ** (seed % 5 - 3)
    line = term.penalty(at, tasks) + (slope * (there - at)).sum()
    assert term.penalty(there, tasks) >= line - 1e-8
    # <g, x> = f(x), as of every norm; and no sub-gradient of a nuclear norm is longer than 1.
    torch.testing.assert_close((slope * at).sum(), term.penalty(at, tasks), atol=1e-8, rtol=1e-8)
    if name == "trace_norm":
        largest = np.linalg.norm(slope.numpy().reshape(len(stack), -1), 2)
        assert largest <= 1 + 1e-8


@settings(max_examples=60, deadline=None)
@given(stack=STACKS, step=st.floats(0.01, 5))
def test_singular_values_are_lowered_and_directions_stay(stack: np.ndarray, step: float) -> None:
    term = create_regularizer("trace_norm", strength=2.0)
    found = term.prox(torch.from_numpy(stack), step).numpy().reshape(len(stack), -1)
    u, s, vh = np.linalg.svd(stack.reshape(len(stack), -1), full_matrices=False)
    expected = (u * np.maximum(s - 2 * step, 0)) @ vh
    np.testing.assert_allclose(found, expected, atol=1e-8)


@settings(max_examples=60, deadline=None)
@given(stack=STACKS, step=st.floats(0.01, 5), by_input=st.booleans())
def test_groups_shrink_as_a_whole(stack: np.ndarray, step: float, by_input: bool) -> None:
    term = create_regularizer("block_sparse", group="input" if by_input else "position")
    found = term.prox(torch.from_numpy(stack), step * 100).numpy()  # the strength is 0.01
    unit = min(2, stack.ndim - 1)
    within = tuple(d for d in range(stack.ndim) if d != unit) if by_input else (0,)
    lengths = np.sqrt((stack**2).sum(axis=within, keepdims=True))
    share = np.where(lengths > 0, np.maximum(0, 1 - step / np.where(lengths > 0, lengths, 1)), 0)
    np.testing.assert_allclose(found, stack * share, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(stack=STACKS, step=st.floats(0.01, 50))
def test_the_mean_stays_where_networks_are_drawn_to_it(stack: np.ndarray, step: float) -> None:
    found = create_regularizer("l2", strength=1.0).prox(torch.from_numpy(stack), step).numpy()
    np.testing.assert_allclose(found.mean(0), stack.mean(0), atol=1e-9)
    expected = (stack - stack.mean(0)) / (1 + step * len(stack))
    np.testing.assert_allclose(found - found.mean(0), expected, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(stack=STACKS)
def test_terms_of_what_is_not_finite_are_not_finite_and_ranks_do_not_fail(
    stack: np.ndarray,
) -> None:
    stack = stack.copy()
    stack.flat[0] = np.nan
    for name in MATRICES:
        term = create_regularizer(name)
        weights: dict[str, Tensor] = {"w": torch.from_numpy(stack)}
        told = term.diagnostics(weights, names(stack))
        assert not np.isfinite(told["penalty"])
