"""Moving parameters for a look ahead, and bringing everything back bit for bit."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from polytask.errors import NonFiniteError, UserError
from polytask.kernel.gradients import gradients
from polytask.kernel.problem import Losses, Problem, total

Closure = Callable[[], Losses]


@contextmanager
def unnoticed(tensors: Iterable[Tensor], module: nn.Module | None = None) -> Iterator[None]:
    """Forward passes inside leave no trace: random states and buffers are as before afterwards.

    Buffers (the running statistics of batch norm) are restored bit for bit, those of `module`
    and of every module that is called inside. Random numbers drawn inside are the same at
    every use from the same state, so dropout masks agree between looks.

    Args:
        tensors: some that live on the devices in use.
        module: may be left out; for buffers that change without their module being called.
    """
    devices = sorted({t.device.index or 0 for t in tensors if t.device.type == "cuda"})
    saved: dict[tuple[nn.Module, str], tuple[Tensor, Tensor]] = {}
    seen: set[nn.Module] = set()

    def keep(called: nn.Module, _: object = None) -> None:
        if called in seen:
            return
        for inner in called.modules():
            seen.add(inner)
            for name, buffer in inner._buffers.items():
                if buffer is not None:
                    saved.setdefault((inner, name), (buffer, buffer.detach().clone()))

    if module is not None:
        keep(module)
    # A hook on all modules, because a closure does not say which ones it will call.
    handle = nn.modules.module.register_module_forward_pre_hook(keep)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=devices))
            if "torch._dynamo" in sys.modules:
                # A compiled module warns that the hook may fire twice, which does no harm here.
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", message="Using `torch.compile")
            yield
    finally:
        handle.remove()
        for (inner, name), (buffer, value) in saved.items():
            buffer.data.copy_(value)
            inner._buffers[name] = buffer


@contextmanager
def shifted(
    parameters: Sequence[Tensor], deltas: Sequence[Tensor], module: nn.Module | None = None
) -> Iterator[None]:
    """Parameters moved by `deltas` inside the block; restored bit for bit afterwards.

    Random states and buffers are restored too, see `unnoticed`.
    """
    saved = [parameter.detach().clone() for parameter in parameters]
    with unnoticed(parameters, module):
        # Through .data, because the graph of the step in progress still needs the parameters:
        # it would refuse a changed version, and it finds the very same bits when it runs.
        try:
            for parameter, delta in zip(parameters, deltas, strict=True):
                parameter.data.add_(delta.to(parameter.dtype))
            yield
        finally:
            for parameter, value in zip(parameters, saved, strict=True):
                parameter.data.copy_(value)


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
        module: see `unnoticed`; may be left out.
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


def virtual_gains(
    problem: Problem,
    parameters: Sequence[Tensor],
    judge: Callable[[Problem], Tensor | None],
    length: float,
    *,
    module: nn.Module | None = None,
    loss_scale: float = 1.0,
) -> Tensor:
    """What a step on each task alone would win: M(θ) - M(θ - length g_t), shape [T], float64.

    T backward passes and T + 1 looks without a graph; every look sees the same random numbers,
    and parameters, buffers and random states are as before afterwards, bit for bit.

    Args:
        problem: the losses of this step; their graph stays.
        parameters: all shared parameters, the only ones that are moved.
        judge: computes M, the number to lower, at the parameters as they are. None where it
            cannot be known, and then all gains are 0.
        length: of a virtual step.
        module: see `unnoticed`; may be left out.
        loss_scale: of float16; the losses are multiplied by it while differentiated.

    Raises `NonFiniteError` when M is not finite before any step, though every loss is.
    """
    gains = torch.zeros(len(problem), dtype=torch.float64)
    finite = torch.isfinite(problem.values).tolist()
    with unnoticed(parameters, module), torch.no_grad():
        before = judge(problem)
    if before is None:
        return gains
    if not bool(torch.isfinite(before)):
        if all(finite):
            raise NonFiniteError(
                f"what virtual steps are judged by is {float(before)} before any of them; nothing "
                "was updated. Look at the data that it is computed from."
            )
        return gains  # the policy for losses that are not finite names the task
    for i, loss in enumerate(problem.losses):
        if not finite[i]:
            continue
        slopes = gradients(loss, parameters, loss_scale)
        reached = [p for p, slope in zip(parameters, slopes, strict=True) if slope is not None]
        moves = [slope * (-length / loss_scale) for slope in slopes if slope is not None]
        with shifted(reached, moves, module), torch.no_grad():
            after = judge(problem)
        assert after is not None, "it was known before the step"
        gains[i] = (before.double() - after.double()).cpu()
    return gains


def read_losses(losses: Losses, tasks: Sequence[str]) -> Tensor:
    """Loss values on the host, shape [T], float64."""
    missing = [task for task in tasks if task not in losses]
    if missing:
        raise UserError(
            f"closure must return the losses of the same tasks as this step; it left out "
            f"{', '.join(missing)}."
        )
    found = [total(task, losses[task]) for task in tasks]
    return torch.stack([loss.detach().double() for loss in found]).cpu()
