"""HydaLearn's two claims on data that are made so: drift, and the composition of batches."""

import numpy as np
import pytest
import torch
from torch import nn

import polytask


def train_shared(seed, steps, lr, batch_of, **options):
    """Weights of the helper, step by step, in the training of a model that all tasks share.

    `batch_of(i, generator, teacher)` gives the inputs and the two columns of targets of step i.
    """
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(8, generator=generator)
    torch.manual_seed(seed)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    balancer = polytask.HydaLearn("main", inner_lr=lr, **options)
    weights = []
    for i in range(steps):
        x, y = batch_of(i, generator, teacher)

        def losses(x=x, y=y):
            errors = (model(x) - y).square().mean(dim=0)
            return {"main": errors[0], "helper": errors[1]}

        optimizer.zero_grad()
        step = balancer.backward(losses(), shared=model, closure=losses)
        optimizer.step()
        weights.append(float(step.weights["helper"]))
    return np.array(weights)


@pytest.mark.parametrize("look_ahead", ["first_order", "exact"])
class TestClaims:
    """What the abstract says of the method, on data that are made so. Seeds are fixed."""

    @pytest.mark.parametrize("seed", range(5))
    def test_the_weight_follows_a_relation_that_drifts(self, look_ahead, seed):
        """The helper is the main task, and its opposite from the middle of the training on."""
        steps = 200

        def batch_of(i, generator, teacher):
            x = torch.randn(32, 8, generator=generator)
            clean = x @ teacher
            noise = 0.5 * torch.randn(32, 2, generator=generator)
            sign = 1.0 if i < steps // 2 else -1.0
            return x, torch.stack([clean, sign * clean], dim=1) + noise

        weights = train_shared(seed, steps, 2e-3, batch_of, look_ahead=look_ahead)
        before, after = weights[: steps // 2], weights[steps // 2 :]
        assert before.mean() > 0.4
        assert after.mean() < 0.1

    @pytest.mark.parametrize("seed", range(5))
    def test_the_weight_follows_the_composition_of_the_batch(self, look_ahead, seed):
        """The helper is the main task on a sub-population, and unrelated on the rest."""
        shares = []

        def batch_of(i, generator, teacher):
            x = torch.randn(64, 8, generator=generator)
            clean = x @ teacher
            share = float(torch.rand((), generator=generator))
            useful = torch.rand(64, generator=generator) < share
            shares.append(float(useful.float().mean()))
            noise = torch.randn(64, 2, generator=generator)
            size = clean.std()
            helper = torch.where(useful, clean, size * noise[:, 1])
            return x, torch.stack([clean + 0.5 * noise[:, 0], helper], dim=1)

        weights = train_shared(seed, 150, 1e-3, batch_of, look_ahead=look_ahead)
        assert np.corrcoef(weights, shares)[0, 1] > 0.5
