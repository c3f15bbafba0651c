"""Who uses what: ownership of the nodes of an autograd graph by the tasks' losses.

A node reached by one loss belongs to that task, a node reached by two or more is shared. The
edges from an owned node into a shared one are the *boundary*: everything the trunk learns
flows over it. One linear walk finds all of this, whatever the number of tasks.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from polytask.errors import UserError

Node = Any  # torch.autograd.graph.Node: created in C++, compared by identity
Edge = tuple[Node, int]
SHARED = -1
# Nodes that stand for many operations at once. One that is compiled shows its parameters, but
# not which of them are a head's; a re-entrant checkpoint shows none.
COMPILED = "CompiledFunctionBackward"
OPAQUE = {
    COMPILED: "compile the encoder and each head on their own and pass features=",
    "CheckpointFunctionBackward": "use torch.utils.checkpoint with use_reentrant=False",
}


@dataclass(frozen=True)
class Boundary:
    """One edge from a node that task `task` owns into a shared node."""

    task: int
    parent: Node
    slot: int
    """Position of the edge among the parent's inputs."""
    child: Node
    output: int
    """Which output of the child's forward operation the edge carries."""


class Ownership:
    """The walked graph of one step. Cost: about two visits a node, in Python."""

    def __init__(self, losses: Sequence[Tensor]) -> None:
        self.roots: list[Node] = [loss.grad_fn for loss in losses]
        self.owner: dict[Node, int] = {}
        for task, root in enumerate(self.roots):
            self._claim(task, root)

    def _claim(self, task: int, root: Node) -> None:
        owner = self.owner
        stack = [root]
        while stack:
            node = stack.pop()
            held = owner.get(node)
            if held is None:
                owner[node] = task
            elif held not in (task, SHARED):
                self._share(node)
                continue
            else:
                continue
            stack.extend(child for child, _ in node.next_functions if child is not None)

    def _share(self, node: Node) -> None:
        """Mark a node and all it leads to as shared."""
        owner = self.owner
        stack = [node]
        while stack:
            node = stack.pop()
            if owner.get(node) == SHARED:
                continue
            owner[node] = SHARED
            stack.extend(child for child, _ in node.next_functions if child is not None)

    def root_is_shared(self, task: int) -> bool:
        """Whether the loss itself is part of another task's loss."""
        return self.owner[self.roots[task]] == SHARED

    @cached_property
    def boundary(self) -> list[Boundary]:
        """All edges from owned nodes into shared ones."""
        return [
            Boundary(task, node, slot, child, output)
            for node, task in self.owner.items()
            if task != SHARED
            for slot, (child, output) in enumerate(node.next_functions)
            if child is not None and self.owner[child] == SHARED
        ]

    def entries(self) -> list[Node]:
        """Shared nodes at which the boundary enters, in order of discovery."""
        roots = [root for root in self.roots if self.owner[root] == SHARED]
        return list(dict.fromkeys([*roots, *(edge.child for edge in self.boundary)]))

    def all_leaves(self) -> tuple[set[Tensor], list[Tensor]]:
        """Every leaf of the graph: those of two tasks or more, and those of one."""
        found: dict[Tensor, int] = {n.variable: t for n, t in self.owner.items() if is_leaf(n)}
        own = [leaf for leaf, task in found.items() if task != SHARED]
        return {leaf for leaf, task in found.items() if task == SHARED}, own

    def shared_parameters(self) -> list[Tensor]:
        """Leaves reached by two tasks or more, in the order of their first use.

        That order is the same whichever tasks are present.
        """
        first: dict[Tensor, tuple[int, int]] = {}
        for node in self.owner:
            for slot, (child, _) in enumerate(node.next_functions):
                if child is not None and is_leaf(child) and self.owner[child] == SHARED:
                    use = (node._sequence_nr(), slot)
                    first[child.variable] = min(use, first.get(child.variable, use))
        return parameters_among(sorted(first, key=first.__getitem__))

    def refuse_opaque(self, cut: Sequence[Tensor] | None, *, measuring: bool = True) -> None:
        """Raise when a shared node hides which parameters belong to a head.

        A compiled node is fine where it is known to hold no head: behind the cut, or below
        other shared operations. `measuring` also needs all parameters to be seen.
        """
        shared = [n for n, t in self.owner.items() if t == SHARED and type(n).__name__ in OPAQUE]
        if not shared:
            return
        hiding = set(self.entries()) if cut is None else self._met_above(cut)
        for node in shared:
            name = type(node).__name__
            if node in hiding or (measuring and name != COMPILED):
                raise UserError(
                    f"the shared part of the graph holds a {name}, which hides "
                    f"which parameter belongs to which task; {OPAQUE[name]}, or use "
                    "statistic='features' with features=, or heads='weighted' where the method "
                    "reads losses only."
                )

    def _met_above(self, cut: Sequence[Tensor]) -> set[Node]:
        """Nodes that two tasks reach around the cut."""
        stop = edges_of(cut)
        seen: set[Node] = set()
        met: set[Node] = set()
        for root in self.roots:
            own = set(_breadth_first([root], stop))
            met |= own & seen
            seen |= own
        return met

    def is_antichain(self) -> bool:
        """Whether no entry leads to another: only then do the entries form a cut."""
        entries = self.entries()
        below = _breadth_first([c for e in entries for c, _ in e.next_functions if c is not None])
        return not set(entries) & set(below)


