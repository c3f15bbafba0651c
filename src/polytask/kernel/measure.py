"""Gradient statistics: features, tail and exact Gramians, each by the cheapest honest way.

Costs, with T tasks: `features` and `tail` walk the heads once (each task its own) and stop at
the representation or just before it; `exact` walks the whole shared part T times and holds
T x p numbers; the step then needs no further walk of the trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from polytask.errors import UserError, unknown
from polytask.kernel.columns import Columns
from polytask.kernel.gradients import gradients
from polytask.kernel.graph import (
    Ownership,
    edges_of,
    is_leaf,
    leaves,
    tail_parameters,
)
from polytask.kernel.problem import Problem
from polytask.kernel.tail import Plan, plan_tail, tail_entry, unit_rows

KINDS = ("features", "tail", "exact")
# A discovery is made anew now and then: parameters may have been frozen or thawed meanwhile.
REDISCOVER = 200
# Squared lengths at which float32 products neither vanish nor overflow.
ORDINARY = (1e-25, 1e30)


@dataclass
class Measured:
    """Rows of gradients and what they are rows of."""

    jacobian: Tensor
    """One gradient a row, shape [T, n], on the losses' device."""
    gramian: Tensor
    source: str
    inputs: list[Any]
    """What the rows are gradients of: tensors or graph edges, in the order of the columns."""
    cut_gradients: list[Tensor] | None = None
    """dL_t/dz stacked over tasks, one [T, *z.shape] a tensor of the cut, when z was given.

    They are those of the scaled losses: float16 would lose them without the scale.
    """
    units: list[Columns] | None = None
    """What the rows are gradients of where only some units of a layer were read."""

    @property
    def columns(self) -> list[Columns] | None:
        """Which numbers of which parameters the columns are; None where that is not known."""
        if not self.inputs:
            return self.units
        known = [Columns(item) for item in self.inputs if isinstance(item, Tensor)]
        return known if len(known) == len(self.inputs) else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many columns each of the inputs has; empty where nothing was measured."""
        return tuple(_size(item) for item in self.inputs)


@dataclass
class Discovery:
    """Who shares what, found once per set of present tasks and statistic."""

    cache: dict[Any, list[Tensor]] = field(default_factory=dict)
    clean_cuts: dict[tuple[str, ...], bool] = field(default_factory=dict)
    by_users: dict[tuple[str, ...], Any] = field(default_factory=dict)
    plans: dict[tuple[str, ...], Plan] = field(default_factory=dict)
    passed_over: dict[tuple[str, ...], set[Tensor]] = field(default_factory=dict)
    age: int = 0

    def __deepcopy__(self, memo: Any) -> Discovery:
        return Discovery()  # a copied balancer serves another model

    def is_clean(self, problem: Problem, cut: Sequence[Tensor]) -> bool:
        """Whether all that two tasks share lies behind the cut (no tied heads around it)."""
        if problem.tasks not in self.clean_cuts:
            stop = edges_of(cut)
            seen = leaves([node for node, _ in stop])
            clean = True
            for loss in problem.losses:
                own = leaves([loss.grad_fn], stop)
                clean = clean and not own & seen
                seen |= own
            self.clean_cuts[problem.tasks] = clean
        return self.clean_cuts[problem.tasks]

    def parameters(
        self,
        problem: Problem,
        kind: str,
        depth: int,
        cut: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Shared parameters to measure on ('exact': all of them; 'tail': the last layers)."""
        self.age += 1
        key = (problem.tasks, kind, depth)
        if self.age > REDISCOVER or not all(p.requires_grad for p in self.cache.get(key, ())):
            self.forget()
        if key not in self.cache:
            graph = Ownership(problem.losses)
            graph.refuse_opaque(cut)
            shared = graph.shared_parameters()
            if kind == "tail":
                entries, least = graph.entries(), 16 * len(problem)
                without = self.without(problem, graph)
                few = set(tail_parameters(entries, depth, least, without))
                shared = [parameter for parameter in shared if parameter in few]
            self.cache[key] = shared
        return self.cache[key]

    def without(self, problem: Problem, graph: Ownership | None = None) -> set[Tensor]:
        """Last shared parameters in which no two tasks can meet, so that the tail starts below.

        Heads that are rows of one weight are such: the products of their gradients are zero by
        construction. Found by measuring them once.
        """
        if problem.tasks in self.passed_over:
            return self.passed_over[problem.tasks]
        graph = graph or Ownership(problem.losses)
        known = set(graph.shared_parameters())
        found: set[Tensor] = set()
        while len(problem) > 1:
            last = [p for p in tail_parameters(graph.entries(), 1, 1, found) if p in known]
            if not last or known <= found | set(last):
                break  # all there is: better these than nothing
            rows, _ = _rows(problem, last, [], 1.0)
            if rows is None or not _never_meet(gramian_of(rows, rows)):
                break
            found |= set(last)
        self.passed_over[problem.tasks] = found
        return found

    def groups(self, problem: Problem, find: Callable[[Problem], Any]) -> Any:
        """Parameters by the set of tasks that use them, found by `find` once."""
        if problem.tasks not in self.by_users:
            self.by_users[problem.tasks] = find(problem)
        return self.by_users[problem.tasks]

    def forget(self) -> None:
        """Drop everything: the next step walks the graph again."""
        self.cache.clear()
        self.clean_cuts.clear()
        self.by_users.clear()
        self.plans.clear()
        self.passed_over.clear()
        self.age = 0


