"""Molecules as columns for small networks: eigenvalues of their Coulomb matrices."""

from __future__ import annotations

import numpy as np

BLOCK = 1000
"""Molecules at once: a matrix each is held."""


def coulomb_eigenvalues(atoms: np.ndarray, positions: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """float64 [N, A]: by their size, largest first, so that the order of atoms plays no part.

    M. Rupp et al., "Fast and accurate modeling of molecular atomization energies with machine
    learning", Phys. Rev. Lett. 108, 058301, 2012, https://arxiv.org/abs/1109.2618, equation 1:
    Z_i Z_j / |R_i - R_j|, with Z_i^2.4 / 2 on the diagonal.

    Args:
        atoms: atomic numbers [N, A]; 0 where there is no atom.
        positions: [N, A, 3].
        unit: length that positions are divided by. The paper has atomic units, so that is 0.529 for
            positions in angstrom; with 1 the elements beside the diagonal are 1.9 times as large.
    """
    found = []
    for rows in np.array_split(np.arange(len(atoms)), -(-len(atoms) // BLOCK)):
        charge = atoms[rows].astype(np.float64)
        place = positions[rows].astype(np.float64) / unit
        apart = np.linalg.norm(place[:, :, None] - place[:, None], axis=-1)
        # What stands where no atom is has charge 0, and no distance to another such place.
        matrix = charge[:, :, None] * charge[:, None] / np.where(apart > 0, apart, 1.0)
        diagonal = np.arange(atoms.shape[1])
        matrix[:, diagonal, diagonal] = charge**2.4 / 2
        values = np.linalg.eigvalsh(matrix)
        by_size = np.argsort(-np.abs(values), axis=1)
        found.append(np.take_along_axis(values, by_size, axis=1))
    return np.concatenate(found)