def is_leaf(node: Node) -> bool:
    """Whether the node stands for a tensor that accumulates its gradient."""
    return type(node).__name__ == "AccumulateGrad"


def parameters_among(found: Sequence[Tensor]) -> list[Tensor]:
    """The parameters; inputs that require a gradient are none, unless nothing is an nn.Parameter.

    Inputs do so where a loss holds derivatives by them (differential equations, adversarial
    training); they are other tensors in every batch.
    """
    return [leaf for leaf in found if isinstance(leaf, nn.Parameter)] or list(found)


def edges_of(tensors: Sequence[Tensor]) -> set[Edge]:
    """The graph edges that tensors are."""
    edges = [get_gradient_edge(tensor) for tensor in tensors]
    return {(edge.node, edge.output_nr) for edge in edges}


def leaves(roots: Sequence[Node], stop: set[Edge] | None = None) -> set[Tensor]:
    """Leaves reached from `roots` by paths that avoid the edges in `stop`."""
    return {node.variable for node in _breadth_first(roots, stop) if is_leaf(node)}


def uses(roots: Sequence[Node], leaf: Tensor) -> int:
    """How many operations below `roots` read a leaf."""
    return sum(
        sum(own is leaf for own in own_leaves(node))
        for node in _breadth_first(roots)
        if type(node).__name__ not in PASS_THROUGH
    )


def tail_parameters(
    entries: Sequence[Node], depth: int, at_least: int, without: set[Tensor]
) -> list[Tensor]:
    """Parameters of the last `depth` shared layers before each entry of the boundary.

    A layer is an operation with a parameter of two or more dimensions; norm layers and biases
    on the way come along but do not count. The search goes on until `at_least` numbers are
    found, because a Gramian of few coordinates says little. Parameters in `without` are passed
    over.
    """
    found: dict[Tensor, None] = {}
    for entry in entries:
        layers = 0
        own = set(without)
        for node in latest_first(entry):
            direct = [node.variable] if node is entry and is_leaf(node) else []
            direct = [leaf for leaf in [*direct, *own_leaves(node)] if leaf not in own]
            own.update(direct)
            found.update(dict.fromkeys(direct))
            layers += any(leaf.dim() >= 2 for leaf in direct)
            if layers >= depth and sum(leaf.numel() for leaf in found) >= at_least:
                break
    return list(found)


def latest_first(entry: Node) -> Iterator[Node]:
    """Nodes below an entry, the latest operation of the forward pass first."""
    seen = {entry}
    heap = [(0, 0, entry)]
    while heap:
        _, _, node = heapq.heappop(heap)
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in seen and not is_leaf(child):
                seen.add(child)
                heapq.heappush(heap, (-child._sequence_nr(), len(seen), child))


def own_leaves(node: Node) -> list[Tensor]:
    """Leaves that enter at this operation, through views and casts alone if need be."""
    found = [leaf_behind(child) for child, _ in node.next_functions]
    return [leaf for leaf in found if leaf is not None]


def leaf_behind(node: Node | None) -> Tensor | None:
    """The leaf that a node is, or is a view or a cast of."""
    while node is not None and not is_leaf(node):
        onward = [child for child, _ in node.next_functions if child is not None]
        if len(onward) != 1 or type(node).__name__ not in PASS_THROUGH:
            return None
        node = onward[0]
    return None if node is None else node.variable


PASS_THROUGH = {
    "TBackward0",
    "TransposeBackward0",
    "PermuteBackward0",
    "ViewBackward0",
    "ReshapeAliasBackward0",
    "UnsafeViewBackward0",
    "ExpandBackward0",
    "ToCopyBackward0",
    "SliceBackward0",
    "SelectBackward0",
    "SplitBackward0",
    "UnbindBackward0",
    "UnsqueezeBackward0",
    "AsStridedBackward0",
}


def _breadth_first(start: Sequence[Node], stop: set[Edge] | None = None) -> list[Node]:
    stop = stop or set()
    seen: dict[Node, None] = dict.fromkeys(start)
    queue = deque(seen)
    while queue:
        for edge in queue.popleft().next_functions:
            child = edge[0]
            if child is not None and child not in seen and edge not in stop:
                seen[child] = None
                queue.append(child)
    return list(seen)
