"""Weights at which the tasks' utilities are in balance (the equations of Nash-MTL and FairGrad)."""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.kernel.solvers.correlation import correlate

STEPS = 200
# Squared length of a combination of unit gradients, relative to its coefficients', that cannot
# be told from zero in float64 inner products.
VANISHED = 1e-12


def fair_weights(
    gramian: Tensor, power: float = 1.0, preference: Tensor | None = None
) -> Tensor | None:
    """w > 0 with G w = p w^-power, the only one; None when there is none.

    It is the minimiser of the convex ½ wᵀGw - sum p U(w), U' = w^-power, found by Newton's
    method with a line search. The unknowns are w_t / (p_t / G_tt)^(1/(1+power)), which are 1 for
    orthogonal gradients, so lengths of gradients that are orders apart do no harm.

    Args:
        gramian: inner products of the gradients, shape [T, T].
        power: positive; 1 for Nash's bargaining solution, 1/alpha for alpha-fairness.
        preference: p, shape [T], positive; 1 for every task when left out.

    Returns:
        w, shape [T], float64: 0 for a zero gradient, which no weight could balance. None when
        some non-negative combination of the gradients is zero (opposite gradients).
    """
    known = correlate(gramian)
    if len(known.size) == 0:
        return torch.zeros(len(gramian), dtype=torch.float64, device=gramian.device)
    # Only ratios of lengths enter the solve; their common factor comes back at the end.
    common = known.size.log().mean().exp()
    unit = (known.size / common) ** (-2 / (1 + power))
    root = unit ** ((1 - power) / 2)
    if preference is not None:
        p = preference.to(known.size)[known.live]
        unit, root = unit * p ** (1 / (1 + power)), root * p ** (1 / (1 + power))
    x = _balance(known.cosine, root / root.max(), power)
    if x is None:
        return None
    return known.spread(x * unit * common ** (-2 / (1 + power)))


def _balance(c: Tensor, root: Tensor, power: float) -> Tensor | None:
    """x > 0 with K C K x = K² x^-power, K = diag(root), by Newton's method in z = K x."""
    spread = (root @ c @ root).clamp_min(VANISHED)
    x = (root.square().sum() / spread) ** (1 / (1 + power)) * torch.ones_like(root)
    before = float("inf")
    for _ in range(STEPS):
        pull = root * x**-power
        z = root * x
        onto = c @ z
        if float(z @ onto) <= VANISHED * float(z.sum()) ** 2:
            return None
        slope = onto - pull
        factor, info = torch.linalg.cholesky_ex(c + torch.diag(power * x ** (-power - 1)))
        if int(info):
            return None
        step = torch.cholesky_solve(-slope[:, None], factor)[:, 0]
        change = float((step / z).abs().max())
        if change < 1e-6 and change >= before:  # as near as rounding allows
            return x
        before = change
        if change * (1 + power) < 0.1:  # the curvature hardly varies along such a step
            x = x + step / root
        else:
            x = _advance(c, root, power, x, step / root, float(-(slope @ step)))
        if change < 1e-10:  # the step just taken squares it
            return x
    return None


def _advance(
    c: Tensor, root: Tensor, power: float, x: Tensor, step: Tensor, decrement: float
) -> Tensor:
    """x plus the longest share of the step, by halving, that stays positive and lowers the goal."""
    share = min(1.0, 0.99 / max(float((-step / x).max()), 0.99))

    def goal(point: Tensor) -> float:
        gain = point.log() if power == 1 else point ** (1 - power) / (1 - power)
        z = root * point
        return float(0.5 * (z @ c @ z) - root.square() @ gain)

    start = goal(x)
    # Differences smaller than this are rounding: z C z may be all cancellation.
    slack = 1e-15 * float((root @ x) ** 2) + 1e-13 * (abs(start) + len(x))
    for _ in range(60):
        trial = x + share * step
        if goal(trial) <= start - 1e-4 * share * decrement + slack:
            return trial
        share /= 2
    return x