def measure(
    problem: Problem,
    kind: str,
    *,
    discovery: Discovery,
    depth: int = 2,
    budget: float | None = None,
    turn: int = 0,
    shared: list[Tensor] | None = None,
    cut: list[Tensor] | None = None,
    loss_scale: float = 1.0,
) -> Measured:
    """Gradients of every task on what the statistic names, and their Gramian.

    Args:
        problem: the present tasks.
        kind: 'features', 'tail' or 'exact'.
        discovery: the cache of who shares what; a stale entry is found and replaced.
        depth: number of shared layers that 'tail' reads, counted from the heads.
        budget: what 'tail' may cost, in ordinary steps; it then reads fewer layers, or some
            units of the last one, where `depth` layers cost more.
        turn: which of the units then; counts up from step to step.
        shared: the shared parameters, when the caller named them.
        cut: the shared representation, when the caller passed it.
        loss_scale: factor on the losses in these passes (against float16 underflow); the
            result does not depend on it.

    Raises:
        UserError: nothing is shared by two present tasks, or the representation is no cut.
    """
    if kind not in KINDS:
        raise unknown("statistic", kind, KINDS)
    if kind == "tail" and shared is None and budget is not None and len(problem) > 1:
        depth, within = _within(problem, discovery, depth, budget, turn, cut, loss_scale)
        if within is not None:
            return within
    inputs = inputs_of(problem, kind, discovery, depth, shared, cut)
    if not inputs:
        return nothing_shared(problem, kind)
    extra = cut if cut is not None and kind != "features" and not _hooked(cut) else []
    rows, cut_rows = _rows(problem, inputs, extra, loss_scale)
    if rows is None and shared is None and kind != "features":
        discovery.forget()
        return measure(
            problem, kind, discovery=discovery, depth=depth, cut=cut, loss_scale=loss_scale
        )
    if rows is None:
        raise UserError(
            f"no task's loss reaches the {'features' if kind == 'features' else 'parameters'} "
            "that were passed; pass those of this forward pass."
        )
    if kind == "features" and cut is not None:
        cut_rows = _unflatten(rows if loss_scale == 1.0 else rows * loss_scale, cut)
    count = rows.shape[1]
    words = f"{kind}, depth {depth}" if kind == "tail" else kind
    if kind == "tail" and discovery.passed_over.get(problem.tasks):
        words += " below the last layer, in which no two tasks meet"
    return Measured(
        rows, gramian_of(rows, rows), f"{words} ({count:,} numbers)", inputs, cut_rows or None
    )


def inputs_of(
    problem: Problem,
    kind: str,
    discovery: Discovery,
    depth: int,
    shared: list[Tensor] | None = None,
    cut: list[Tensor] | None = None,
) -> list[Any]:
    """What the gradients are of: tensors or graph edges. The words are those of `measure`."""
    if kind == "features":
        return list(cut) if cut is not None else _found_cut(problem)
    if shared is None:
        return list(discovery.parameters(problem, kind, depth, cut))
    return _tail_of(shared, problem, discovery, depth) if kind == "tail" else list(shared)


