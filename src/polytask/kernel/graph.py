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

from torch import Tensor

from polytask.errors import UserError

Node = Any  # torch.autograd.graph.Node: created in C++, compared by identity
SHARED = -1
# Nodes that stand for many operations at once and hide the parameters inside.
OPAQUE = {
    "CompiledFunctionBackward": "compile the encoder's blocks or the heads, not the whole model",
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

    def shared_parameters(self) -> list[Tensor]:
        """Leaves reached by two tasks or more, nearest to the losses first."""
        self.refuse_opaque()
        seen = _breadth_first(self.entries())
        return [node.variable for node in seen if hasattr(node, "variable")]

    def refuse_opaque(self) -> None:
        """Raise when a shared node hides its parameters from the walk."""
        for node, task in self.owner.items():
            if task == SHARED and (remedy := OPAQUE.get(type(node).__name__)):
                raise UserError(
                    f"the shared part of the graph holds a {type(node).__name__}, which hides "
                    f"which parameter belongs to which task; {remedy}, or use "
                    "statistic='features' with features=."
                )

    def is_antichain(self) -> bool:
        """Whether no entry leads to another: only then do the entries form a cut."""
        entries = self.entries()
        below = _breadth_first([c for e in entries for c, _ in e.next_functions if c is not None])
        return not set(entries) & set(below)


def leaves(roots: Sequence[Node], stop: set[Node]) -> set[Tensor]:
    """Parameters reached from `roots` by paths that avoid the nodes in `stop`."""
    seen = _breadth_first([root for root in roots if root not in stop], stop)
    return {node.variable for node in seen if hasattr(node, "variable")}


def tail_parameters(entries: Sequence[Node], depth: int, at_least: int) -> list[Tensor]:
    """Parameters of the last `depth` shared layers before each entry of the boundary.

    A layer is an operation with a parameter of two or more dimensions; norm layers and biases
    on the way come along but do not count. The search goes on until `at_least` numbers are
    found, because a Gramian of few coordinates says little.
    """
    found: dict[Tensor, None] = {}
    for entry in entries:
        layers = 0
        own: set[Tensor] = set()
        for node in latest_first(entry):
            direct = [node.variable] if node is entry and hasattr(node, "variable") else []
            direct = [leaf for leaf in [*direct, *_own_leaves(node)] if leaf not in own]
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
            if child is not None and child not in seen and not hasattr(child, "variable"):
                seen.add(child)
                heapq.heappush(heap, (-child._sequence_nr(), len(seen), child))


def _own_leaves(node: Node) -> list[Tensor]:
    """Parameters that enter at this operation, through views and casts alone if need be."""
    out = []
    for child, _ in node.next_functions:
        while child is not None and not hasattr(child, "variable"):
            onward = [c for c, _ in child.next_functions if c is not None]
            if len(onward) != 1 or type(child).__name__ not in PASS_THROUGH:
                break
            child = onward[0]
        if child is not None and hasattr(child, "variable"):
            out.append(child.variable)
    return out


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


def _breadth_first(start: Sequence[Node], stop: set[Node] | None = None) -> list[Node]:
    stop = stop or set()
    seen: dict[Node, None] = dict.fromkeys(start)
    queue = deque(seen)
    while queue:
        for child, _ in queue.popleft().next_functions:
            if child is not None and child not in seen and child not in stop:
                seen[child] = None
                queue.append(child)
    return list(seen)
