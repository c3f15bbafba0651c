"""The nearest point of the simplex."""

from __future__ import annotations

import torch
from torch import Tensor


def project_to_simplex(values: Tensor, total: float = 1.0) -> Tensor:
    """argmin |w - values|² over w >= 0, sum w = total; exact, shape [T].

    Sorting finds which entries stay positive (Held, Wolfe & Crowder 1974); they all lose the
    same amount. Cost: O(T log T).
    """
    ordered = values.sort(descending=True).values
    count = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
    shifts = (ordered.cumsum(0) - total) / count
    kept = int((ordered > shifts).sum())
    return (values - shifts[kept - 1]).clamp_min(0)
