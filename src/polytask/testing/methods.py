"""What every balancer must hold; subclass it to run it on your own method.

class TestMine(BalancerConformance):
    def make(self, **options):
        return MyMethod(**options)

A method that declares needs (a closure, validation data, several batches, `after_step`) gets all
of them at every step, see `full_step`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.errors import NonFiniteError
from polytask.kernel.step import Step
from polytask.optimization import Balancer

Losses = dict[str, Tensor]
TASKS = 3


class BalancerConformance:
    """A pytest class: implement `make`, and set the flags that do not hold for the method."""

    permutation_equivariant = True
    """Set False for methods that are so only in law (random orders, random weights), and for
    those that give one row a part of its own (the main task)."""

    scale_free = True
    """Whether the direction is the same when all gradients are multiplied by one number."""

    def make(self, **options: Any) -> Balancer:
        """A fresh balancer; `options` are those of every balancer."""
        raise NotImplementedError

    def seeded(self, **options: Any) -> Balancer:
        """A fresh balancer with its own source of randomness."""
        return self.make(generator=torch.Generator().manual_seed(7), **options)

    def test_docstring_states_source_and_cost(self) -> None:
        """One sentence, the paper, the cost."""
        text = inspect.getdoc(type(self.make())) or ""
        assert "https://" in text, "the docstring must link its source"
        assert "Cost:" in text, "the docstring must state the cost"

    def test_gradients_are_finite_and_every_parameter_moves(self) -> None:
        """One step reaches the trunk and every head."""
        net, batch = small_net(), small_batch()
        step = full_step(self.seeded(), net, batch)
        assert step.tasks == ("a", "b", "c")
        assert set(step.losses) == {"a", "b", "c"}
        gives_direction = self.make().statistic_kind == "jacobian"
        assert set(step.weights) == (set() if gives_direction else {"a", "b", "c"})
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name

    def test_training_lowers_the_losses(self) -> None:
        """Fifty steps on one batch make every task better than at the start."""
        net, batch = small_net(), small_batch()
        balancer = self.seeded(scale="sum")
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        before = {t: float(x.detach()) for t, x in net.losses(*batch).items()}
        for i in range(50):
            full_step(balancer, net, batch, optimizer=optimizer)
            if i % 10 == 9:
                end_epoch(balancer, i // 10)
        after = {t: float(x.detach()) for t, x in net.losses(*batch).items()}
        assert all(after[t] < before[t] for t in before), (before, after)

    def test_sum_scale_gives_as_many_as_tasks_on_equal_gradients(self) -> None:
        """scale='sum' makes learning rates comparable between methods."""
        if self.make().statistic_kind == "jacobian":
            row = torch.randn(9, generator=torch.Generator().manual_seed(0))
            direction = self.seeded(scale="sum").combine(row.expand(TASKS, -1))
            torch.testing.assert_close(direction, TASKS * row, rtol=1e-4, atol=0)
            return
        net, (x, y) = small_net(), small_batch()
        net.same_heads()
        y = y[:, :1].expand(-1, TASKS)
        step = full_step(self.seeded(scale="sum", statistic=None), net, (x, y))
        total = float(torch.stack(list(step.weights.values())).sum())
        assert total == pytest.approx(TASKS, rel=1e-4)

    @pytest.mark.parametrize("present", ["abc", "ab", "c"])
    def test_absent_tasks_are_left_out(self, present: str) -> None:
        """Steps with one, some and all tasks, in one balancer, before and after each other."""
        net, batch = small_net(), small_batch()
        balancer = self.seeded()
        for tasks in ("abc", present, "abc", present):
            net.zero_grad()
            step = full_step(balancer, net, batch, change=only(tasks))
            end_epoch(balancer, 0)
            assert step.tasks == tuple(tasks)
            assert all(torch.isfinite(w) for w in step.weights.values())
            absent = [t for t in "abc" if t not in tasks]
            assert all(net.heads[t].weight.grad is None for t in absent)

    def test_a_saved_state_continues_identically(self) -> None:
        """`state_dict` into a fresh object before its first step; a new task may come later."""
        net, batch = small_net(), small_batch()
        first = self.seeded()
        for epoch in range(3):
            _train(first, net, batch, change=only("ab"))
            _train(first, net, batch, change=only("bc"))
            end_epoch(first, epoch)
        twin, second = copy.deepcopy(net), self.make()
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for tasks in ("abc", "abc", "ab", "abc"):
            one = _train(first, net, batch, change=only(tasks)).weights
            two = _train(second, twin, batch, change=only(tasks)).weights
            assert list(one) == list(two)
            for task in one:
                torch.testing.assert_close(one[task], two[task], rtol=0, atol=0)
            for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
                assert torch.equal(mine, other)
            for balancer in (first, second):
                end_epoch(balancer, 3)
        held, again = first.state_dict(), second.state_dict()
        assert list(held) == list(again)
        assert all(torch.equal(held[key], again[key]) for key in held)

    def test_state_is_flat_tensors(self) -> None:
        """So that it can be stored without pickling."""
        net, batch = small_net(), small_batch()
        balancer = self.seeded()
        full_step(balancer, net, batch)
        assert all(isinstance(value, Tensor) for value in balancer.state_dict().values())

    def test_bfloat16_losses(self) -> None:
        """A half-precision network takes the same step."""
        net, (x, y) = small_net().bfloat16(), small_batch()
        step = full_step(self.seeded(), net, (x.bfloat16(), y.bfloat16()))
        assert all(torch.isfinite(w) for w in step.weights.values())
        assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in net.parameters())

    def test_a_non_finite_loss_raises_and_updates_nothing(self) -> None:
        """The error names the task."""
        net, batch = small_net(), small_batch()
        with pytest.raises(NonFiniteError, match="'b'"):
            full_step(self.seeded(), net, batch, change=lambda x: {**x, "b": x["b"] * float("nan")})
        assert all(p.grad is None for p in net.parameters())

    @pytest.mark.parametrize("tasks", [1, 2, 8, 40])
    @pytest.mark.parametrize("kind", ["random", "equal", "opposite", "one zero", "rank one"])
    def test_any_gramian_gets_finite_weights(self, kind: str, tasks: int) -> None:
        """Degenerate Gramians, from one task to forty."""
        if self.make().statistic_kind != "gramian":
            return
        g = gramian(kind, tasks)
        weights = self.seeded().weights(g)
        assert weights.shape == (tasks,)
        assert torch.isfinite(weights).all()

    @pytest.mark.parametrize("factor", [1e-12, 1e-6, 1e6, 1e12])
    def test_decisions_have_no_absolute_scale(self, factor: float) -> None:
        """Multiply all gradients by one number: the direction stays."""
        if self.make().statistic_kind != "gramian" or not self.scale_free:
            return
        g = gramian("random", 5)
        plain = self.seeded().weights(g)
        scaled = self.seeded().weights(g * factor**2)
        torch.testing.assert_close(
            scaled / scaled.norm(), plain / plain.norm(), rtol=1e-6, atol=1e-9
        )

    def test_order_of_tasks_does_not_matter(self) -> None:
        """Permuting the tasks permutes the weights."""
        if self.make().statistic_kind != "gramian" or not self.permutation_equivariant:
            return
        g = gramian("random", 5)
        order = torch.tensor([3, 0, 4, 1, 2])
        torch.testing.assert_close(
            self.make().weights(g[order][:, order]),
            self.make().weights(g)[order],
            atol=1e-7,
            rtol=1e-6,
        )


def full_step(
    balancer: Balancer,
    net: SmallNet,
    batch: tuple[Tensor, Tensor],
    *,
    change: Callable[[Losses], Losses] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Step:
    """One step of a loop that supplies all that a method may need.

    Args:
        balancer: the method.
        net: computes the losses.
        batch: inputs and targets of the batch that is stepped on. Further batches and held-out
            data are rows drawn from it anew.
        change: applied to every dict of losses: leaves tasks out, or spoils one.
        optimizer: takes a step; without one the gradients stay for the caller to look at.
    """

    def losses_on(x: Tensor, y: Tensor) -> Losses:
        losses = net.losses(x, y)
        return change(losses) if change is not None else losses

    if optimizer is not None:
        optimizer.zero_grad()
    others = [losses_on(*_redrawn(batch, seed)) for seed in range(1, balancer.batches)]
    losses = losses_on(*batch)
    step = balancer.backward(
        [*others, losses] if others else losses,
        closure=lambda: losses_on(*batch),
        validation=lambda: losses_on(*_redrawn(batch, 0)),
    )
    if optimizer is not None:
        optimizer.step()
    balancer.after_step()
    return step


def end_epoch(balancer: Balancer, epoch: int) -> None:
    """Tell what a training tells at the end of an epoch."""
    balancer.observe(epoch=epoch, scores=dict.fromkeys("abc", 0.5))


def only(tasks: str) -> Callable[[Losses], Losses]:
    """The losses of some tasks."""
    return lambda losses: {task: loss for task, loss in losses.items() if task in tasks}


def _train(balancer: Balancer, net: SmallNet, batch: tuple[Tensor, Tensor], **options: Any) -> Step:
    # Without momentum the optimizer has no state of its own to copy.
    return full_step(
        balancer, net, batch, optimizer=torch.optim.SGD(net.parameters(), lr=0.02), **options
    )


def _redrawn(batch: tuple[Tensor, Tensor], seed: int) -> tuple[Tensor, Tensor]:
    """As many rows, drawn with replacement."""
    count = len(batch[0])
    rows = torch.randint(count, (count,), generator=torch.Generator().manual_seed(seed))
    return batch[0][rows], batch[1][rows]


class SmallNet(nn.Module):
    """A shared layer and three linear heads with squared errors."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(8, 1) for task in "abc"})

    def losses(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One mean squared error a task; y has one column a task."""
        h = self.trunk(x)
        return {
            task: (head(h)[:, 0] - y[:, i]).square().mean()
            for i, (task, head) in enumerate(self.heads.items())
        }

    def same_heads(self) -> None:
        """Give every head the first one's weights."""
        for head in self.heads.values():
            head.load_state_dict(self.heads["a"].state_dict())


def small_net() -> SmallNet:
    """The same network every time."""
    torch.manual_seed(0)
    return SmallNet()


def small_batch() -> tuple[Tensor, Tensor]:
    """Inputs [16, 4] and targets [16, 3] that the inputs partly explain."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 4, generator=generator)
    mix = torch.randn(4, TASKS, generator=generator)
    return x, x @ mix + 0.3 * torch.randn(16, TASKS, generator=generator)


def gramian(kind: str, tasks: int, seed: int = 0) -> Tensor:
    """A T x T Gramian: conflicting 'random' rows, or a degenerate kind."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(tasks, 3 * tasks + 2, generator=generator, dtype=torch.float64)
    rows *= torch.randn(tasks, 1, generator=generator, dtype=torch.float64).exp()
    rows -= 0.9 * rows.mean(dim=0)
    if kind == "equal":
        rows = rows[:1].expand(tasks, -1)
    elif kind == "opposite":
        rows = rows[:1] * torch.tensor([(-1.0) ** i for i in range(tasks)])[:, None]
    elif kind == "one zero":
        rows = torch.cat([torch.zeros_like(rows[:1]), rows[1:]])
    elif kind == "rank one":
        rows = rows[:1] * torch.arange(1.0, tasks + 1)[:, None]
    return rows @ rows.T
