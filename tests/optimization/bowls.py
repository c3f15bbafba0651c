"""Quadratic losses whose Hessians are known, for methods that differentiate twice."""

import numpy as np
import torch


def near(value, expected, digits=1e-9):
    torch.testing.assert_close(
        value.double(), torch.as_tensor(expected, dtype=torch.float64), atol=digits, rtol=0
    )


def weights_of(step):
    return torch.stack([w.double() for w in step.weights.values()])


class Bowls:
    """Quadratic losses of three tasks and of the main one on held-out data, in float64."""

    def __init__(self, seed=0, size=4):
        rng = np.random.default_rng(seed)
        self.a = torch.tensor(rng.standard_normal((4, 6, size)))
        self.b = torch.tensor(rng.standard_normal((4, 6)))
        self.theta = torch.tensor(rng.standard_normal(size), requires_grad=True)

    def losses(self, theta=None):
        theta = self.theta if theta is None else theta
        return {
            t: 0.5 * (self.a[i] @ theta - self.b[i]).square().mean() for i, t in enumerate("mxy")
        }

    def validation(self, theta=None):
        theta = self.theta if theta is None else theta
        return {"m": 0.5 * (self.a[3] @ theta - self.b[3]).square().mean()}

    def step(self, balancer):
        return balancer.backward(
            self.losses(), shared=[self.theta], closure=self.losses, validation=self.validation
        )

    def settle(self, combined):
        """The theta at which `combined(losses)` is least, by Newton's method."""

        def objective(theta):
            return combined(torch.stack(list(self.losses(theta).values())))

        theta = torch.zeros_like(self.theta)
        for _ in range(8):
            slope = torch.autograd.functional.jacobian(objective, theta)
            theta = theta - torch.linalg.solve(
                torch.autograd.functional.hessian(objective, theta), slope
            )
        assert float(slope.norm()) < 1e-12
        return theta


def learned(balancer, name, keys):
    """The gradient of the first update, read back from Adam's first moment."""
    moments = torch.stack([balancer.table[f"{name}.first", key] for key in keys])
    return moments / 0.1 * balancer.table["phi.unit", ""]
