"""Interpolation without a network: known fields, independent solutions, degenerate input."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator
from scipy.spatial.distance import cdist

from polytask.errors import MissingExtraError, UserError
from polytask.spatial import inverse_distance, kriging, upscale


def places(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 10, (rows, 2))


def grids(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


def surface(at: np.ndarray) -> np.ndarray:
    """A smooth field."""
    return np.sin(at[:, 0] / 2) + np.cos(at[:, 1] / 3)


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0])
def test_inverse_distance_is_the_weighted_mean(power: float) -> None:
    known, wanted = places(0, 30), places(1, 9)
    weights = cdist(wanted, known) ** -power
    expected = weights @ surface(known) / weights.sum(1)
    found = inverse_distance(known, surface(known), wanted, power, neighbours=30)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    nearest = np.argsort(-weights, axis=1)[:, :5]
    kept = np.take_along_axis(weights, nearest, axis=1)
    expected = (kept * surface(known)[nearest]).sum(1) / kept.sum(1)
    found = inverse_distance(known, surface(known), wanted, power, neighbours=5)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_inverse_distance_keeps_what_is_known() -> None:
    known = places(2, 20)
    values = surface(known)
    for power in (1.0, 400.0):
        np.testing.assert_allclose(inverse_distance(known, values, known, power), values)
    # Two values at one place: their mean. A high power far away: the nearest value, no overflow.
    twice = np.array([[0.0, 0.0], [0.0, 0.0], [5.0, 0.0]])
    found = inverse_distance(twice, np.array([1.0, 3.0, 9.0]), np.array([[0.0, 0.0]]))
    assert found == pytest.approx([2.0])
    far = inverse_distance(twice, np.array([1.0, 1.0, 9.0]), np.array([[1e6, 0.0]]), 1e9)
    assert far == pytest.approx([9.0])


def test_kriging_solves_the_ordinary_system() -> None:
    """Against the textbook's linear system, variogram parameters given."""
    known, wanted = places(3, 25), places(4, 6)
    sill, reach, nugget = 1.3, 4.0, 0.2

    def gamma(distance: np.ndarray) -> np.ndarray:
        # pykrige's exponential model: partial sill times 1 - exp(-d / (range / 3)), plus nugget.
        curve = (sill - nugget) * (1 - np.exp(-distance / (reach / 3))) + nugget
        return np.where(distance == 0, 0, curve)

    n = len(known)
    system = np.ones((n + 1, n + 1))
    system[:n, :n], system[n, n] = gamma(cdist(known, known)), 0
    right = np.ones((n + 1, len(wanted)))
    right[:n] = gamma(cdist(known, wanted))
    expected = np.linalg.solve(system, right)[:n].T @ surface(known)
    found = kriging(
        known,
        surface(known),
        wanted,
        variogram_parameters={"sill": sill, "range": reach, "nugget": nugget},
    )
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_kriging_keeps_what_is_known_and_follows_the_field() -> None:
    known, wanted = places(5, 80), places(6, 40)
    np.testing.assert_allclose(kriging(known, surface(known), known), surface(known), atol=1e-6)
    error = np.sqrt(np.mean((kriging(known, surface(known), wanted) - surface(wanted)) ** 2))
    assert error < 0.25 * surface(wanted).std()
    with_mean = kriging(known, surface(known) + 1e3, wanted)
    np.testing.assert_allclose(with_mean - 1e3, kriging(known, surface(known), wanted), atol=1e-4)


def test_kriging_of_double_places_and_constant_fields() -> None:
    known, wanted = places(7, 20), places(8, 5)
    values = surface(known)
    doubled = kriging(
        np.concatenate([known, known]), np.concatenate([values - 1, values + 1]), wanted
    )
    np.testing.assert_allclose(doubled, kriging(known, values, wanted), atol=1e-6)
    np.testing.assert_array_equal(kriging(known, np.full(20, 2.5), wanted), np.full(5, 2.5))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("mode", ["bicubic", "spline", "bilinear", "nearest"])
def test_known_cells_are_kept(mode: Any, scale: int) -> None:
    coarse = torch.randn(
        3, 2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    fine = upscale(coarse, scale, mode)
    assert fine.shape == (3, 2, 5 * scale, 7 * scale)
    torch.testing.assert_close(fine[..., ::scale, ::scale], coarse)


def test_bilinear_is_scipys() -> None:
    coarse = grids(1, 1, 6, 5)
    rows, columns = np.minimum(np.arange(12) / 2, 5), np.minimum(np.arange(10) / 2, 4)
    grid = RegularGridInterpolator((np.arange(6), np.arange(5)), coarse[0, 0].numpy())
    expected = grid(np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1))
    np.testing.assert_allclose(upscale(coarse, 2, "bilinear")[0, 0], expected, atol=1e-12)


def test_cells_lie_where_they_are_known() -> None:
    """A cubic surface: exact by the spline, nearly so by the convolution, inside the grid."""
    row, column = torch.meshgrid(*[torch.arange(16, dtype=torch.float64)] * 2, indexing="ij")
    fine = (row - 7) ** 3 / 50 + row * column / 9 - column
    coarse = fine[None, None, ::2, ::2]
    torch.testing.assert_close(upscale(coarse, 2, "spline")[0, 0, :15, :15], fine[:15, :15])
    rough = upscale(coarse, 2)[0, 0, 2:12, 2:12]
    assert (rough - fine[2:12, 2:12]).abs().max() < 0.02 * fine.std()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: inverse_distance(p, p[:, 0], p, power=0), "power above 0"),
        (lambda p: inverse_distance(p, p[:, 0], p, neighbours=0), "at least 1 neighbour"),
        (lambda p: inverse_distance(p, p, p), r"expected places \[n, d\]"),
        (lambda p: inverse_distance(p, p[:, 0] * np.nan, p), "must be finite numbers"),
        (lambda p: kriging(p[:2], p[:2, 0], p), "at least 3 different known places"),
        (lambda p: kriging(p[:, :1], p[:, 0], p[:, :1]), r"expected places \[n, 2\]"),
        (lambda p: kriging(p, p[:, 0], p, variogram="expo"), "did you mean 'exponential'"),
        (lambda p: kriging(p, p[:, 0], p, nlag=3), "kriging .* raised TypeError"),
        (lambda p: upscale(torch.zeros(1, 1, 4, 4), 1), "scale must be"),
        (lambda p: upscale(torch.zeros(1, 1, 3, 4), 2, "spline"), "at least 4 x 4 cells"),
        (lambda p: upscale(torch.zeros(1, 4, 4), 2), r"expected grids \[N, C, H, W\]"),
        (lambda p: upscale(torch.zeros(1, 1, 4, 4), 2, "cubic"), "did you mean 'bicubic'"),
    ],
)
def test_wrong_input_is_refused(call: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        call(places(9, 12))


def test_the_extra_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pykrige.ok", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polytask\[spatial\]'"):
        kriging(places(0, 5), np.arange(5.0), places(1, 2))
