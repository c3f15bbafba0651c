"""The Gramian of unit gradients: what is left when the tasks' scales are taken out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The entries of a Gramian that was summed in float32 carry errors of some 1e-6 relative to the
# lengths of their two gradients, and a symmetric matrix of such errors has a norm of about
# sqrt(T) times that. Eigenvalues below it are noise, whatever type the matrix is stored in.
NOISE = 1e-6


@dataclass(frozen=True)
class Correlation:
    """Cosines and lengths of the gradients that are not zero."""

    live: Tensor
    """Which tasks have a gradient other than zero, shape [T], bool; the rest is over those."""
    size: Tensor
    """Their lengths."""
    cosine: Tensor
    """Their Gramian when each has length one."""

    def spread(self, values: Tensor) -> Tensor:
        """Values of the live tasks put back among zeros for the others, shape [T]."""
        out = torch.zeros(len(self.live), dtype=values.dtype, device=values.device)
        out[self.live] = values
        return out


def correlate(gramian: Tensor) -> Correlation:
    """Take the lengths out of a Gramian [T, T]."""
    g = gramian.double()
    live = g.diagonal() > 0
    g = g[live][:, live]
    size = g.diagonal().sqrt()
    cosine = g / size[:, None] / size[None, :]
    cosine.diagonal().fill_(1.0)
    return Correlation(live, size, cosine)


def spectrum(cosine: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues above the noise, ascending, and their eigenvectors as columns."""
    values, vectors = torch.linalg.eigh(cosine)
    kept = values > NOISE * len(cosine) ** 0.5
    return values[kept], vectors[:, kept]


def solve_ones(cosine: Tensor) -> Tensor:
    """C⁺1, by the pseudo-inverse of the part of C above the noise."""
    values, vectors = spectrum(cosine)
    return vectors @ (vectors.sum(dim=0) / values)
