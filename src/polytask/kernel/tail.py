"""The tail within a budget: as many of the last shared layers and units as a share of a step buys.

The weight gradient of one layer for T tasks costs T products of that layer. On a wide trunk that
is more than the whole step, so `tail` reads depth layers where the budget allows it, else one
layer, else an evenly spaced part of that layer's output units (they change from step to step). It
is always the exact Gramian of parameters that the tasks share; the words of `Step.statistic` say
of which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from polytask.kernel.graph import Node, Ownership, latest_first
from polytask.kernel.problem import Problem

FEWEST_UNITS = 4
FORWARD_AND_BACKWARD = 3  # products of a layer in one ordinary step


@dataclass(frozen=True)
class Layer:
    """A linear or convolutional operation of this step's graph."""

    node: Node
    macs: int
    """Multiply-adds of its weight gradient for one task."""
    units: int
    inputs: int
    """Numbers of weight a unit has."""


@dataclass(frozen=True)
class Plan:
    """What the budget buys: whole layers, or `units` of the last one."""

    depth: int
    units: int | None = None


def layer_of(node: Node) -> Layer | None:
    """The layer that a node is, when it is one whose weight gradient can be taken by unit."""
    name = type(node).__name__
    if name in ("AddmmBackward0", "MmBackward0"):
        rows, units = (int(size) for size in node._input_metadata[0].shape)
        addmm = name == "AddmmBackward0"
        inputs = int((node._saved_mat1_sym_sizes if addmm else node._saved_self_sym_sizes)[1])
        return Layer(node, rows * units * inputs, units, inputs)
    if name == "ConvolutionBackward0" and not node._saved_transposed and node._saved_groups == 1:
        shape = node._input_metadata[0].shape
        inputs = prod(node._saved_weight.shape[1:])
        return Layer(node, prod(shape) * inputs, int(shape[1]), inputs)
    return None


def tail_entry(problem: Problem, cut: Sequence[Tensor] | None) -> Node | None:
    """Where the heads enter the trunk; None when they do so at several places."""
    if cut is not None:
        entries = [get_gradient_edge(tensor).node for tensor in cut]
    else:
        entries = Ownership(problem.losses).entries()
    return entries[0] if len(entries) == 1 else None


def plan_tail(entry: Node, tasks: int, depth: int, budget: float) -> Plan:
    """Choose depth and units so that the extra products stay within `budget` steps."""
    layers = [layer for node in latest_first(entry) if (layer := layer_of(node)) is not None]
    if not layers or not _has_parameters(layers[0]):
        return Plan(1)
    allowed = budget * FORWARD_AND_BACKWARD * sum(layer.macs for layer in layers)
    for count in range(min(depth, len(layers)), 0, -1):
        weight = sum(layer.macs for layer in layers[:count])
        through = sum(layer.macs for layer in layers[: count - 1])
        if tasks * (weight + through) <= allowed:
            return Plan(count)
    last = layers[0]
    units = int(last.units * allowed / (tasks * last.macs))
    fewest = max(FEWEST_UNITS, -(-16 * tasks // last.inputs))
    return Plan(1, min(last.units, max(units, fewest)))


def unit_rows(
    problem: Problem,
    entry: Node,
    units: int,
    turn: int,
    extra: Sequence[Tensor],
    loss_scale: float,
) -> tuple[Tensor, list[Tensor], str]:
    """Gradients on `units` evenly spaced units of the last layer, [T, n], and on the cut.

    The units are shifted by `turn`, so that in time all of them are read.
    """
    node = next(node for node in latest_first(entry) if layer_of(node) is not None)
    layer = layer_of(node)
    assert layer is not None
    device = problem.losses[0].device
    chosen = (torch.arange(units, device=device) * layer.units // units + turn) % layer.units
    edges: list[Any] = [GradientEdge(node, 0), *extra]
    picked, stacks = [], [[] for _ in extra]  # type: ignore[var-annotated]
    for loss in problem.losses:
        scaled = loss * loss_scale if loss_scale != 1.0 else loss
        found = torch.autograd.grad(scaled, edges, retain_graph=True)
        picked.append(found[0].index_select(1, chosen))
        for stack, gradient in zip(stacks, found[1:], strict=True):
            stack.append(gradient)
    out = torch.stack(picked) / loss_scale
    with torch.no_grad():
        rows = _convolved(node, out) if out.ndim == 5 else _multiplied(node, out)
    words = f"tail, {units} of {layer.units} units of the last layer"
    return rows, [torch.stack(stack) / loss_scale for stack in stacks], words


def _multiplied(node: Node, out: Tensor) -> Tensor:
    """Weight and bias gradients of a linear layer: out is [T, N, m]."""
    inputs = _saved_input(node)
    wide = torch.promote_types(inputs.dtype, torch.float32)
    tasks, count, units = out.shape
    flat = out.transpose(1, 2).reshape(tasks * units, count).to(wide)
    weight = (flat @ inputs.to(wide)).reshape(tasks, -1)
    return torch.cat([weight, out.sum(dim=1).to(wide)], dim=1)


def _convolved(node: Node, out: Tensor) -> Tensor:
    """Weight and bias gradients of a convolution: out is [T, N, m, H, W]; one call for all."""
    inputs = node._saved_input
    wide = torch.promote_types(inputs.dtype, torch.float32)
    tasks, count, units = out.shape[:3]
    together = out.transpose(0, 1).reshape(count, tasks * units, *out.shape[3:]).to(wide)
    shape = (tasks * units, *node._saved_weight.shape[1:])
    _, weight, bias = torch.ops.aten.convolution_backward(
        together,
        inputs.to(wide),
        inputs.new_empty(1, dtype=wide).expand(shape),
        [tasks * units],
        node._saved_stride,
        node._saved_padding,
        node._saved_dilation,
        False,
        [0] * len(node._saved_stride),
        1,
        [False, True, True],
    )
    return torch.cat([weight.reshape(tasks, -1), bias.reshape(tasks, -1)], dim=1)


def _saved_input(node: Node) -> Tensor:
    saved = node._saved_mat1 if type(node).__name__ == "AddmmBackward0" else node._saved_self
    assert isinstance(saved, Tensor)
    return saved


def _has_parameters(layer: Layer) -> bool:
    """Whether a trainable leaf enters the operation (its weight, perhaps through a transpose)."""
    stack = [child for child, _ in layer.node.next_functions[1:] if child is not None]
    for child in stack:
        onward = [c for c, _ in child.next_functions if c is not None]
        if hasattr(child, "variable") or any(hasattr(c, "variable") for c in onward):
            return True
    return False
