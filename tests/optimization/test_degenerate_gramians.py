"""Every method that reads the Gramian, on Gramians of every degenerate kind, at every scale."""

import pytest
import torch
from gradient_rows import KINDS, degenerate
from hypothesis import given, settings
from hypothesis import strategies as st

import polytask
from polytask import registry

METHODS = [
    name
    for name, entry in registry.entries("method").items()
    if entry.constants.get("statistic_kind") == "gramian"
]
HURTS_NOBODY = {"mgda", "upgrad", "dualproj", "nash_mtl", "fairgrad"}


def weights(name, g):
    method = polytask.create_method(name, generator=torch.Generator().manual_seed(0))
    return method.weights(g)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10_000),
    tasks=st.integers(1, 12),
    exponent=st.integers(-40, 40),
)
def test_finite_scale_free_and_harmless(name, kind, seed, tasks, exponent):
    """Powers of two scale the gradients (1e-12 to 1e12) without rounding."""
    j = degenerate(kind, seed, tasks)
    g = j @ j.T
    one = weights(name, g)
    assert one.shape == (tasks,)
    assert torch.isfinite(one).all()
    other = weights(name, g * 4.0**exponent)
    assert torch.isfinite(other).all()
    size = j.norm(dim=1)
    # Each task's share of the direction, whose sum may be all cancellation.
    torch.testing.assert_close(_unit(other * size), _unit(one * size), atol=1e-6, rtol=0)
    if name in HURTS_NOBODY:
        gains = g @ one
        assert bool((gains >= -1e-7 * size * (one.abs() @ size)).all())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_forty_tasks(name, kind):
    j = degenerate(kind, 5, 40)
    assert torch.isfinite(weights(name, j @ j.T)).all()


def _unit(values):
    length = values.norm()
    return values / length if float(length) > 0 else values
