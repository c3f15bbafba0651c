"""Local Moran's I with weights of real maps and points, against esda, and nearest neighbours."""

from __future__ import annotations

import warnings
from typing import Any

import esda
import libpysal
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

from polytask.auxiliary import knn_weights, local_moran
from polytask.errors import UserError

MAPS = {
    "columbus": ("columbus.dbf", "columbus.gal", ("CRIME", "INC", "HOVAL")),
    "sids2": ("sids2.dbf", "sids2.gal", ("SIDR74", "SIDR79")),
    "stl": ("stl_hom.dbf", "stl.gal", ("HR8893", "HR7984")),
    "baltim": ("baltim.dbf", "baltim_k4.gwt", ("PRICE", "LOTSZ")),
}
"""Real maps in libpysal's wheel: a table, contiguity (baltim: 4 nearest houses), columns."""


def quietly(path: str) -> Any:
    """What libpysal reads from a file, without the file that it leaves open."""
    with warnings.catch_warnings():
        # Its readers never close; Python says so when they are collected.
        warnings.simplefilter("ignore", ResourceWarning)
        reader = libpysal.io.open(path)
        try:
            return reader.read() if path.endswith((".gal", ".gwt")) else table(reader)
        finally:
            reader.close()


def table(reader: Any) -> dict[str, np.ndarray]:
    rows = [reader.read_record(i) for i in range(reader.n_records)]
    columns = zip(*rows, strict=True)
    return {name: np.asarray(c) for name, c in zip(reader.header, columns, strict=True)}


def matrix(w: Any) -> Tensor:
    """A binary weights object of libpysal as a dense tensor."""
    w.transform = "b"
    return torch.from_numpy(w.full()[0])


def expected(y: np.ndarray, w: Any, transform: str) -> np.ndarray:
    found: np.ndarray = esda.Moran_Local(
        y, w, transformation=transform, permutations=0, island_weight=0
    ).Is
    return found


@pytest.mark.parametrize("name", MAPS)
def test_real_maps_against_esda(name: str) -> None:
    data, neighbours, columns = MAPS[name]
    values = quietly(libpysal.examples.get_path(data))
    w = quietly(libpysal.examples.get_path(neighbours))
    fields = np.stack([values[column].astype(float) for column in columns])
    near = matrix(w)
    x = torch.from_numpy(fields)[None]
    for standardize, transform in (("row", "r"), ("none", "b")):
        for weights in (near, near.to_sparse_coo()):
            found = local_moran(x, weights, standardize)[0].numpy()  # type: ignore[arg-type]
            for y, mine in zip(fields, found, strict=True):
                np.testing.assert_allclose(mine, expected(y, w, transform), rtol=1e-10, atol=1e-10)
    for y, mine in zip(fields, local_moran(x, near)[0].numpy(), strict=True):
        whole = esda.Moran(y, w, transformation="r", permutations=0).I
        assert mine.sum() / (len(y) - 1) == pytest.approx(whole, abs=1e-10)


@pytest.mark.parametrize("rook", [True, False])
def test_a_grid_of_libpysal(rook: bool) -> None:
    w = libpysal.weights.lat2W(9, 12, rook=rook)
    y = np.random.default_rng(1).gamma(2.0, size=(9, 12))
    for standardize, transform in (("row", "r"), ("none", "b")):
        found = local_moran(
            torch.from_numpy(y)[None, None],
            "rook" if rook else "queen",
            standardize,  # type: ignore[arg-type]
        )
        wanted = expected(y.reshape(-1), w, transform)
        np.testing.assert_allclose(found.reshape(-1), wanted, rtol=1e-10, atol=1e-10)


def test_islands_against_esda() -> None:
    neighbours = {0: [1, 2], 1: [0, 2], 2: [0, 1], 3: [], 4: [2]}
    w = libpysal.weights.W(neighbours, silence_warnings=True)
    y = np.asarray([1.0, 4.0, 2.0, 9.0, -3.0])
    found = local_moran(torch.from_numpy(y)[None, None], matrix(w)).reshape(-1)
    assert found[3] == 0
    np.testing.assert_allclose(found, expected(y, w, "r"), atol=1e-10)


def test_nearest_houses_against_libpysal() -> None:
    houses = quietly(libpysal.examples.get_path("baltim.dbf"))
    places = np.stack([houses["X"], houses["Y"]], axis=1).astype(float)
    price = houses["PRICE"].astype(float)
    # Ties are broken as each library likes; without any the two agree.
    places += np.random.default_rng(0).uniform(-1e-6, 1e-6, places.shape)
    weights = knn_weights(places, 5)
    w = libpysal.weights.KNN.from_array(places, k=5)
    found = local_moran(torch.from_numpy(price)[None, None], weights).reshape(-1)
    np.testing.assert_allclose(found, expected(price, w, "r"), rtol=1e-10, atol=1e-10)


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_neighbours_are_the_nearest_others(n: int, k: int, d: int, seed: int) -> None:
    if k >= n:
        with pytest.raises(UserError, match=f"k={k} neighbours; expected"):
            knn_weights(np.zeros((n, d)), k)
        return
    # On a coarse grid, so that places coincide and distances tie.
    places = np.random.default_rng(seed).integers(0, 4, (n, d)).astype(float)
    weights = knn_weights(torch.from_numpy(places), k)
    assert weights.layout == torch.sparse_coo
    dense = weights.to_dense().numpy()
    assert ((dense == 0) | (dense == 1 / k)).all()
    assert not dense.diagonal().any()
    np.testing.assert_array_equal((dense > 0).sum(axis=1), k)
    apart = cdist(places, places)
    np.fill_diagonal(apart, np.inf)
    taken = np.sort(np.where(dense > 0, apart, np.inf), axis=1)[:, :k]
    np.testing.assert_allclose(taken, np.sort(apart, axis=1)[:, :k], atol=1e-12)


def test_layouts_give_the_same_and_the_same_gradient() -> None:
    places = np.random.default_rng(0).uniform(size=(30, 2))
    sparse = knn_weights(places, 4)
    x = torch.randn(2, 3, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    found = {}
    with warnings.catch_warnings():
        # torch says at the first tensor of this layout that it is in beta.
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        layouts = {"coo": sparse, "csr": sparse.to_sparse_csr(), "dense": sparse.to_dense()}
        for name, weights in layouts.items():
            result = local_moran(x, weights)
            (gradient,) = torch.autograd.grad(result.pow(3).sum(), x)
            found[name] = (result.detach(), gradient)
    for name in ("csr", "dense"):
        torch.testing.assert_close(found[name], found["coo"])
    single = local_moran(x.float(), sparse)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found["coo"][0], rtol=1e-3, atol=1e-4)


def test_memory_stays_sparse() -> None:
    """A dense matrix of so many points would take 7 TB."""
    n = 1_000_000
    rows = torch.arange(n)
    ring = torch.sparse_coo_tensor(
        torch.stack([rows, (rows + 1) % n]), torch.ones(n), (n, n), check_invariants=True
    )
    x = torch.sin(rows / 1000.0).reshape(1, 1, n)
    found = local_moran(x, ring)
    z = (x - x.mean())[0, 0].double()
    wanted = (n - 1) * z * z.roll(-1) / z.square().sum()
    torch.testing.assert_close(found[0, 0].double(), wanted, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("places", [[[0.0, 1.0], [np.nan, 1.0]], [1.0, 2.0, 3.0]])
def test_places_that_are_none(places: list) -> None:
    with pytest.raises(UserError, match="Leave points without a place out"):
        knn_weights(places, 1)
