"""The tail within a budget: as many of the last shared layers and units as a share of a step buys.

The weight gradient of one layer for T tasks costs T products of that layer. On a wide trunk that
is more than the whole step, so `tail` reads depth layers where the budget allows it, else one
layer, else an evenly spaced part of that layer's output units (they change from step to step). It
is always the exact Gramian of parameters that the tasks share; the words of `Step.statistic` say
of which. Units are read only where a layer's weight is a parameter that nothing else uses: one
that is tied, computed from others (weight norm, low-rank additions) or frozen, and layers of other
kinds (recurrent, grouped or transposed convolutions), are read whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from polytask.kernel.columns import Columns
from polytask.kernel.gradients import gradients
from polytask.kernel.graph import Node, Ownership, is_leaf, latest_first, leaf_behind, uses
from polytask.kernel.problem import Problem

FEWEST_UNITS = 4
FORWARD_AND_BACKWARD = 3  # products of a layer in one ordinary step
# Where the bias and the weight are among an operation's inputs.
SLOTS = {"AddmmBackward0": (0, 2), "MmBackward0": (None, 1), "ConvolutionBackward0": (2, 1)}


@dataclass(frozen=True)
class Layer:
    """A linear or convolutional operation of this step's graph."""

    node: Node
    macs: int
    """Multiply-adds of its weight gradient for one task."""
    units: int
    inputs: int
    """Numbers of weight a unit has."""
    weight: Tensor | None
    """The parameter that is its weight, when it is one."""
    has_bias: bool


@dataclass(frozen=True)
class Plan:
    """What the budget buys: whole layers, or `units` of the last one."""

    depth: int
    units: int | None = None


def layer_of(node: Node) -> Layer | None:
    """The layer that a node is, when it is one whose weight gradient can be taken by unit."""
    name = type(node).__name__
    if name not in SLOTS:
        return None
    at_bias, at_weight = SLOTS[name]
    children = [child for child, _ in node.next_functions]
    weight = leaf_behind(children[at_weight])
    bias = None if at_bias is None else leaf_behind(children[at_bias])
    shape = tuple(int(size) for size in node._input_metadata[0].shape)
    if name == "ConvolutionBackward0":
        if node._saved_transposed or node._saved_groups != 1:
            return None
        # The parameter's own shape first: a checkpoint would compute the saved one again.
        kernel = node._saved_weight.shape if weight is None else weight.shape
        inputs = prod(kernel[1:])
        return Layer(node, prod(shape) * inputs, shape[1], inputs, weight, bias is not None)
    if name == "AddmmBackward0" and (node._saved_alpha != 1 or node._saved_beta != 1):
        return None
    addmm = name == "AddmmBackward0"
    inputs = int((node._saved_mat1_sym_sizes if addmm else node._saved_self_sym_sizes)[1])
    rows, units = shape
    has_bias = bias is not None and bias.dim() == 1
    return Layer(node, rows * units * inputs, units, inputs, weight, has_bias)


def layers_below(entry: Node, without: set[Tensor]) -> Iterator[Layer]:
    """Layers below an entry, the last one first, but those whose weight is in `without`."""
    for node in latest_first(entry):
        layer = layer_of(node)
        if layer is not None and (layer.weight is None or layer.weight not in without):
            yield layer


def tail_entry(problem: Problem, cut: Sequence[Tensor] | None) -> Node | None:
    """Where the heads enter the trunk; None when they do so at several places."""
    if cut is not None:
        entries = [get_gradient_edge(tensor).node for tensor in cut]
    else:
        entries = Ownership(problem.losses).entries()
    return entries[0] if len(entries) == 1 else None


