"""Two processes on one mixture learn what one process with the whole batches learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_diabetes
from torch import Tensor

from polytask.data import Mixture
from polytask.tasks import Task

TASKS = {"progress": Task("progress", "regression"), "pressure": Task("pressure", "regression")}
EPOCHS = 3


def sources() -> dict[str, Any]:
    """Disease progression of 300 patients, and the blood pressure of 23 others."""
    data = load_diabetes()
    x = torch.tensor(data.data[:, [0, 2, 4, 5, 6, 7, 8, 9]], dtype=torch.float64) * 20
    progress = torch.tensor(data.target, dtype=torch.float64) / 100
    pressure = torch.tensor(data.data[:, 3], dtype=torch.float64) * 20
    return {
        "progress": ({"x": x[:300]}, {"progress": progress[:300]}),
        "pressure": ({"x": x[300:323]}, {"pressure": pressure[300:323]}),
    }


def train(rank: int, world: int) -> dict[str, Any]:
    """A linear network by hand: gradients of labelled rows, added up over the processes."""
    mixture = Mixture(
        sources(), "least_progress", batch_size=13, steps_per_epoch=20, rank=rank, world=world
    )
    weight = torch.zeros(8, len(TASKS), dtype=torch.float64)
    drawn: list[str] = []
    rows: list[int] = []
    for epoch in range(1, EPOCHS + 1):
        mixture.set_epoch(epoch)
        totals = torch.zeros(len(TASKS), 2, dtype=torch.float64)
        for inputs, targets in mixture:
            gradient = torch.zeros_like(weight)
            sums = torch.zeros(len(TASKS), 2, dtype=torch.float64)
            for place, (name, task) in enumerate(TASKS.items()):
                if name in targets:
                    drawn.append(name)
                    rows.append(int(task.labelled(targets[name]).sum()))
                    w = weight.clone().requires_grad_()
                    loss, count = task.loss((inputs["x"] @ w)[:, place], targets[name])
                    (gradient,) = torch.autograd.grad(loss * count, w)
                    sums[place] = torch.tensor([float(loss.detach()) * count, count])
            add_up(world, gradient, sums)
            weight -= 0.05 * gradient / sums[:, 1].sum()
            totals += sums
        means = {name: float(t[0] / t[1]) for name, t in zip(TASKS, totals, strict=True) if t[1]}
        mixture.observe(losses=means, epoch=epoch)
    return {"weight": weight, "drawn": drawn, "rows": rows, "schedule": mixture.schedule.memory}


def add_up(world: int, *tensors: Tensor) -> None:
    if world > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world
    )
    torch.save(train(rank, world), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path) -> None:
    mp.spawn(work, args=(2, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = train(0, 1)
    assert first["drawn"] == second["drawn"] == alone["drawn"]
    assert set(alone["drawn"]) == set(TASKS)
    shares = [a + b for a, b in zip(first["rows"], second["rows"], strict=True)]
    assert shares == alone["rows"]
    for one in (first, second):
        torch.testing.assert_close(one["weight"], alone["weight"], rtol=1e-9, atol=1e-12)
    assert torch.equal(first["weight"], second["weight"])
    assert first["schedule"] == second["schedule"]
