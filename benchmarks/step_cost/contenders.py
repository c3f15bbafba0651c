"""The ways of taking one multi-task step that are compared. Each includes the forward pass."""

from __future__ import annotations

from torch import Tensor, autograd

import polytask
from benchmarks.step_cost.nets import Bench
from benchmarks.timing import Step

METHOD = "upgrad"


def contenders(bench: Bench, peers: bool = True) -> dict[str, Step]:
    """Plain sum, the yardstick of exact methods, ours by statistic, and TorchJD."""
    out: dict[str, Step] = {
        "plain sum": lambda: _plain(bench),
        "T x grad + backward": lambda: _yardstick(bench),
        "losses (rlw)": _ours(bench, "rlw", None),
        "features": _ours(bench, METHOD, "features"),
        "tail (budget)": _ours(bench, METHOD, "tail"),
        "tail 1": _ours(bench, METHOD, "tail", depth=1),
        "tail 2": _ours(bench, METHOD, "tail", depth=2),
        "exact": _ours(bench, METHOD, "exact"),
    }
    if peers:
        out["TorchJD"] = _torchjd(bench, None)
        out["TorchJD chunk 1"] = _torchjd(bench, 1)
    return out


def _plain(bench: Bench) -> None:
    bench.zero_grad()
    losses, _ = bench.losses()
    _sum(losses).backward()


def _yardstick(bench: Bench) -> None:
    """T gradients of the shared parameters and one ordinary backward pass: what exact must cost."""
    bench.zero_grad()
    losses, _ = bench.losses()
    shared = list(bench.trunk.parameters())
    rows = [autograd.grad(loss, shared, retain_graph=True) for loss in losses.values()]
    del rows
    _sum(losses).backward()


def _ours(bench: Bench, method: str, statistic: str | None, **options: int) -> Step:
    words = {} if statistic is None else {"statistic": statistic, **options}
    balancer = polytask.create_method(method, **words)

    def step() -> None:
        bench.zero_grad()
        losses, h = bench.losses()
        balancer.backward(losses, features=h)

    return step


def _torchjd(bench: Bench, chunk: int | None) -> Step:
    from torchjd.aggregation import UPGrad
    from torchjd.autojac import jac_to_grad, mtl_backward

    aggregator = UPGrad()

    def step() -> None:
        bench.zero_grad()
        losses, h = bench.losses()
        mtl_backward(
            list(losses.values()), features=h, parallel_chunk_size=chunk, retain_graph=False
        )
        jac_to_grad(bench.trunk.parameters(), aggregator)

    return step


def _sum(losses: dict[str, Tensor]) -> Tensor:
    total = sum(losses.values())
    assert isinstance(total, Tensor)
    return total
