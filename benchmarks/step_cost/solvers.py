"""Time of the T x T decisions alone, ours beside TorchJD's, on conflicting Gramians.

`python -m benchmarks solvers`
"""

from __future__ import annotations

import warnings

import torch
from torchjd import aggregation

import polytask
from benchmarks.tables import keep, markdown
from benchmarks.timing import machine, milliseconds

SIZES = (2, 8, 40, 80)
PEERS = {
    "upgrad": "UPGradWeighting",
    "dualproj": "DualProjWeighting",
    "mgda": "MGDAWeighting",
    "pcgrad": "PCGradWeighting",
    "gradvac": "GradVacWeighting",
    "cagrad": "CAGradWeighting",
    "nash_mtl": "",
    "fairgrad": "FairGradWeighting",
    "imtl_g": "IMTLGWeighting",
    "aligned_mtl": "AlignedMTLWeighting",
}
ARGUMENTS = {"cagrad": {"c": 0.5}, "fairgrad": {"alpha": 1.0}}


def conflicting(tasks: int, seed: int = 0) -> torch.Tensor:
    """A Gramian of long-tailed gradients that conflict strongly."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, 2 * tasks, generator=generator)
    rows *= torch.randn(tasks, 1, generator=generator).exp()
    rows -= 0.9 * rows.mean(dim=0)
    return rows @ rows.T


def main() -> None:
    """Measure and write `results/solvers.md`."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for name, peer in PEERS.items():
        for who in ("ours", "TorchJD"):
            cells = []
            for tasks in SIZES:
                g = conflicting(tasks)
                try:
                    solve = _solver(who, name, peer, tasks)
                    solve(g)
                    cells.append(f"{milliseconds(lambda s=solve, g=g: s(g), 9):.2f}")
                except (ImportError, AttributeError, TypeError) as error:
                    cells.append(type(error).__name__)
            rows.append([name if who == "ours" else "", who, *cells])
    table = markdown(["method", "ms a call, T =", *map(str, SIZES)], rows)
    keep(
        "solvers",
        f"# Decisions alone\n\nMade by `python -m benchmarks solvers` on {machine('cpu')}. Median "
        "of nine calls on one conflicting Gramian (rows of width 2T, log-normal lengths). An "
        f"error's name where the peer could not run.\n\n{table}",
    )


def _solver(who: str, name: str, peer: str, tasks: int):  # type: ignore[no-untyped-def]
    arguments = ARGUMENTS.get(name, {})
    if who == "ours":
        return polytask.create_method(name, **arguments).weights
    if name == "nash_mtl":
        return aggregation.NashMTL(n_tasks=tasks)
    return getattr(aggregation, peer)(**arguments)


if __name__ == "__main__":
    main()
