"""Terms that learn from the weights: covariances, clusters, transfer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls
from stacks import TASKS, drawn
from torch import Tensor

from polytask.errors import UserError
from polytask.optimization.regularization import create_regularizer
from polytask.optimization.regularization._lasso import nonnegative_lasso
from polytask.optimization.regularization._partition import partition
from polytask.optimization.regularization.amtl import AMTL
from polytask.optimization.regularization.cluster import Cluster
from polytask.optimization.regularization.mrn import MRN


def test_mrn_starts_as_a_ridge() -> None:
    stack = drawn(3, 4, 5)
    ridge = 0.15 * stack.square().sum()
    term = MRN(strength=0.3, covariance="all")
    torch.testing.assert_close(term.penalty(stack, TASKS, "w"), ridge)
    term.prepare({"w": stack}, TASKS)
    torch.testing.assert_close(term.penalty(stack, TASKS, "w"), ridge)


def test_mrn_is_the_quadratic_form_of_the_kronecker_product() -> None:
    """Tasks are given in another order than that of their names."""
    stack = drawn(3, 4, 5)
    term = MRN(strength=2.0, covariance="all", epsilon=0.05)
    term.prepare({"w": stack}, TASKS)
    term.update({"w": drawn(3, 4, 5, seed=1) + 1}, TASKS)
    tasks, outputs, inputs = (term.prior("w").covariance(mode) for mode in (0, 1, 2))
    precision = torch.kron(torch.kron(tasks, outputs), inputs).inverse()
    vector = stack[[1, 2, 0]].flatten()  # rain, sun, wind
    torch.testing.assert_close(term.penalty(stack, TASKS, "w"), vector @ precision @ vector)


def test_mrn_finds_the_task_that_is_there_twice() -> None:
    one, other = drawn(4, 5), drawn(4, 5, seed=1)
    stacks = {"w": torch.stack([one, other, one])}
    term = MRN(epsilon=1e-6)
    term.prepare(stacks, TASKS)
    term.update(stacks, TASKS)
    found = term.diagnostics(stacks, TASKS)["correlation"]["w"]
    assert found["wind"]["sun"] == pytest.approx(1, abs=1e-5)
    assert abs(found["wind"]["rain"]) < 0.6


def test_the_lasso_against_least_squares_without_signs() -> None:
    weights = drawn(30, 5).numpy()
    weights[:, 0] = 0.7 * weights[:, 1] + 0.2 * weights[:, 2]
    found = nonnegative_lasso(torch.from_numpy(weights.T @ weights), torch.zeros(5))
    for taker in range(5):
        givers = [t for t in range(5) if t != taker]
        expected, _ = nnls(weights[:, givers], weights[:, taker])
        np.testing.assert_allclose(found[givers, taker], expected, atol=1e-8)
    assert found[[1, 2], 0].tolist() == pytest.approx([0.7, 0.2])
    assert found.diagonal().eq(0).all()


def test_the_lasso_against_a_solver() -> None:
    weights = drawn(8, 4, seed=2).numpy()
    products, price = weights.T @ weights, np.array([0.5, 0.1, 1.0, 0.3])
    found = nonnegative_lasso(torch.from_numpy(products), torch.from_numpy(price))
    for taker in range(4):

        def objective(shares: np.ndarray, taker: int = taker) -> float:
            left = weights[:, taker] - weights @ shares
            return float(left @ left / 2 + price @ shares)

        bounds = [(0, 0 if t == taker else None) for t in range(4)]
        best = minimize(objective, np.zeros(4), bounds=bounds, method="L-BFGS-B").fun
        assert objective(found[:, taker].numpy()) <= best + 1e-9


def test_amtl_starts_as_a_ridge_and_is_what_mixtures_leave() -> None:
    stack = drawn(3, 4, 5)
    term = AMTL(strength=0.3)
    torch.testing.assert_close(term.penalty(stack, TASKS), 0.3 * stack.square().sum())
    term.prepare({"w": stack}, TASKS)
    torch.testing.assert_close(term.penalty(stack, TASKS), 0.3 * stack.square().sum())
    term.update({"w": stack}, TASKS)
    told = term.diagnostics({"w": stack}, TASKS)["transfer"]
    mixing = np.array([[told[giver][taker] for taker in TASKS] for giver in TASKS])
    columns = stack.flatten(1).numpy().T
    left = ((columns - columns @ mixing) ** 2).sum()
    assert term.penalty(stack, TASKS).item() == pytest.approx(0.3 * left)


def regressions(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two linear tasks of one truth: 'clean' without noise, 'noisy' with a lot and few rows."""
    truth = drawn(1, 10, seed=seed)
    x = drawn(40, 10, seed=seed + 1)
    clean = x @ truth.T
    noisy = x[:12] @ truth.T + 2 * drawn(12, 1, seed=seed + 2)
    return x, clean, noisy