def plan_tail(
    problem: Problem, entry: Node, depth: int, budget: float, without: set[Tensor]
) -> Plan:
    """Choose depth and units so that the extra products stay within `budget` steps."""
    tasks = len(problem)
    layers = list(layers_below(entry, without))
    if not layers or not _by_unit(problem, layers[0]):
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
    without: set[Tensor],
) -> tuple[Tensor, list[Tensor], str, list[Columns] | None] | None:
    """Gradients on `units` evenly spaced units of the last layer, [T, n], and on the cut.

    The units are shifted by `turn`, so that in time all of them are read. None when the last
    layer is not the one that was planned for. The gradients on the cut are those of the scaled
    losses. At the end stands what was read, in words and as `columns_of` a layer.
    """
    layer = next(layers_below(entry, without), None)
    if layer is None or layer.weight is None or layer.units < units:
        return None
    node = layer.node
    device = problem.losses[0].device
    chosen = (torch.arange(units, device=device) * layer.units // units + turn) % layer.units
    edges: list[Any] = [GradientEdge(node, 0), *extra]
    picked: list[Tensor | None] = []
    stacks: list[list[Tensor]] = [[] for _ in extra]
    for loss in problem.losses:
        found = gradients(loss, edges, loss_scale)
        picked.append(None if found[0] is None else found[0].index_select(1, chosen))
        for stack, gradient, tensor in zip(stacks, found[1:], extra, strict=True):
            stack.append(torch.zeros_like(tensor) if gradient is None else gradient)
    reached = [rows for rows in picked if rows is not None]
    if not reached:
        return None
    # At least float32 before anything is summed or divided: float16 would lose small numbers.
    wide = torch.promote_types(reached[0].dtype, torch.float32)
    zero = torch.zeros_like(reached[0])
    out = torch.stack([zero if rows is None else rows for rows in picked]).to(wide)
    with torch.no_grad():
        parts = _convolved(layer, out) if layer.weight.dim() > 2 else [_multiplied(layer, out)]
        if layer.has_bias:
            parts.append(out.transpose(1, 2).flatten(2).sum(dim=2))
        rows = torch.cat([part.reshape(len(problem), -1) for part in parts], dim=1) / loss_scale
    words = f"tail, {units} of {layer.units} units of the last layer"
    if without:
        words += " in which tasks meet"
    return rows, [torch.stack(stack) for stack in stacks], words, columns_of(layer, chosen)


def columns_of(layer: Layer, chosen: Tensor) -> list[Columns] | None:
    """Which numbers the rows of `unit_rows` are; None where a weight is used in another shape."""
    at_bias, at_weight = SLOTS[type(layer.node).__name__]
    children = [child for child, _ in layer.node.next_functions]
    assert layer.weight is not None
    kinds, node = [], children[at_weight]
    while not is_leaf(node):
        kinds.append(type(node).__name__)
        node = next(child for child, _ in node.next_functions if child is not None)
    shapes = [kind for kind in kinds if kind != "ToCopyBackward0"]
    if layer.weight.dim() > 2:
        found = [Columns(layer.weight, chosen)] if not shapes else None
    elif set(shapes) <= {"TBackward0"}:
        # The operation has its units in columns: the weight of a linear layer comes in turned.
        found = [Columns(layer.weight, chosen, turned=len(shapes) % 2 == 0)]
    else:
        found = None
    if found is not None and layer.has_bias:
        bias = None if at_bias is None else leaf_behind(children[at_bias])
        assert bias is not None, "the layer has one"
        found.append(Columns(bias, chosen))
    return found


def _multiplied(layer: Layer, out: Tensor) -> Tensor:
    """Weight gradients of a linear layer: out is [T, N, m]."""
    node = layer.node
    inputs = node._saved_mat1 if type(node).__name__ == "AddmmBackward0" else node._saved_self
    tasks, count, units = out.shape
    flat = out.transpose(1, 2).reshape(tasks * units, count)
    return flat @ inputs.to(out.dtype)


def _convolved(layer: Layer, out: Tensor) -> list[Tensor]:
    """Weight gradients of a convolution: out is [T, N, m, *size]; one call for all tasks."""
    node = layer.node
    assert layer.weight is not None
    inputs = node._saved_input.to(out.dtype)
    tasks, count, units = out.shape[:3]
    together = out.transpose(0, 1).reshape(count, tasks * units, *out.shape[3:])
    shape = (tasks * units, *layer.weight.shape[1:])
    _, weight, _ = torch.ops.aten.convolution_backward(
        together,
        inputs,
        inputs.new_empty(1).expand(shape),
        [tasks * units],
        node._saved_stride,
        node._saved_padding,
        node._saved_dilation,
        False,
        [0] * len(node._saved_stride),
        1,
        [False, True, False],
    )
    return [weight]


def _by_unit(problem: Problem, layer: Layer) -> bool:
    """Whether the layer's weight is a parameter that this operation alone uses."""
    if layer.weight is None:
        return False
    return uses([loss.grad_fn for loss in problem.losses], layer.weight) == 1
