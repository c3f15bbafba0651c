"""How well a cheap statistic's decision agrees with the exact one's."""

from __future__ import annotations

import torch
from torch import Tensor


def agreement(gramian: Tensor, chosen: Tensor, exact: Tensor) -> dict[str, float]:
    """Agreement of two sets of weights, as updates of the shared parameters.

    Args:
        gramian: exact Gramian, [T, T]; updates are Jᵀw, so it gives all their products.
        chosen: weights from the statistic in use, [T].
        exact: weights from the exact Gramian, [T].

    Returns:
        'cosine' of the two updates, and 'residual_cosine', their cosine after projecting out
        the plain sum of the gradients. The plain cosine flatters everything, the plain sum
        itself included; the residual one asks whether the *change* a method makes is right.
        NaN when an update has no such part.
    """
    g = gramian.double()
    plain = torch.ones(len(g), dtype=g.dtype)
    pair = torch.stack([chosen.double(), exact.double()])
    onto = (pair @ g @ plain) / (plain @ g @ plain)
    rest = pair - onto[:, None] * plain
    return {"cosine": _cosine(g, pair), "residual_cosine": _cosine(g, rest)}


def _cosine(g: Tensor, pair: Tensor) -> float:
    products = pair @ g @ pair.T
    size = (products[0, 0].clamp_min(0) * products[1, 1].clamp_min(0)).sqrt()
    floor = 1e-10 * float(g.trace() * pair.square().sum())
    return float(products[0, 1] / size) if float(size) > floor else float("nan")