def _within(
    problem: Problem,
    discovery: Discovery,
    depth: int,
    budget: float,
    turn: int,
    cut: list[Tensor] | None,
    loss_scale: float,
) -> tuple[int, Measured | None]:
    """The depth that the budget allows, or the finished measurement of part of one layer."""
    plan = discovery.plans.get(problem.tasks)
    entry = None
    if plan is None or plan.units is not None:
        # The cut spares the walk, if every head enters the trunk there.
        known = cut if cut is not None and discovery.is_clean(problem, cut) else None
        entry = tail_entry(problem, known)
        if entry is None:
            return depth, None
    without = discovery.without(problem)
    if plan is None:
        assert entry is not None
        plan = plan_tail(problem, entry, depth, budget, without)
        discovery.plans[problem.tasks] = plan
    if plan.units is None:
        return plan.depth, None
    assert entry is not None
    extra = cut if cut is not None and not _hooked(cut) else []
    found = unit_rows(problem, entry, plan.units, turn, extra, loss_scale, without)
    if found is None:  # another model, or a layer that was frozen meanwhile
        discovery.forget()
        return _within(problem, discovery, depth, budget, turn, cut, loss_scale)
    rows, cut_rows, words, columns = found
    source = f"{words} ({rows.shape[1]:,} numbers)"
    return 1, Measured(rows, gramian_of(rows, rows), source, [], cut_rows or None, columns)


def _rows(
    problem: Problem, inputs: Sequence[Any], extra: Sequence[Tensor], loss_scale: float
) -> tuple[Tensor | None, list[Tensor]]:
    """One flat gradient a task, [T, n], and the stacked gradients on the cut."""
    rows: Tensor | None = None
    stacks: list[list[Tensor]] = [[] for _ in extra]
    for task, loss in enumerate(problem.losses):
        found = gradients(loss, [*inputs, *extra], loss_scale)
        rows = _write_row(rows, task, len(problem), found[: len(inputs)], inputs)
        for stack, gradient, tensor in zip(stacks, found[len(inputs) :], extra, strict=True):
            stack.append(torch.zeros_like(tensor) if gradient is None else gradient)
    if rows is None:
        return None, []
    cuts = [torch.stack(stack) for stack in stacks]
    return rows / loss_scale if loss_scale != 1.0 else rows, cuts


def _write_row(
    rows: Tensor | None,
    task: int,
    tasks: int,
    found: Sequence[Tensor | None],
    inputs: Sequence[Any],
) -> Tensor | None:
    """Copy one loss's gradients into row `task`, once; the table is made when it is first met."""
    present = [gradient for gradient in found if gradient is not None]
    if not present:
        return rows
    if rows is None:
        wide = torch.float64 in {gradient.dtype for gradient in present}
        sizes = sum(_size(item) for item in inputs)
        dtype = torch.float64 if wide else torch.float32
        rows = torch.zeros(tasks, sizes, dtype=dtype, device=present[0].device)
    start = 0
    for gradient, item in zip(found, inputs, strict=True):
        size = _size(item)
        if gradient is not None:
            dense = gradient.to_dense() if gradient.layout != torch.strided else gradient
            rows[task, start : start + size] = dense.reshape(-1)
        start += size
    return rows


def _size(item: Any) -> int:
    """How many numbers an input (a tensor or a graph edge) has."""
    if isinstance(item, Tensor):
        return item.numel()
    return prod(item.node._input_metadata[item.output_nr].shape)


def flat_row(found: Sequence[Tensor | None], inputs: Sequence[Any]) -> Tensor | None:
    """The gradients of one loss by `inputs` as one vector; None when it reaches none of them."""
    if all(gradient is None for gradient in found):
        return None
    parts = [
        _flat(_zero_like(item) if gradient is None else gradient)
        for gradient, item in zip(found, inputs, strict=True)
    ]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _flat(gradient: Tensor) -> Tensor:
    """A gradient as a dense vector of at least float32."""
    dense = gradient.to_dense() if gradient.layout != torch.strided else gradient
    return dense.reshape(-1).to(torch.promote_types(dense.dtype, torch.float32))


