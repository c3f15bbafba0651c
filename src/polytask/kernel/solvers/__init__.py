"""Small exact solvers over T x T matrices: torch, float64, scale-free, no outside solver."""

from polytask.kernel.solvers.min_norm import min_norm_point
from polytask.kernel.solvers.nonnegative_qp import nonnegative_qp

__all__ = ["min_norm_point", "nonnegative_qp"]
