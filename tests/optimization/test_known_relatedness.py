"""A family of tasks whose relation is known: do the weights of helpers follow it?

The main task has few labelled rows. One helper is its duplicate, one shares part of its features,
one is pure noise. All heads start alike: a duplicate whose head starts elsewhere pulls elsewhere
at first, and a method that gives it no weight then never lets its head learn better.
"""

from functools import cache

import numpy as np
import pytest
import quadprog
import torch
from torch import nn

import polytask

TASKS = ("main", "copy", "related", "noise")
ROWS, HELD_OUT, STEPS, SEEDS = 80, 200, 120, range(3)
METHODS = {
    "gcs": {"main": "main", "form": "weighted"},
    "ol_aux": {"main": "main", "lr": 0.3},
    "auto_lambda": {"primary": "main", "lr": 0.003, "inner_lr": 0.05},
    "hydalearn": {"main": "main"},
}


class Family(nn.Module):
    """Targets made of three hidden features of the inputs, and a shared trunk that learns them."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(ROWS + HELD_OUT, 8, generator=self.generator)
        hidden = torch.tanh(self.x @ torch.randn(8, 3, generator=self.generator) / 2)
        main = hidden[:, 0] + hidden[:, 1]
        related = hidden[:, 1] + 0.5 * hidden[:, 2]
        noise = torch.randn(len(self.x), generator=self.generator)
        y = torch.stack([main, main, related, noise], dim=1)
        self.y = (y - y.mean(dim=0)) / y.std(dim=0)
        torch.manual_seed(seed)
        self.trunk = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh())
        self.heads = nn.ModuleDict({task: nn.Linear(16, 1) for task in TASKS})
        for head in self.heads.values():
            head.load_state_dict(self.heads["main"].state_dict())

    def draw(self, first, last, count):
        return torch.randint(first, last, (count,), generator=self.generator)

    def losses(self, rows):
        features = self.trunk(self.x[rows])
        return {
            task: (self.heads[task](features)[:, 0] - self.y[rows, i]).square().mean()
            for i, task in enumerate(TASKS)
        }


def steps(family, balancer, change=lambda losses: losses):
    """Train for STEPS mini-batches of the labelled rows; every step that was taken."""
    optimizer = torch.optim.SGD(family.parameters(), lr=0.05)
    for _ in range(STEPS):
        rows, held_out = family.draw(0, ROWS, 32), family.draw(ROWS, ROWS + HELD_OUT, 64)
        optimizer.zero_grad()
        yield balancer.backward(
            change(family.losses(rows)),
            closure=lambda rows=rows: change(family.losses(rows)),
            validation=lambda rows=held_out: change(family.losses(rows)),
        )
        optimizer.step()
        balancer.after_step()


@cache
def mean_weights(method, seed):
    """The weights' average over a training."""
    family = Family(seed)
    balancer = polytask.create_method(method, **METHODS[method])
    taken = [step.weights for step in steps(family, balancer)]
    return {task: sum(float(weights[task]) for weights in taken) / STEPS for task in TASKS}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", SEEDS)
class TestInnerProductWeighters:
    def test_pure_noise_ends_lowest(self, method, seed):
        weights = mean_weights(method, seed)
        assert weights["noise"] < min(weights["related"], weights["copy"]), weights

    def test_the_duplicate_is_not_below_the_related_one(self, method, seed):
        weights = mean_weights(method, seed)
        assert weights["copy"] >= weights["related"], weights


def independent(gramian):
    """The exact problem of ARML for the first task, by quadprog."""
    g = gramian.numpy()
    count = len(g) - 1
    bounds = np.vstack([np.ones(count), np.eye(count)]).T, np.r_[count, np.zeros(count)]
    ridge = 1e-12 * np.trace(g) * np.eye(count)
    return quadprog.solve_qp(g[1:, 1:] + ridge, g[0, 1:], *bounds, 1)[0]


def with_opposed(losses):
    """A helper whose gradient is that of the main task turned round, and shorter others that do not
    overshoot it."""
    return {
        "main": losses["main"],
        "related": 0.3 * losses["related"],
        "noise": 0.3 * losses["noise"],
        "opposed": -losses["main"],
    }


class TestARML:
    """Its weights sum to the number of helpers, so noise need not end lowest."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test_equals_an_independent_qp_and_drops_the_opposed_helper(self, seed):
        family = Family(seed)
        balancer = polytask.ARML(main="main", smooth=0.9)
        mean = None
        for step in steps(family, balancer, with_opposed):
            mean = step.gramian if mean is None else torch.lerp(step.gramian, mean, 0.9)
            found = torch.stack([step.weights[task] for task in step.tasks[1:]]).numpy()
            np.testing.assert_allclose(found, independent(mean), atol=1e-6)
            assert found[-1] == 0.0

    def test_a_duplicate_as_long_as_the_main_gradient_overshoots(self):
        """Then mass beyond 1 on it is taken back by the opposed helper, the cheapest way out."""
        family = Family(0)

        def change(losses):
            return {**losses, "opposed": -losses["main"]}

        taken = [step.weights for step in steps(family, polytask.ARML(main="main"), change)]
        assert np.mean([float(weights["copy"]) for weights in taken]) > 1.5
        assert np.mean([float(weights["opposed"]) for weights in taken]) > 0.3


@pytest.mark.parametrize("method", [*METHODS, "arml", "metabalance", "agem", "adaloss"])
def test_a_constant_helper_gets_finite_weights_and_gradients(method):
    """Its gradient is zero on everything that is shared."""
    family = Family(0)
    options = METHODS.get(method) or ({} if method == "adaloss" else {"main": "main"})
    balancer = polytask.create_method(method, **options)

    def change(losses):
        return {**losses, "constant": 0 * losses["main"] + 1.0}

    for _, step in zip(range(12), steps(family, balancer, change), strict=False):
        assert all(bool(torch.isfinite(weight)) for weight in step.weights.values())
        assert all(bool(torch.isfinite(p.grad).all()) for p in family.parameters())
