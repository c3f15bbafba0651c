"""Small exact solvers over T x T matrices: torch, float64, scale-free, no outside solver."""

from polytask.kernel.solvers.conflict_averse import conflict_averse
from polytask.kernel.solvers.correlation import Correlation, correlate, solve_ones, spectrum
from polytask.kernel.solvers.fair import fair_weights
from polytask.kernel.solvers.min_norm import min_norm_point
from polytask.kernel.solvers.nonnegative_qp import nonnegative_qp
from polytask.kernel.solvers.scaled_simplex import nearest_mixture
from polytask.kernel.solvers.simplex_lp import best_on_simplex

__all__ = [
    "Correlation",
    "best_on_simplex",
    "conflict_averse",
    "correlate",
    "fair_weights",
    "min_norm_point",
    "nearest_mixture",
    "nonnegative_qp",
    "solve_ones",
    "spectrum",
]
