"""Independent component alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from polytask.kernel.solvers import correlate, spectrum
from polytask.kernel.statistic import Statistic
from polytask.optimization.base import Balancer, check_word
from polytask.optimization.gradients._preference import checked, shares


class AlignedMTL(Balancer):
    """The gradients made orthogonal and equally long, with the least change, then averaged.

    With G = V Λ Vᵀ the weights are w = B p, B = sqrt(λ) V Λ^(-1/2) Vᵀ, p the preference, so
    that the aligned gradients B J have the Gramian λ I (Senushkin et al. 2023,
    https://arxiv.org/abs/2305.19000). Training converges to the Pareto point of the preference.

    Cost: that of the statistic and one backward pass; no state. Heads are plain. With
    statistic='features' it is the paper's upper-bound form. A null space of G is left out;
    its dimension is that of the cosines' Gramian, with eigenvalues within the noise of float32
    sums taken for zero, so that a short gradient is not mistaken for a dependent one.
    Deviations of the official code, not followed here: its rank tolerance is that of torch's
    default type, and it sums the aligned gradients where the paper weighs them by p.

    Args:
        mode: λ is the smallest eigenvalue ('min', the paper), the 'median' of them, or their
            mean ('rmse').
        preference: task name to the weight of its aligned gradient, relative to the others;
            equal when left out.
        options: those of every `Balancer`.
    """

    statistic_kind = "gramian"
    default_heads = "plain"

    def __init__(
        self,
        mode: Literal["min", "median", "rmse"] = "min",
        preference: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_word("mode", mode, ("min", "median", "rmse"))
        self.mode = mode
        self.preference = checked(preference)

    def decide(self, statistic: Statistic) -> Tensor:
        """sqrt(λ) V Λ^(-1/2) Vᵀ p."""
        g = statistic.need_gramian()
        preference = shares(self.preference, statistic.tasks).to(g)
        rank = len(spectrum(correlate(g).cosine)[0])
        if rank == 0:
            return preference  # all gradients are zero
        values, vectors = torch.linalg.eigh(g)
        least = torch.finfo(g.dtype).eps * len(g) * values[-1]
        kept = (values > least) & (torch.arange(len(g)) >= len(g) - rank)
        values, vectors = values[kept], vectors[:, kept]
        level = {"min": values.min, "median": values.median, "rmse": values.mean}[self.mode]()
        return vectors @ ((vectors.T @ preference) * (level / values).sqrt())

    def sum_on_equal(self, tasks: tuple[str, ...]) -> float:
        """Equal gradients: B = 11ᵀ/T, and the preference sums to 1."""
        return 1.0
