"""Moving parameters for a look ahead, and bringing everything back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from polytask.errors import UserError

Closure = Callable[[], Mapping[str, Tensor]]


@contextmanager
def shifted(
    parameters: Sequence[Tensor], deltas: Sequence[Tensor], module: nn.Module | None = None
) -> Iterator[None]:
    """Parameters moved by `deltas` inside the block; restored bit for bit afterwards.

    Random numbers drawn inside are the same at every use from the same state and do not
    advance the generators outside, so dropout masks agree between looks. Buffers (running
    statistics of batch norm) of `module` are restored too.
    """
    saved = [parameter.detach().clone() for parameter in parameters]
    buffers = [(b, b.detach().clone()) for b in module.buffers()] if module is not None else []
    devices = sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        # Through .data, because the graph of the step in progress still needs the parameters:
        # it would refuse a changed version, and it finds the very same bits when it runs.
        try:
            for parameter, delta in zip(parameters, deltas, strict=True):
                parameter.data.add_(delta.to(parameter.dtype))
            yield
        finally:
            for parameter, value in zip(parameters, saved, strict=True):
                parameter.data.copy_(value)
            for buffer, value in buffers:
                buffer.data.copy_(value)


def directional_derivatives(
    closure: Closure,
    tasks: Sequence[str],
    parameters: Sequence[Tensor],
    vector: Sequence[Tensor],
    module: nn.Module | None = None,
    reach: float | None = None,
) -> Tensor:
    """<v, g_t> for every task by central differences, shape [T], float64.

    (L_t(θ + εv) - L_t(θ - εv)) / 2ε with ε = reach / |v|: two extra forward passes whatever
    the number of tasks, and no graph. The error is O(ε²) of the third derivative.

    Args:
        closure: computes the losses of this batch again.
        tasks: which losses to read.
        parameters: all shared parameters.
        vector: one tensor a parameter.
        module: where buffers live that a forward pass changes.
        reach: length of the step in parameter space; by default 0.01, and 1e-4 for float64
            parameters, whose losses have the digits for it.
    """
    length = float(torch.stack([v.double().norm() for v in vector]).norm())
    if length == 0.0:
        return torch.zeros(len(tasks), dtype=torch.float64)
    double = all(parameter.dtype == torch.float64 for parameter in parameters)
    epsilon = (reach or (1e-4 if double else 1e-2)) / length
    ends = []
    for sign in (1.0, -1.0):
        moved = [v * (sign * epsilon) for v in vector]
        with shifted(parameters, moved, module), torch.no_grad():
            losses = closure()
            ends.append(read_losses(losses, tasks))
    return (ends[0] - ends[1]) / (2 * epsilon)


def read_losses(losses: Mapping[str, Tensor], tasks: Sequence[str]) -> Tensor:
    """Loss values on the host, shape [T], float64."""
    missing = [task for task in tasks if task not in losses]
    if missing:
        raise UserError(
            f"closure must return the losses of the same tasks as this step; it left out "
            f"{', '.join(missing)}."
        )
    return torch.stack([losses[task].detach().double().reshape(()) for task in tasks]).cpu()