def trained_together(sparsity: float) -> dict[str, dict[str, float]]:
    """B after alternating steps on the two tasks."""
    x, clean, noisy = regressions(seed=2)
    names = ("clean", "noisy")
    weights = [torch.zeros(1, 10, dtype=torch.float64, requires_grad=True) for _ in names]
    term = AMTL(strength=0.5, sparsity=sparsity, every=20)
    term.prepare({"w": torch.stack(weights)}, names)
    optimizer = torch.optim.SGD(weights, lr=0.02)
    for _ in range(600):
        first = (x @ weights[0].T - clean).square().mean()
        second = (x[:12] @ weights[1].T - noisy).square().mean()
        optimizer.zero_grad()
        (first + second + term.penalty(torch.stack(weights), names, "w")).backward()
        optimizer.step()
        term.observe({"clean": first.item(), "noisy": second.item()})
        if term.due():
            term.update({"w": torch.stack(weights)}, names)
    transfer: dict[str, dict[str, float]] = term.details({}, names)["transfer"]
    return transfer


def test_amtl_transfers_from_the_task_without_noise_and_not_back() -> None:
    found = trained_together(sparsity=2.0)
    assert found["clean"]["noisy"] > 0.8
    assert found["noisy"]["clean"] == 0
    free = trained_together(sparsity=0.0)
    assert free["noisy"]["clean"] > 0.4


def test_losses_are_prices() -> None:
    """Of two networks of length 1 with cosine c, B[t, s] = max(0, c - sparsity L_t / 2 strength).

    Nothing but the losses tells which way transfer goes.
    """
    stack = torch.tensor([[1.0, 0.0], [0.9, 0.19**0.5]], dtype=torch.float64)
    names = ("a", "b")
    for losses, expected in (((0.1, 5.0), (0.88, 0.0)), ((5.0, 0.1), (0.0, 0.88))):
        term = AMTL(strength=0.5, sparsity=0.2)
        term.prepare({"w": stack}, names)
        term.observe(dict(zip(names, losses, strict=True)))
        term.update({"w": stack}, names)
        found = term.details({"w": stack}, names)["transfer"]
        assert (found["a"]["b"], found["b"]["a"]) == pytest.approx(expected)


def test_amtl_goes_by_the_mean_of_the_losses_since_the_last_time() -> None:
    stacks = {"w": drawn(3, 4, 5) + 2}
    term = AMTL(sparsity=0.5)
    term.prepare(stacks, TASKS)
    term.observe({"wind": 1.0, "sun": 4.0})
    term.observe({"wind": 3.0})
    assert term._losses().tolist() == [3.0, 4.0, 2.0]  # rain, sun, wind
    term.update(stacks, TASKS)
    assert term._losses().tolist() == [1.0, 1.0, 1.0]


def blobs() -> Tensor:
    """Five tasks: 0, 2 and 4 alike, 1 and 3 alike."""
    centres = drawn(2, 4, 5)
    return torch.stack([centres[i % 2] + 0.05 * drawn(4, 5, seed=9 + i) for i in range(5)])


def test_clusters_are_found() -> None:
    names = ("e", "d", "c", "b", "a")
    stacks = {"w": blobs(), "v": blobs() * 2}
    term = Cluster(strength=1.0, between=0.0)
    term.prepare(stacks, names)
    together = sum(term.penalty(stack, names) for stack in stacks.values())
    term.update(stacks, names)
    found = term.diagnostics(stacks, names)
    groups = found["cluster"]
    assert groups["e"] == groups["c"] == groups["a"] != groups["d"] == groups["b"]
    assert found["within"] < 0.02
    assert found["penalty"] < 0.02 * together


