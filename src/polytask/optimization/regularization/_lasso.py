"""Every row of a matrix as a sparse mixture of the others, without negative shares."""

from __future__ import annotations

import torch
from torch import Tensor

SWEEPS = 10_000


def nonnegative_lasso(products: Tensor, price: Tensor) -> Tensor:
    """B >= 0 with a zero diagonal that minimises 1/2 ||W - W B||^2 + sum_t price_t sum_s B[t, s].

    `products` is W^T W, [K, K] in float64, of K columns; `price` [K] is 0 at least. Cyclic
    coordinate descent on all columns of B at once: one coordinate's minimiser is a soft
    threshold, cut off at 0. It ends when no entry moves by more than 1e-12, or after 10,000
    sweeps, at K^3 multiplications each. A column of zeros gives nothing.
    """
    size = len(products)
    shares = torch.zeros_like(products)
    for _ in range(SWEEPS):
        moved = 0.0
        for giver in range(size):
            own = products[giver, giver]
            if not bool(own > 0):
                continue
            left = products[giver] - products[giver] @ shares + own * shares[giver]
            row = ((left - price[giver]) / own).clamp(min=0)
            row[giver] = 0
            moved = max(moved, float((row - shares[giver]).abs().max()))
            shares[giver] = row
        if moved <= 1e-12:
            break
    return shares
