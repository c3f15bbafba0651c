"""Two processes, one of them without any label, score like one with all items."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from polytask.metrics import list_metrics
from polytask.tasks import Task, Undefined, evaluate


def tasks() -> list[Task]:
    # In one order in every process, which a set of words does not have.
    words = ("rmse", *sorted({*list_metrics("regression")} - {"rmse"}))
    return [
        Task("r", "regression", size=2, metrics=words),
        Task("b", "binary", metrics=tuple(list_metrics("binary"))),
        Task("m", "multiclass", classes=range(3), metrics=tuple(list_metrics("multiclass"))),
        Task("l", "multilabel", classes=("x", "y"), metrics=tuple(list_metrics("multilabel"))),
    ]


def data() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    outputs = {t.name: torch.randn(20, t.output_size, generator=generator) for t in tasks()}
    targets = {
        "r": torch.randn(20, 2, generator=generator),
        "b": torch.randint(0, 2, (20,), generator=generator),
        "m": torch.randint(0, 3, (20,), generator=generator),
        "l": torch.randint(0, 2, (20, 2), generator=generator).float(),
    }
    return outputs, targets


SPLITS = ("both", "one-sided")


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for split in SPLITS:
        outputs, targets = data()
        part = slice(0, 7) if rank == 0 else slice(7, 20)
        if split == "one-sided":
            part = slice(0, 20)
            if rank == 1:
                targets = {}  # this rank never sees a batch
        outputs = {name: value[part] for name, value in outputs.items()}
        targets = {name: value[part] for name, value in targets.items()}
        torch.save(evaluate(tasks(), outputs, targets), Path(folder) / f"{split}-{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path):
    mp.spawn(work, args=(str(tmp_path),), nprocs=2)
    expected = evaluate(tasks(), *data())
    for file in [tmp_path / f"{split}-{rank}.pt" for split in SPLITS for rank in (0, 1)]:
        found = torch.load(file, weights_only=False)
        for name, scores in expected.items():
            for metric, value in scores.items():
                assert not isinstance(value, Undefined)
                assert found[name][metric] == pytest.approx(value, rel=1e-6), (file, name, metric)