def _zero_like(item: Any) -> Tensor:
    """The zero gradient of an input (a tensor or a graph edge)."""
    if isinstance(item, Tensor):
        return torch.zeros_like(item)
    metadata = item.node._input_metadata[item.output_nr]
    return torch.zeros(metadata.shape, dtype=metadata.dtype, device=metadata.device)


def gramian_of(one: Tensor, other: Tensor) -> Tensor:
    """J Kᵀ in float64.

    Rows are divided by their largest entry first and the products scaled back in float64, so
    that float32 rows of any size multiply without overflow or underflow. Rows of ordinary size
    are spared that pass over T x n numbers where looking at the result costs nothing.
    """
    if other is one and one.device.type == "cpu":
        plain = one @ one.T
        squares = plain.diagonal()
        if bool(((squares > ORDINARY[0]) & (squares < ORDINARY[1])).all()):
            return plain.double()
    tiny = torch.finfo(torch.float32).tiny
    size = one.abs().amax(dim=1).clamp_min(tiny)
    size_other = size if other is one else other.abs().amax(dim=1).clamp_min(tiny)
    unit = one / size[:, None]
    unit_other = unit if other is one else other / size_other[:, None]
    product = (unit @ unit_other.T).double()
    return product * size.double()[:, None] * size_other.double()[None, :]


def _unflatten(rows: Tensor, cut: Sequence[Tensor]) -> list[Tensor]:
    pieces = rows.split([tensor.numel() for tensor in cut], dim=1)
    return [
        piece.reshape(len(rows), *tensor.shape) for piece, tensor in zip(pieces, cut, strict=True)
    ]


def _found_cut(problem: Problem) -> list[GradientEdge]:
    """The representation, found in the graph: where the heads enter the shared part."""
    graph = Ownership(problem.losses)
    graph.refuse_opaque(None)
    if all(is_leaf(entry) for entry in graph.entries()):
        raise UserError(
            "statistic='features' needs a representation that tasks share; here at least two "
            "of them share parameters alone, as when each runs the encoder on inputs of its "
            "own. Use statistic='tail', or pass features= with the tensors that form a cut."
        )
    if not graph.is_antichain():
        raise UserError(
            "statistic='features' needs a representation that every head reads at the same "
            "depth; here heads enter the shared part at several depths. Pass features= with "
            "the tensors that form a cut, or use statistic='tail'."
        )
    return [
        GradientEdge(*key) for key in dict.fromkeys((e.child, e.output) for e in graph.boundary)
    ]


def _tail_of(
    shared: list[Tensor], problem: Problem, discovery: Discovery, depth: int
) -> list[Tensor]:
    """The last of the named parameters: those found in the graph, else the last given."""
    named = set(shared)
    found = [p for p in discovery.parameters(problem, "tail", depth) if p in named]
    if found:
        return found
    matrices = [i for i, p in enumerate(shared) if p.dim() >= 2]
    return shared[matrices[-depth] if len(matrices) >= depth else 0 :]


def _hooked(cut: Sequence[Tensor]) -> bool:
    """Whether hooks change what the trunk gets from the cut: then they run in every pass."""
    return any(tensor._backward_hooks for tensor in cut)


def _never_meet(gramian: Tensor) -> bool:
    """Whether two rows or more are not zero and every product of two rows is exactly zero."""
    found = gramian.cpu()
    return int((found.diagonal() != 0).sum()) > 1 and int((found != 0).sum()) == int(
        (found.diagonal() != 0).sum()
    )


def nothing_shared(problem: Problem, kind: str) -> Measured:
    """Nothing is shared by two present tasks: the rows are orthogonal by construction.

    One present task alone is an ordinary step, so its weight must come out as for any single
    gradient. Two or more without a common parameter is a mistake that is better said.
    """
    if len(problem) > 1:
        raise UserError(
            f"statistic={kind!r} needs parameters that at least two tasks use, and tasks "
            f"{', '.join(problem.tasks)} share none that require a gradient (is the encoder "
            "frozen, run once per task under separate weights, or are tasks tied by a term alone, "
            "as in soft sharing?). Unfreeze the shared part, or use a method that needs losses "
            "only."
        )
    one = torch.ones(1, 1, device=problem.losses[0].device)
    return Measured(one, one.double(), "one task", [])
