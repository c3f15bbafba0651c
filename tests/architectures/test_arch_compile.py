"""torch.compile and two processes: the gradients of the plain model, for four ways of sharing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from real_inputs import DIGITS, Output, digits, first
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from polytask import create_method
from polytask.architectures import Architecture, create_architecture, create_encoder

REPRESENTATIVES = ("hard_sharing", "mmoe", "cross_stitch", "adapters")
"""A shared trunk, experts with gates, parallel networks that talk, parts between the stages."""


def made(name: str) -> Architecture:
    torch.manual_seed(0)
    tasks = [Output("digit", 10), Output("even"), Output("ink")]
    # Batch normalisation sees the rows of one process alone: no two processes are like one.
    options = {"norm": False} if name == "adapters" else {}
    return create_architecture(name, create_encoder("resnet", DIGITS, width=4), tasks, **options)


def losses(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        "digit": nn.functional.cross_entropy(outputs["digit"], targets["digit"]),
        "even": nn.functional.binary_cross_entropy_with_logits(outputs["even"], targets["even"]),
        "ink": nn.functional.mse_loss(outputs["ink"], targets["ink"]),
    }


def rows(start: int, stop: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    inputs, targets = digits()
    return (
        {name: value[start:stop] for name, value in inputs.items()},
        {name: value[start:stop] for name, value in targets.items()},
    )


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_a_compiled_model_answers_and_learns_as_the_plain_one(name: str) -> None:
    plain, twin = made(name), made(name)
    inputs, targets = first(digits()[0], 16), first(digits()[1], 16)
    torch._dynamo.reset()
    compiled = torch.compile(twin, backend="aot_eager")
    for model in (plain, compiled):
        create_method("linear").backward(losses(model(inputs), targets))
    expected, found = gradients(plain), gradients(twin)
    assert list(found) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6, msg=key)


def _rank(rank: int, folder: str, name: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    model = made(name)
    wrapped: Any = DistributedDataParallel(model)
    inputs, targets = rows(8 * rank, 8 * rank + 8)
    create_method("linear").backward(losses(wrapped(inputs), targets))
    if rank == 0:
        torch.save(gradients(model), f"{folder}/gradients.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("name", REPRESENTATIVES)
def test_two_processes_learn_as_one_with_all_rows(name: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, (str(tmp_path), name), nprocs=2)
    together = torch.load(tmp_path / "gradients.pt", weights_only=True)
    model = made(name)
    inputs, targets = rows(0, 16)
    create_method("linear").backward(losses(model(inputs), targets))
    expected = gradients(model)
    assert list(together) == list(expected)
    for key, value in expected.items():
        torch.testing.assert_close(together[key], value, rtol=1e-4, atol=1e-6, msg=key)
