"""What is known of every method: its own declarations, and what it does when it is tried.

Nothing here is written down by hand. Passes are counted on a small network; how a method takes
a change of units, chance and conflict is seen on small problems. The pages are made from it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from polytask import registry
from polytask.errors import UserError
from polytask.optimization import Balancer
from polytask.testing.methods import SmallNet, end_epoch, full_step, small_batch

UNITS = (100.0, 0.01)
"""By what one loss is multiplied to see whether units matter at the first step."""
LEARNED_UNIT = 10.0
"""The same for methods that learn their weights, which takes the longer the larger it is."""
LEARNING = ((0.1, 200), (0.01, 80), (0.001, 80))
"""For methods that learn: rates and how many steps at each, on losses that do not move."""
PROBLEMS = [
    (tasks, columns, seed)
    for tasks in (2, 3, 5, 8)
    for columns in (2, tasks, 4 * tasks)
    for seed in range(10)
]
"""Tasks, parameters and seeds of the conflicting problems."""
ROUNDING = 1e-6
"""A cosine, or a length beside the gradients', that counts as zero."""


@dataclass(frozen=True)
class Facts:
    """One method."""

    entry: registry.Entry
    method: type[Balancer]
    forward: int
    """Forward passes of the whole network in one step with three tasks, after the first step."""
    backward: int
    """Times a gradient reaches the first layer in that step."""
    per_task: bool
    """Whether twice as many tasks make that more often."""
    head_backward: int
    """Times a gradient goes through one task's head in that step."""
    units: str
    """'yes': multiplying one loss by a number leaves the direction as it is from the first step;
    'learned': after it has learned; 'no'."""
    units_with_log: bool
    """The same with transform='log'."""
    random: bool
    """Another generator gives another step."""
    learns: bool
    """Keeps something of one step for the next."""
    never_against: bool
    """On none of the conflicting problems does the direction go against any task."""
    never_against_main: bool
    """Nor against the main task, of the methods that have one."""
    smooths: bool
    """Takes smooth=, a running mean of the Gramian."""

    @property
    def name(self) -> str:
        """The method's name."""
        return self.entry.name

    @property
    def kind(self) -> str:
        """What it reads, as declared."""
        return self.method.statistic_kind

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs beside the losses, as declared."""
        return self.method.needs

    @property
    def group(self) -> str:
        """Its folder."""
        return self.entry.group


@cache
def all_facts() -> tuple[Facts, ...]:
    """Every registered method that is part of polytask, by name."""
    entries = registry.entries("method")
    return tuple(_facts(e) for _, e in sorted(entries.items()) if e.group != "third party")


def _facts(entry: registry.Entry) -> Facts:
    method = entry.load()
    assert issubclass(method, Balancer)
    forward, backward, head_backward = _passes(method, "abc")
    return Facts(
        entry,
        method,
        forward,
        backward,
        per_task=_passes(method, "abcdef")[1] > backward,
        head_backward=head_backward,
        units=_units(method),
        units_with_log=_units_with_log(method),
        random=_random(method),
        learns=_learns(method),
        never_against=all(_against(method, problem)[0] >= 0 for problem in PROBLEMS),
        never_against_main=entry.group == "main_task"
        and all(_against(method, problem)[1] >= 0 for problem in PROBLEMS),
        smooths=_smooths(method),
    )


class DeepNet(SmallNet):
    """A trunk deeper than any method reads by default, and heads with a layer of their own."""

    def __init__(self, tasks: str) -> None:
        super().__init__()
        layers = [m for _ in range(5) for m in (nn.Linear(8, 8), nn.Tanh())]
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), *layers)
        self.heads = nn.ModuleDict(
            {task: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 1)) for task in tasks}
        )


def _made(method: type[Balancer], seed: int = 7, **options: Any) -> Balancer:
    return method(generator=torch.Generator().manual_seed(seed), **options)


def _passes(method: type[Balancer], tasks: str) -> tuple[int, int, int]:
    """Forward and backward passes of the whole trunk, and backward passes of a head."""
    torch.manual_seed(0)
    net, counts = DeepNet(tasks), {"forward": 0, "trunk": 0, "head": 0}

    def count(word: str) -> None:
        counts[word] += 1

    def trunk_hook(module: nn.Module, given: Any, out: Tensor) -> None:
        count("forward")
        if out.requires_grad:
            out.register_hook(lambda gradient: count("trunk"))

    def head_hook(module: nn.Module, given: Any, out: Tensor) -> None:
        if out.requires_grad:
            out.register_hook(lambda gradient: count("head"))

    net.trunk[0].register_forward_hook(trunk_hook)
    net.heads["a"][0].register_forward_hook(head_hook)
    x, y = small_batch()
    balancer, batch = _made(method), (x, y.repeat(1, len(tasks) // 3))
    full_step(balancer, net, batch)  # the first step also finds out what is shared
    counts.update(forward=0, trunk=0, head=0)
    net.zero_grad()
    full_step(balancer, net, batch)
    return counts["forward"], counts["trunk"], counts["head"]


def _direction(
    balancer: Balancer,
    factor: float = 1.0,
    rates: Sequence[tuple[float, int]] = (),
    *,
    task: str = "a",
    seed: int = 0,
) -> Tensor:
    """The trunk's gradient, unit length, where a task's loss is multiplied by a factor.

    With `rates` it is that of the last of many steps, which move no parameter.
    """
    torch.manual_seed(seed)
    net, batch = SmallNet(), small_batch()

    def step() -> None:
        net.zero_grad()
        full_step(balancer, net, batch, change=lambda x: {**x, task: factor * x[task]})

    step()
    for rate, steps in rates:
        balancer.lr = rate  # type: ignore[assignment]
        for _ in range(steps):
            step()
    gradient = torch.cat([p.grad.flatten() for p in net.trunk.parameters() if p.grad is not None])
    return gradient / gradient.norm()


def _same_units(method: type[Balancer], **options: Any) -> bool:
    """Whether the first step's direction is the same whatever the unit of any task's loss.

    On several networks: a method around a main task (the first) may leave out a helper on one.
    """

    def same(seed: int, task: str) -> bool:
        plain = _direction(_made(method, **options), seed=seed)
        others = [_direction(_made(method, **options), u, task=task, seed=seed) for u in UNITS]
        return all(float(plain @ other) >= 1 - 1e-4 for other in others)

    return all(same(seed, task) for seed in range(3) for task in "abc")


def _learns_units(method: type[Balancer]) -> bool:
    """The same after learning."""
    plain = _direction(_made(method), rates=LEARNING)
    return float(plain @ _direction(_made(method), LEARNED_UNIT, LEARNING)) >= 0.99


def _units(method: type[Balancer]) -> str:
    if _same_units(method):
        return "yes"
    if "lr" not in inspect.signature(method).parameters or "validation" in method.needs:
        return "no"  # nothing to learn, or learned from data that this network does not have
    return "learned" if _learns_units(method) else "no"


def _units_with_log(method: type[Balancer]) -> bool:
    try:
        return method.statistic_kind == "gramian" and _same_units(method, transform="log")
    except UserError:  # the logarithm of a loss below 1 is negative, which not every method takes
        return False


def _learns(method: type[Balancer]) -> bool:
    torch.manual_seed(0)
    balancer = _made(method)
    full_step(balancer, SmallNet(), small_batch())
    end_epoch(balancer, 0)
    return any(entry != "turn" for entry, _ in balancer.table)


def _against(method: type[Balancer], problem: tuple[int, int, int]) -> tuple[float, float]:
    """The least cosine of the direction with any task's gradient, and with the main task's.

    For a method that does not read gradients they are below 0: nothing keeps it from that.
    """
    if method.statistic_kind not in ("gramian", "jacobian"):
        return -1.0, -1.0
    rows = _conflicting(*problem)
    direction = _made(method).combine(rows)
    if direction.norm() < ROUNDING * rows.norm(dim=1).mean():
        return 0.0, 0.0  # no step, where none serves all tasks; its own cosines are noise
    cosines = rows @ direction / (rows.norm(dim=1) * direction.norm())
    cosines = torch.where(cosines.abs() < ROUNDING, 0.0, cosines)
    return float(cosines.min()), float(cosines[0])


def _conflicting(tasks: int, columns: int, seed: int) -> Tensor:
    """Gradients of very different lengths that point apart, shape [tasks, columns], float64."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, columns, generator=generator, dtype=torch.float64)
    if seed % 2:
        rows -= 0.9 * rows.mean(dim=0)
    return rows * torch.randn(tasks, 1, generator=generator, dtype=torch.float64).exp()


def _random(method: type[Balancer]) -> bool:
    """Whether two generators give two steps, where tasks conflict."""
    if method.statistic_kind in ("gramian", "jacobian"):
        rows = _conflicting(4, 16, 1)
        return not torch.equal(_made(method, 1).combine(rows), _made(method, 2).combine(rows))
    return not torch.equal(_direction(_made(method, 1)), _direction(_made(method, 2)))


def _smooths(method: type[Balancer]) -> bool:
    try:
        balancer = method(smooth=0.9)
    except UserError:
        return False
    return balancer.statistic_kind == "gramian"
