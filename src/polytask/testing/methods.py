"""What every balancer must hold; subclass it to run it on your own method.

class TestMine(BalancerConformance):
    def make(self, **options):
        return MyMethod(**options)
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from polytask.errors import NonFiniteError
from polytask.optimization import Balancer

TASKS = 3


class BalancerConformance:
    """A pytest class: implement `make`, and set the flags that do not hold for the method."""

    permutation_equivariant = True
    """Set False for methods that are so only in law (random orders, random weights)."""

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
        step = self.seeded().backward(net.losses(*batch))
        assert step.tasks == ("a", "b", "c")
        assert set(step.weights) == set(step.losses) == {"a", "b", "c"}
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
        for _ in range(50):
            optimizer.zero_grad()
            balancer.backward(
                net.losses(*batch),
                closure=lambda: net.losses(*batch),
                validation=lambda: net.losses(*batch),
            )
            optimizer.step()
            balancer.after_step()
        after = {t: float(x.detach()) for t, x in net.losses(*batch).items()}
        assert all(after[t] < before[t] for t in before), (before, after)

    def test_sum_scale_gives_as_many_as_tasks_on_equal_gradients(self) -> None:
        """scale='sum' makes learning rates comparable between methods."""
        net, (x, y) = small_net(), small_batch()
        net.same_heads()
        y = y[:, :1].expand(-1, TASKS)
        step = self.seeded(scale="sum", statistic=None).backward(net.losses(x, y))
        total = float(torch.stack(list(step.weights.values())).sum())
        assert total == pytest.approx(TASKS, rel=1e-4)

    @pytest.mark.parametrize("present", ["abc", "ab", "c"])
    def test_absent_tasks_are_left_out(self, present: str) -> None:
        """Steps with one, some and all tasks, in one balancer, before and after each other."""
        net, batch = small_net(), small_batch()
        balancer = self.seeded()
        for tasks in ("abc", present, "abc", present):
            losses = {t: x for t, x in net.losses(*batch).items() if t in tasks}
            net.zero_grad()
            step = balancer.backward(losses)
            assert step.tasks == tuple(tasks)
            assert all(torch.isfinite(w) for w in step.weights.values())
            absent = [t for t in "abc" if t not in tasks]
            assert all(net.heads[t].weight.grad is None for t in absent)

    def test_a_saved_state_continues_identically(self) -> None:
        """`state_dict` into a fresh object before its first step."""
        net, batch = small_net(), small_batch()
        first = self.seeded()
        for _ in range(3):
            first.backward(net.losses(*batch))
            first.observe(epoch=0, scores=dict.fromkeys("abc", 0.5))
        second = self.make()
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for _ in range(2):
            one = first.backward(net.losses(*batch)).weights
            two = second.backward(net.losses(*batch)).weights
            for task in one:
                torch.testing.assert_close(one[task], two[task], rtol=0, atol=0)

    def test_state_is_flat_tensors(self) -> None:
        """So that it can be stored without pickling."""
        net, batch = small_net(), small_batch()
        balancer = self.seeded()
        balancer.backward(net.losses(*batch))
        assert all(isinstance(value, Tensor) for value in balancer.state_dict().values())

    def test_bfloat16_losses(self) -> None:
        """A half-precision network takes the same step."""
        net, (x, y) = small_net().bfloat16(), small_batch()
        step = self.seeded().backward(net.losses(x.bfloat16(), y.bfloat16()))
        assert all(torch.isfinite(w) for w in step.weights.values())
        assert all(p.grad is not None and p.grad.dtype == torch.bfloat16 for p in net.parameters())

    def test_a_non_finite_loss_raises_and_updates_nothing(self) -> None:
        """The error names the task."""
        net, batch = small_net(), small_batch()
        losses = net.losses(*batch)
        losses["b"] = losses["b"] * float("nan")
        with pytest.raises(NonFiniteError, match="'b'"):
            self.seeded().backward(losses)
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
