"""Regularizers: terms of the weights of parallel networks, which hold tasks together or apart.

One file a term. They know stacks of weights and names of tasks, never a model or a batch;
architectures with one network a task take a list of them as `regularize=`.
"""

from polytask.optimization.regularization._base import Regularizer
from polytask.optimization.regularization._create import (
    Terms,
    create_regularizer,
    create_regularizers,
    list_regularizers,
)

__all__ = [
    "Regularizer", "Terms", "create_regularizer", "create_regularizers", "list_regularizers",
]  # fmt: skip
