"""Local Moran's I on grids: closed forms, invariants, the dense formula, gradients, bad input."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polytask.auxiliary import local_moran, multiresolution_moran
from polytask.errors import UserError

NINE = torch.arange(1.0, 10.0, dtype=torch.float64).reshape(1, 1, 3, 3)
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 9)


def fields(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def contiguity(height: int, width: int, kind: str = "queen") -> Tensor:
    """Dense binary weights by looking at every pair of cells."""
    places = [(i, j) for i in range(height) for j in range(width)]
    near = torch.zeros(len(places), len(places), dtype=torch.float64)
    for a, (i, j) in enumerate(places):
        for b, (k, m) in enumerate(places):
            apart = (abs(i - k), abs(j - m))
            near[a, b] = apart in ([(0, 1), (1, 0)] if kind == "rook" else [(0, 1), (1, 0), (1, 1)])
    return near


def by_hand(field: np.ndarray, weights: np.ndarray, standardize: str) -> np.ndarray:
    """The formula as it is printed, for one field of n values."""
    sums = weights.sum(axis=1, keepdims=True)
    if standardize == "row":
        weights = np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
    z = field - field.mean()
    found: np.ndarray = (len(z) - 1) * z * (weights @ z) / (z**2).sum()
    return found


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, None]


def test_nine_cells() -> None:
    binary = local_moran(NINE, standardize="none")
    wanted = rows([32 / 15, 2.4, 8 / 15], [4 / 15, 0, 4 / 15], [8 / 15, 2.4, 32 / 15])
    torch.testing.assert_close(binary, wanted)
    row = local_moran(NINE)
    wanted = rows([32 / 45, 0.48, 8 / 45], [4 / 75, 0, 4 / 75], [8 / 45, 0.48, 32 / 45])
    torch.testing.assert_close(row, wanted)
    assert float(row.sum() / 8) == pytest.approx(16 / 45)


@settings(deadline=None)
@given(sides, sides, seeds, st.sampled_from(["queen", "rook"]), st.sampled_from(["row", "none"]))
def test_shifted_sums_are_the_dense_formula(
    height: int, width: int, seed: int, kind: str, standardize: str
) -> None:
    x = fields(2, 3, height, width, seed=seed)
    found = local_moran(x, kind, standardize)  # type: ignore[arg-type]
    if height * width == 1:
        assert not found.any()
        return
    near = contiguity(height, width, kind)
    for b in range(2):
        for c in range(3):
            wanted = by_hand(x[b, c].reshape(-1).numpy(), near.numpy(), standardize)
            np.testing.assert_allclose(found[b, c].reshape(-1), wanted, atol=1e-12, rtol=1e-9)
    # The same weights as a tensor, dense and sparse.
    torch.testing.assert_close(local_moran(x, near, standardize), found)  # type: ignore[arg-type]
    sparse = near.to_sparse_coo()
    torch.testing.assert_close(local_moran(x, sparse, standardize), found)  # type: ignore[arg-type]


@settings(deadline=None)
@given(seeds, st.floats(-50, 50).filter(lambda a: abs(a) > 0.01), st.floats(-100, 100))
def test_units_and_origin_play_no_part(seed: int, a: float, b: float) -> None:
    x = fields(1, 2, 6, 5, seed=seed)
    torch.testing.assert_close(local_moran(a * x + b), local_moran(x), rtol=1e-7, atol=1e-9)


@settings(deadline=None)
@given(seeds, sides.filter(lambda n: n > 1), st.sampled_from(["queen", "rook"]))
def test_rows_that_sum_to_one_add_up_to_the_global_statistic(
    seed: int, side: int, kind: str
) -> None:
    x = fields(1, 1, side, side + 1, seed=seed)
    near = contiguity(side, side + 1, kind)
    near = near / near.sum(1, keepdim=True)
    z = (x - x.mean()).reshape(-1)
    whole = len(z) / near.sum() * (z @ near @ z) / (z @ z)
    found = local_moran(x, kind).sum() / (len(z) - 1)  # type: ignore[arg-type]
    torch.testing.assert_close(found, whole)


def test_checkerboard_and_ramp() -> None:
    place = torch.arange(8.0, dtype=torch.float64)
    board = ((place[:, None] + place) % 2)[None, None]
    assert (local_moran(board, "rook") < 0).all()
    torch.testing.assert_close(local_moran(board, "rook"), torch.full_like(board, -63 / 64))
    ramp = (2 * place[:, None] - 3 * place)[None, None]
    assert (local_moran(ramp)[..., 1:-1, 1:-1] >= 0).all()
    assert (local_moran(ramp) > 0).any()


def test_scale_of_float32_and_half_fields() -> None:
    x = fields(2, 1, 16, 16)
    exact = local_moran(x)
    for factor in (1e-30, 1.0, 1e30):
        found = local_moran((x * factor).float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=1e-5)
    half = x.half()
    assert local_moran(half).dtype == torch.float16
    torch.testing.assert_close(
        local_moran(half).double(), local_moran(half.double()), rtol=1e-2, atol=1e-3
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = contiguity(16, 16).float()
        torch.testing.assert_close(local_moran(x.float(), near).double(), exact, atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", [{}, {"weights": "rook", "standardize": "none"}])
@pytest.mark.parametrize("normalize", [None, "minmax"])
def test_gradients(options: dict[str, str], normalize: str | None) -> None:
    x = fields(2, 2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: local_moran(x, normalize=normalize, **options), x)
    assert torch.autograd.gradcheck(
        lambda x: multiresolution_moran(x, 2, normalize=normalize, **options), x
    )
    if normalize is None:
        assert torch.autograd.gradgradcheck(lambda x: local_moran(x, **options), x)


def test_gradients_with_cells_left_out_and_with_weights() -> None:
    x = fields(1, 2, 4, 3).requires_grad_()
    present = torch.ones(1, 1, 4, 3, dtype=torch.bool)
    present[0, 0, 1, :2] = False
    assert torch.autograd.gradcheck(lambda x: local_moran(x, present=present), x)
    for near in (contiguity(4, 3), contiguity(4, 3).to_sparse_coo()):
        assert torch.autograd.gradcheck(lambda x, w=near: local_moran(x, w), x)  # type: ignore[misc]


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e38, 1e-30])
@pytest.mark.parametrize("normalize", [None, "minmax"])
def test_a_constant_field_gives_zeros_and_no_gradient(value: float, normalize: str | None) -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.full((1, 2, 7, 5), value, dtype=dtype)
        x[0, 1] = fields(7, 5).to(dtype)
        x.requires_grad_()
        for found in (
            local_moran(x, normalize=normalize),  # type: ignore[arg-type]
            multiresolution_moran(x, normalize=normalize),  # type: ignore[arg-type]
        ):
            assert not found[0, ::2].any()
            assert found[0, 1].any()
            (gradient,) = torch.autograd.grad(found.square().sum(), x)
            assert gradient.isfinite().all()
            assert not gradient[0, 0].any()


def test_rounding_is_not_taken_for_a_pattern() -> None:
    wave = torch.linspace(0, 1, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    nearly = 3.7 + (wave - wave)
    nearly[0, 0, 2, 3] = np.nextafter(3.7, 4)
    assert not local_moran(nearly).any()
    # Blocks whose means are equal but for rounding.
    block = fields(2, 2)
    tiled = block.repeat(4, 4) + 0.1
    assert not multiresolution_moran(tiled[None, None], 2)[0, 1].any()


def test_levels_of_blocks() -> None:
    small = fields(2, 3, 4, 4)
    for level in (1, 2):
        size = 2**level
        large = small.repeat_interleave(size, -1).repeat_interleave(size, -2)
        found = multiresolution_moran(large, level + 1)
        assert found.shape == (2, 3 * (level + 1), 4 * size, 4 * size)
        wanted = local_moran(small).repeat_interleave(size, -1).repeat_interleave(size, -2)
        torch.testing.assert_close(found[:, 3 * level :], wanted)
        torch.testing.assert_close(found[:, :3], local_moran(large))


def test_sides_that_two_does_not_divide() -> None:
    x = fields(1, 1, 5, 7)
    found = multiresolution_moran(x, 2)
    assert found.shape == (1, 2, 5, 7)
    ends, sides = [(0, 2), (2, 4), (4, 5)], [(0, 2), (2, 4), (4, 6), (6, 7)]
    coarse = torch.stack(
        [torch.stack([x[0, 0, a:b, c:d].mean() for c, d in sides]) for a, b in ends]
    )
    wanted = local_moran(coarse[None, None])[0, 0]
    for i, (a, b) in enumerate(ends):
        for j, (c, d) in enumerate(sides):
            block = found[0, 1, a:b, c:d]
            torch.testing.assert_close(block, wanted[i, j].expand_as(block))


def test_cells_that_are_not_there() -> None:
    x = fields(1, 1, 5, 4)
    present = torch.ones_like(x, dtype=torch.bool)
    # One cell alone, cut off by its neighbours.
    for i, j in [(0, 1), (1, 0), (1, 1), (3, 2)]:
        present[0, 0, i, j] = False
    kept = present.reshape(-1)
    near = contiguity(5, 4)[kept][:, kept].numpy()
    wanted = by_hand(x.reshape(-1)[kept].numpy(), near, "row")
    assert wanted[0] == 0
    holes = x.masked_fill(~present, torch.nan)
    found = local_moran(holes, present=present)
    np.testing.assert_allclose(found.reshape(-1)[kept], wanted, atol=1e-12)
    assert not found.reshape(-1)[~kept].any()
    scaled = local_moran(holes, present=present, normalize="minmax")
    assert scaled.reshape(-1)[kept].min() == -1
    assert scaled.reshape(-1)[kept].max() == 1
    assert not scaled.reshape(-1)[~kept].any()
    # A whole block is gone: nobody's neighbour at the coarse level either.
    nothing = torch.zeros_like(present)
    assert not local_moran(holes, present=nothing).any()
    block = torch.ones_like(x, dtype=torch.bool)
    block[0, 0, :2, :2] = False
    found = multiresolution_moran(x.masked_fill(~block, torch.nan), 2, present=block)
    assert found.isfinite().all()
    assert not found[0, 1][~block[0, 0]].any()
    again = multiresolution_moran(x.masked_fill(~block, 1e6), 2, present=block)
    torch.testing.assert_close(found, again)


def test_a_block_is_the_mean_of_the_cells_it_has() -> None:
    x = fields(1, 1, 4, 4)
    present = torch.ones_like(x, dtype=torch.bool)
    present[0, 0, :2, :2] = torch.tensor([[False, False], [True, False]])
    present[0, 0, 3, 3] = False
    means = rows(
        [float(x[0, 0, 1, 0]), float(x[0, 0, :2, 2:].mean())],
        [float(x[0, 0, 2:, :2].mean()), float(x[0, 0, 2:, 2:].reshape(-1)[:3].mean())],
    )
    found = multiresolution_moran(x.masked_fill(~present, torch.nan), 2, present=present)[:, 1:]
    wanted = local_moran(means).repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(found, wanted * present)
    assert wanted.all()


def test_a_missing_value_shows() -> None:
    x = fields(1, 2, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    found = local_moran(x)
    assert found[0, 0].isnan().all()
    assert found[0, 1].isfinite().all()
    x[0, 0, 1, 1] = torch.inf
    assert local_moran(x)[0, 0].isnan().all()


def published(y: np.ndarray) -> np.ndarray:
    """What the published code computes for one square image, with numpy in place of torch."""
    near = contiguity(*y.shape).numpy()
    z = (y - y.mean()).reshape(-1)
    with np.errstate(invalid="ignore"):
        z = z / z.std(ddof=1)
        found = (len(z) - 1) * z * (near @ z) / (z * z).sum()
    found[np.isnan(found)] = 0
    low, high = found.min(), found.max()
    if low != 0 or high != 0:
        found = 2 * (found - low) / (high - low) - 1
    return np.asarray(found.reshape(y.shape))


def test_the_published_code() -> None:
    x = fields(3, 1, 8, 8)
    x[2] = 2.5
    found = local_moran(x, compat="reference")
    levels = multiresolution_moran(x, compat="reference")
    for i in range(3):
        np.testing.assert_allclose(found[i, 0], published(x[i, 0].numpy()), atol=1e-12)
        coarse = torch.nn.functional.avg_pool2d(x[i], 4)[0]
        wanted = np.kron(published(coarse.numpy()), np.ones((4, 4)))
        np.testing.assert_allclose(levels[i, 2], wanted, atol=1e-12)


def test_islands_are_zero_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    near = contiguity(11, 3)
    near[5] = 0
    x = fields(1, 1, 11, 3)
    with caplog.at_level(logging.WARNING, "polytask"):
        found = [local_moran(x, w) for w in (near, near, near.to_sparse_coo())]
    assert [each.reshape(-1)[5] for each in found] == [0, 0, 0]
    assert found[0].isfinite().all()
    assert len(caplog.records) == 1
    assert "1 of 33 cells have no neighbours" in caplog.text


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (NINE, {"weights": "quen"}, "did you mean 'queen'"),
        (NINE, {"standardize": "rows"}, "did you mean 'row'"),
        (NINE, {"normalize": "min-max"}, "did you mean 'minmax'"),
        (NINE, {"compat": "paper"}, "reference"),
        (NINE[0], {}, r"shape \[1, 3, 3\]; expected \[B, C, H, W\]. Points need"),
        (NINE[0, 0], {"weights": torch.eye(9)}, r"\[B, C, H, W\] or \[B, C, n\]"),
        (NINE[:0], {}, "a cell at least"),
        (NINE, {"weights": torch.eye(8)}, r"shape \[8, 8\]; expected \[9, 9\]"),
        (NINE, {"weights": -torch.eye(9)}, "at least 0"),
        (NINE, {"weights": torch.full((9, 9), torch.nan)}, "not finite"),
        (NINE, {"present": torch.ones(3, 3)}, "true or false for each cell"),
        (NINE, {"present": torch.ones(2, 2, dtype=torch.bool)}, "true or false for each cell"),
    ],
)
def test_bad_input(x: Tensor, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        local_moran(x, **options)


def test_levels_that_do_not_fit() -> None:
    for levels in (0, 3):
        with pytest.raises(UserError, match=f"levels={levels} for fields of 3 x 3"):
            multiresolution_moran(NINE, levels)
    with pytest.raises(UserError, match="a grid of its own"):
        multiresolution_moran(NINE, 2, contiguity(3, 3))  # type: ignore[arg-type]