def test_the_three_parts_by_hand() -> None:
    names = ("a", "b", "c", "d", "e")
    stack = blobs()
    term = Cluster(strength=2.0, within=3.0, between=0.5, mean=0.25)
    term.prepare({"w": stack}, names)
    term.update({"w": stack}, names)
    groups = [stack[[0, 2, 4]], stack[[1, 3]]]
    mean = stack.mean(0)
    expected = 0.25 * 5 * mean.square().sum()
    for group in groups:
        centre = group.mean(0)
        expected += 0.5 * len(group) * (centre - mean).square().sum()
        expected += 3.0 * (group - centre).square().sum()
    torch.testing.assert_close(term.penalty(stack, names), expected)


def test_one_cluster_is_the_variance() -> None:
    stack = drawn(3, 4, 5)
    term = Cluster(strength=1.0, clusters=1)
    term.prepare({"w": stack}, TASKS)
    term.update({"w": stack}, TASKS)
    variance = (stack - stack.mean(0)).square().sum()
    torch.testing.assert_close(term.penalty(stack, TASKS), variance / 2)


def test_partitions_are_the_best_of_small_sets() -> None:
    """Against all ways to part six points in two."""
    hits = 0
    for seed in range(20):
        points = drawn(6, 2, seed=seed)
        points = points - points.mean(0)

        def squares(labels: Tensor, points: Tensor = points) -> float:
            groups = [points[labels == label] for label in labels.unique()]
            return sum(float((g - g.mean(0)).square().sum()) for g in groups)

        ways = [torch.tensor([way >> i & 1 for i in range(6)]) for way in range(32)]
        best = min(map(squares, ways))
        found = squares(partition(points @ points.T, 2))
        assert found >= best - 1e-12
        hits += found <= best + 1e-9
    assert hits >= 18


def test_equal_points_are_one_cluster() -> None:
    assert partition(torch.ones(4, 4, dtype=torch.float64), 3).tolist() == [0, 0, 0, 0]
    assert partition(torch.zeros(4, 4, dtype=torch.float64), 2).tolist() == [0, 0, 0, 0]


def test_fewer_tasks_keep_what_was_learned() -> None:
    stack = drawn(3, 4, 5)
    terms = [MRN(epsilon=0.1), AMTL(sparsity=0), Cluster()]
    for term in terms:
        term.prepare({"w": stack}, TASKS)
        term.update({"w": stack}, TASKS)
        with pytest.raises(UserError, match=r"prepared for the tasks rain, sun, wind, found wind"):
            term.penalty(stack[:2], TASKS[:2], "w")
        before = term.diagnostics({"w": stack}, TASKS)
        term.keep(("wind", "sun"))
        after = term.diagnostics({"w": stack[[0, 2]]}, ("wind", "sun"))
        if isinstance(term, AMTL):
            assert after["transfer"]["wind"]["sun"] == before["transfer"]["wind"]["sun"]
        if isinstance(term, Cluster):
            assert after["cluster"] == {t: before["cluster"][t] for t in ("wind", "sun")}
        if isinstance(term, MRN):
            a, b = (told["correlation"]["w"]["wind"]["sun"] for told in (before, after))
            assert a == pytest.approx(b)


def test_a_state_does_not_depend_on_the_order_of_tasks() -> None:
    stack = drawn(3, 4, 5)
    for name in ("mrn", "amtl", "cluster"):
        one, other = (create_regularizer(name, every=1) for _ in range(2))
        one.prepare({"w": stack}, TASKS)
        other.prepare({"w": stack[[2, 0, 1]]}, ("sun", "wind", "rain"))
        assert one.due()
        one.update({"w": stack}, TASKS)
        other.load_state_dict(one.state_dict())
        turned = other.penalty(stack[[2, 0, 1]], ("sun", "wind", "rain"), "w")
        torch.testing.assert_close(turned, one.penalty(stack, TASKS, "w"))


def test_options_out_of_range() -> None:
    with pytest.raises(UserError, match="every must be a whole number of steps above 0, found 0"):
        create_regularizer("cluster", every=0)
    with pytest.raises(UserError, match="epsilon must be a number above 0, found 0"):
        create_regularizer("mrn", epsilon=0)
    with pytest.raises(UserError, match="unknown covariance 'both'"):
        MRN(covariance="both")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="sparsity must be a number of at least 0, found -1"):
        create_regularizer("amtl", sparsity=-1)
    with pytest.raises(UserError, match="within >= between >= mean"):
        create_regularizer("cluster", within=0.1, between=1)
    with pytest.raises(UserError, match="clusters must be a whole number of at least 1, found 0"):
        create_regularizer("cluster", clusters=0)
