"""The one backward pass: weights enter the shared part, the heads stay plain or take them too.

*Plain*: `sum(losses).backward()` with temporary hooks that put the weights on what flows from
the heads into the trunk, so each head learns from its own unweighted loss. *Weighted*: the
backward pass of the weighted sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from polytask.kernel.gradients import explained, first_hook
from polytask.kernel.graph import Ownership
from polytask.kernel.problem import Problem


def backward_weighted(problem: Problem, weights: Tensor, loss_scale: float = 1.0) -> None:
    """Backward of sum_t w_t L_t."""
    weights = _on(weights, problem)
    _run(problem, [weights[i] * loss_scale for i in range(len(problem))])


def backward_plain(
    problem: Problem,
    weights: Tensor,
    loss_scale: float = 1.0,
    cut: Sequence[Tensor] | None = None,
) -> None:
    """Backward of the plain sum, with task t's flow into shared nodes multiplied by w_t.

    Exact for the trunk and the heads, for weights of any sign, for heads that enter the trunk
    at several depths, and for parameters tied between heads. Cost: one backward pass and one
    walk of the graph. The cut, if known, tells a compiled trunk from compiled heads.
    """
    weights = _on(weights, problem)
    graph = Ownership(problem.losses)
    graph.refuse_opaque(cut, measuring=False)
    by_parent: dict[Any, list[tuple[int, int]]] = {}
    for edge in graph.boundary:
        by_parent.setdefault(edge.parent, []).append((edge.slot, edge.task))
    handles = [parent.register_hook(_scaler(edges, weights)) for parent, edges in by_parent.items()]
    one = torch.ones((), device=weights.device)
    seeds = [
        (weights[i] if graph.root_is_shared(i) else one) * loss_scale for i in range(len(problem))
    ]
    _run_with(handles, problem, seeds)


def backward_through_cut(
    problem: Problem,
    cut: Sequence[Tensor],
    directions: Sequence[Tensor],
    loss_scale: float = 1.0,
) -> None:
    """Backward of the plain sum in which the gradient at the cut is replaced.

    Args:
        problem: the present tasks.
        cut: the shared representation.
        directions: what the trunk receives instead, one tensor of the same shape each:
            sum_t w_t dL_t/dz of the scaled losses.
        loss_scale: factor on the losses (float16).
    """
    handles = [
        first_hook(tensor, _replacer(direction))
        for tensor, direction in zip(cut, directions, strict=True)
    ]
    _run_with(handles, problem, _even(problem, loss_scale))


def backward_replaced(
    problem: Problem, inputs: Sequence[Any], direction: Tensor, loss_scale: float = 1.0
) -> None:
    """Backward of the plain sum in which the gradient of `inputs` becomes `direction`.

    Args:
        problem: the present tasks.
        inputs: parameters, representation tensors or graph edges.
        direction: what they receive, flat, in the order of `inputs`.
        loss_scale: factor on the losses (float16).
    """
    handles = []
    start = 0
    for item in inputs:
        tensor = item if isinstance(item, Tensor) else None
        shape = torch.Size(
            item.node._input_metadata[item.output_nr].shape if tensor is None else tensor.shape
        )
        part = direction[start : start + shape.numel()].reshape(shape) * loss_scale
        start += shape.numel()
        if tensor is not None:
            handles.append(first_hook(tensor, _replacer(part)))
        else:
            handles.append(item.node.register_prehook(_slot_replacer(item.output_nr, part)))
    _run_with(handles, problem, _even(problem, loss_scale))


def backward_known(
    problem: Problem,
    weights: Tensor,
    rows: Tensor,
    shared: Sequence[Tensor],
    own: Sequence[Tensor],
    heads: str,
    loss_scale: float = 1.0,
) -> None:
    """Backward when every shared gradient is known: the heads, then the shared leaves.

    The trunk is not walked again: its parameters receive Jᵀw as leaves, so hooks on them fire
    once with the final gradient, as in any backward pass.

    Args:
        problem: the present tasks.
        weights: shape [T].
        rows: gradients of every task on all of `shared`, [T, n].
        shared: all parameters that two tasks or more use.
        own: all other parameters.
        heads: 'plain' or 'weighted'.
        loss_scale: factor on the losses (float16).
    """
    weights = _on(weights, problem)
    factors = weights if heads == "weighted" else torch.ones_like(weights)
    if own:
        _run(problem, list(factors * loss_scale), own)
    direction = (weights.to(rows.dtype) @ rows) * loss_scale
    parts = direction.split([parameter.numel() for parameter in shared])
    torch.autograd.backward(
        list(shared),
        [
            part.reshape(parameter.shape).to(parameter.dtype)
            for part, parameter in zip(parts, shared, strict=True)
        ],
    )


def _even(problem: Problem, loss_scale: float) -> list[Tensor]:
    """The same factor for all losses."""
    return [torch.full((), loss_scale, device=problem.losses[0].device)] * len(problem)


def _run_with(handles: Iterable[Any], problem: Problem, seeds: Sequence[Tensor]) -> None:
    """The backward pass, after which these hooks are gone."""
    try:
        _run(problem, seeds)
    finally:
        for handle in handles:
            handle.remove()


def _run(problem: Problem, seeds: Sequence[Tensor], inputs: Sequence[Tensor] | None = None) -> None:
    cast = [
        seed.to(loss.dtype).reshape(loss.shape)
        for seed, loss in zip(seeds, problem.losses, strict=True)
    ]
    with explained():
        torch.autograd.backward(list(problem.losses), cast, inputs=inputs)


def _on(weights: Tensor, problem: Problem) -> Tensor:
    loss = problem.losses[0]
    wide = torch.promote_types(loss.dtype, torch.float32)
    return weights.detach().to(loss.device, wide, non_blocking=True)


def _scaler(edges: list[tuple[int, int]], weights: Tensor) -> Callable[..., Any]:
    def hook(grad_inputs: tuple[Any, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        out = list(grad_inputs)
        for slot, task in edges:
            if out[slot] is not None:
                out[slot] = out[slot] * weights[task].to(out[slot].dtype)
        return tuple(out)

    return hook


def _replacer(direction: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: direction.to(gradient.dtype)


def _slot_replacer(slot: int, direction: Tensor) -> Callable[..., Any]:
    def hook(grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        out = list(grad_outputs)
        if out[slot] is not None:
            out[slot] = direction.to(out[slot].dtype)
        return tuple(out)

    return hook
