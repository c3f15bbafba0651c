"""One layer's weights of all tasks, as factors that tasks share and a vector for each task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._per_task import PerTask
from polytask.optimization.regularization._terms import unfolded


class Factorised(nn.Module):
    """The weight of a task, made of shared factors and the task's own vector.

    Built from the weights of all tasks, stacked along the *last* dimension; each rank is the
    least that leaves out no more than `error` of the norm of what it is taken from.
    """

    def __init__(self, factors: Sequence[Tensor], rows: Tensor, tasks: Sequence[str]) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(factor.contiguous()) for factor in factors)
        self.rows = PerTask({t: _Row(row) for t, row in zip(tasks, rows, strict=True)})

    @abstractmethod
    def weight(self, row: Tensor) -> Tensor:
        """The weight that a task's own vector stands for."""

    @staticmethod
    @abstractmethod
    def sizes(shapes: Sequence[torch.Size]) -> tuple[int, ...]:
        """What factors of these shapes say of the weight's shape, whatever their ranks."""

    def forward(self, task: str) -> Tensor:
        """The weight of a task, in the precision of the factors also under autocast."""
        row: Tensor = self.rows[task]()
        with torch.autocast(row.device.type, enabled=False):
            return self.weight(row)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the ranks of what is loaded: those of weights drawn otherwise may be others."""
        named = {f"factors.{i}": factor for i, factor in enumerate(self.factors)}
        found = [state_dict.get(prefix + name) for name in named]
        shapes = [loaded.shape for loaded in found if isinstance(loaded, Tensor)]
        alike = [len(s) for s in shapes] == [factor.dim() for factor in self.factors]
        if alike and self.sizes(shapes) == self.sizes([factor.shape for factor in self.factors]):
            for name, parameter in self.named_parameters():
                loaded = state_dict.get(prefix + name)
                if isinstance(loaded, Tensor) and loaded.dim() == parameter.dim():
                    parameter.data = parameter.data.new_empty(loaded.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class LAF(Factorised):
    """W = L S: every task's weight is a combination of the columns of L (latent tasks)."""

    def __init__(self, stack: Tensor, tasks: Sequence[str], error: float) -> None:
        u, s, vh = _decomposed(stack.flatten(0, -2), error)
        super().__init__([u], vh.T * s, tasks)
        self.shape = stack.shape[:-1]

    def weight(self, row: Tensor) -> Tensor:
        """L s_t."""
        return (self.factors[0] @ row).view(self.shape)

    @staticmethod
    def sizes(shapes: Sequence[torch.Size]) -> tuple[int, ...]:
        """How many numbers a weight has."""
        return (shapes[0][0],)


class Tucker(Factorised):
    """W = S x_1 U_1 ... x_N U_N x_K U_K, from the truncated higher-order SVD; U_K is the tasks'."""

    def __init__(self, stack: Tensor, tasks: Sequence[str], error: float) -> None:
        modes = range(stack.dim())
        bases = [_decomposed(unfolded(stack, mode), error)[0] for mode in modes]
        core = stack
        for mode, basis in enumerate(bases):
            core = _along(core, mode, basis.T)
        super().__init__([core, *bases[:-1]], bases[-1], tasks)

    def weight(self, row: Tensor) -> Tensor:
        """The core for this task, with every basis along its dimension."""
        core, *bases = self.factors
        core = core @ row
        for mode, basis in enumerate(bases):
            core = _along(core, mode, basis)
        return core

    @staticmethod
    def sizes(shapes: Sequence[torch.Size]) -> tuple[int, ...]:
        """The dimensions of a weight, from its bases."""
        return tuple(shape[0] for shape in shapes[1:])


class TensorTrain(Factorised):
    """W[i_1, ..., i_N, t] = G_1[i_1] G_2[i_2] ... G_N[i_N] g[t]: a chain of matrices."""

    def __init__(self, stack: Tensor, tasks: Sequence[str], error: float) -> None:
        cores = []
        rest, rank = stack, 1
        for size in stack.shape[:-1]:
            u, s, vh = _decomposed(rest.reshape(rank * size, -1), error)
            cores.append(u.view(rank, size, -1))
            rest, rank = s[:, None] * vh, len(s)
        super().__init__(cores, rest.T, tasks)

    def weight(self, row: Tensor) -> Tensor:
        """The chain, from the task's end."""
        chain = row
        for core in reversed(list(self.factors)):
            chain = torch.tensordot(core, chain, dims=1)
        return chain.squeeze(0)

    @staticmethod
    def sizes(shapes: Sequence[torch.Size]) -> tuple[int, ...]:
        """The dimensions of a weight, from the chain."""
        return tuple(shape[1] for shape in shapes)


ROUNDING = 1e-10  # of singular values in float64, relative to the norm
FORMS: dict[str, type[LAF] | type[Tucker] | type[TensorTrain]] = {
    "laf": LAF,
    "tucker": Tucker,
    "tt": TensorTrain,
}


class _Row(nn.Module):
    """The vector of one task."""

    def __init__(self, row: Tensor) -> None:
        super().__init__()
        self.row = nn.Parameter(row.contiguous())

    def forward(self) -> Tensor:
        return self.row


def rank_within(values: Tensor, error: float) -> int:
    """The least rank that leaves out singular values of at most `error` of the norm; 1 at least.

    An error of 0 leaves out what is rounding.
    """
    squares = values.square()
    from_here = squares.flip(0).cumsum(dim=0).flip(0)
    return max(1, int((from_here > squares.sum() * max(error, ROUNDING) ** 2).sum()))


def _decomposed(matrix: Tensor, error: float) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition, cut at the rank that `error` allows."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    rank = rank_within(s, error)
    return u[:, :rank], s[:rank], vh[:rank]


def _along(tensor: Tensor, mode: int, matrix: Tensor) -> Tensor:
    """The product with a matrix along one dimension."""
    return torch.tensordot(matrix, tensor, dims=([1], [mode])).movedim(0, mode)
