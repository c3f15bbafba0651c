"""Sluice networks: one network a task, mixed by subspaces of features, and layers by weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from polytask.architectures._align import aligned
from polytask.architectures._base import TaskLike
from polytask.architectures._columns import Columns, check_width
from polytask.architectures._heads import as_new
from polytask.architectures._init import seeded
from polytask.architectures._layout import Context, Pointwise
from polytask.architectures._options import number, rate, share_kept
from polytask.architectures._per_task import PerTask
from polytask.architectures._subspaces import check_even, inner_products, output_weight
from polytask.errors import UserError, unknown
from polytask.optimization.regularization import Terms

INITS = ("own", "uniform", "imbalanced")
BIAS = 0.95  # towards one source subspace, with init "imbalanced"


class Sluice(Columns):
    """Sluice networks: one network a task, mixed by subspaces of features, and layers by weight.

    S. Ruder et al., "Latent Multi-task Architecture Learning", AAAI 2019 (first "Sluice networks",
    2017), https://arxiv.org/abs/1705.08142. Every task has its own copy of the encoder (a column,
    as in `SingleTask`). Three parts, each of which can be left out:

    *alpha.* The channels after a stage are split in two halves, the subspaces, so K columns give
    2K tensors. Subspace s of column i goes on with sum_j sum_r alpha[(i, s), (j, r)] h_(j, r):
    a task may take one half of another task's features and leave the other.

    *beta* (`skip`). What follows the stages (exit and head) of column i reads sum_l beta[i, l]
    h~_(i, l) over its features after all stages l. Layers of another width than the last are
    mapped to it by a linear map of their own, without bias; places are brought to those of the
    last (maps by average pooling; the mean where there are none at the end). The paper's layers
    are recurrent ones of equal width and length, which needs neither.

    *Orthogonality.* The term orthogonality * sum ||G_1^T G_2||_F^2 keeps the subspaces apart, over
    tasks and joined stages; the columns of G_s are the weights that lead into the units of
    subspace s, in the last linear or convolutional layer registered in the stage that answers all
    its channels. It is 0 when every unit of one half is orthogonal to every unit of the other.
    (The paper leaves its weight to tuning; it is a sum, so it grows with width.) The attribute
    `constrained` names the weights.

    With alpha the identity (`keep` 1) and beta the last layer (`last` 1) the columns are the
    networks of `SingleTask`, to the bit. A lone task has nothing to be mixed with: it has beta
    alone. Alpha and beta learn at `alpha_rate` times the optimizer's rate, without weight decay.

    What tasks share: all columns and alphas up to the last joint, except that the two rows of
    alpha of column i there, and what follows, are task i's own, as are beta and its maps.
    Features: what the columns answer in front of the last joint, and what beta reads of earlier
    layers.

    Where paper and published code differ, the paper is followed. The code reshapes arrays in
    column-major order as if they were row-major: its rows of alpha and beta hold neighbouring
    units of one task or layer rather than subspaces of all tasks, and its penalty splits even
    from odd units and multiplies the transposed matrices (found by reading, not by running it).
    What the code calls balanced is `init="uniform"`. Its imbalanced start gives rows that sum to
    the number of tasks, so features double with every layer of two tasks; here they sum to 1.

    Trap: under "uniform" and "imbalanced" both halves of a column start with the same mixture, so
    half of the features is lost at first. With beta, a stage that changes its input in place
    spoils what is read of it.

    Cost of a step: as many encoders as tasks, 4 * tasks^2 multiply-adds of half the features a
    joint, and the penalty's products of weights. Parameters: as many encoders as tasks, 4 *
    tasks^2 a joint, and the maps of beta.

    Args:
        encoder: any module, see `as_stages`; it is copied, never used.
        tasks: tasks by name, or in a list.
        init: how alpha starts. "own": `keep` for a subspace itself, the rest of 1 spread over all
            others. "uniform": all equal. "imbalanced": .95 spread over one source subspace of
            each column (by turns the second and the first, task by task), .05 over the others.
        keep: see there, in [0, 1]; for "own" alone.
        skip: whether there is beta.
        last: beta of the last layer at first, in [0, 1]; the rest of 1 is spread over the others.
        orthogonality: weight of the penalty, 0 for none.
        stages: after which stages columns are joined, from 1. None: after every one.
        alpha_rate: learning rate of alpha and beta as a multiple of the optimizer's.
        fresh: False starts every column from the weights of `encoder`: for a pretrained one.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.
        regularize: terms of the columns' weights, see `SingleTask`.

    Raises:
        UserError: as `SingleTask`; options out of range, or stages that do not exist; a joined
            stage with an odd number of channels; a penalty without a layer it could read. In
            `forward`: a stage that answers other channels than declared, or layers whose places
            do not correspond.

    """

    paper = "Ruder 2019"
    shares = "linear mixtures of halves of all tasks' features"
    requires = "stages of known, even width"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        init: Literal["own", "uniform", "imbalanced"] = "own",
        keep: float = 0.9,
        skip: bool = True,
        last: float = 0.9,
        orthogonality: float = 1e-3,
        stages: Sequence[int] | None = None,
        alpha_rate: float = 10.0,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
        regularize: Terms = (),
    ) -> None:
        if init not in INITS:
            raise unknown("init of alpha", init, INITS)
        self.init = init
        self.keep = share_kept("keep", keep)
        self.alpha_rate = rate("alpha_rate", alpha_rate)
        self.orthogonality = number(
            "orthogonality", orthogonality, zero=True, hint="0 is no penalty"
        )
        last = share_kept("last", last)
        super().__init__(
            encoder,
            tasks,
            stages=stages,
            fresh=fresh,
            head_hidden=head_hidden,
            heads=heads,
            example=example,
            regularize=regularize,
        )
        skip = skip and self.depth > 1
        known = bool(self.joined) or skip
        self.widths = self.stage_widths(example) if known else ()
        for stage in self.joined:
            check_even(stage, self.widths[stage - 1])
        self.join(encoder)
        skips: dict[str, nn.Module] = {}
        for task in self.every if skip else ():
            with seeded(self.seed, f"skip/{task}"), torch.device("cpu"):
                made = _Skip(self.widths, last, self.channel_dim)
            skips[task] = as_new(made, encoder)
        self.skips = PerTask(skips)
        self.constrained = self._constrained() if self.orthogonality and self.joined else ()

    def unit(self, stage: int, column: int) -> nn.Module:
        """The two rows of alpha of a column."""
        alpha = _start(self.init, column, len(self.every), self.keep)
        return _Halves(stage, alpha, self.widths[stage - 1], self.channel_dim)

    def reads_early(self) -> bool:
        """Whether there is beta."""
        return len(self.skips) > 0

    def gather(self, task: str, trail: list[Tensor], context: Context) -> Tensor:
        """The sum of all layers by beta, or the last."""
        if not self.reads_early():
            return trail[-1]
        mixed: Tensor = self.skips[task](trail, context)
        return mixed

    def penalties(self) -> dict[str, Tensor]:
        """The orthogonality of the subspaces, beside the terms of other kinds."""
        parameters = dict(self.named_parameters())
        weights = [parameters[name] for name in self.constrained if name in parameters]
        learned = [inner_products(weight) for weight in weights if weight.requires_grad]
        if not learned:
            return super().penalties()
        term = self.orthogonality * sum(learned[1:], start=learned[0])
        return super().penalties() | {"orthogonality": term}

    def rate_factors(self) -> dict[str, float]:
        """Alphas and betas, with `alpha_rate`."""
        betas = (n for n, _ in self.named_parameters() if n.startswith("skips."))
        beside = {name: self.alpha_rate for name in betas if name.endswith(".beta")}
        return self.rates(self.alpha_rate) | (beside if self.alpha_rate != 1 else {})

    def _constrained(self) -> tuple[str, ...]:
        """Names of the weights whose subspaces the penalty keeps apart."""
        named = {id(parameter): name for name, parameter in self.named_parameters()}
        found = []
        for task in self.every:
            for stage in self.joined:
                weight = output_weight(self.column(task).stages[stage - 1], self.widths[stage - 1])
                if weight is not None and id(weight) in named:
                    found.append(named[id(weight)])
        if not found:
            raise UserError(
                "the penalty of orthogonality reads the linear or convolutional layer that answers "
                "the channels of a stage, and found none in any stage. Pass orthogonality=0."
            )
        return tuple(found)


class _Halves(nn.Module):
    """The two rows of alpha that make the subspaces of one column, [2, 2 * columns]."""

    def __init__(self, stage: int, alpha: Tensor, width: int, channel_dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(alpha)
        self.stage = stage
        self.width = width
        self.channel_dim = channel_dim

    @torch.no_grad()
    def start_without(self, column: int, before: Tensor | None) -> None:
        """Take nothing of the last column, and of the others what was taken `before`.

        None: there was one column alone, number `column`.
        """
        self.alpha.zero_()
        if before is not None:
            self.alpha[:, :-2] = before
            return
        for half in (0, 1):
            self.alpha[half, 2 * column + half] = 1

    def forward(self, features: list[Tensor]) -> Tensor:
        """The mixed features of the column."""
        check_width(features[0], self.width, self.channel_dim, self.stage)
        dim = 1 if self.channel_dim == 1 else -1
        halves = [half for h in features for half in h.chunk(2, dim=dim)]
        mixed = []
        for row in self.alpha:
            terms = [weight * half for weight, half in zip(row, halves, strict=True)]
            mixed.append(sum(terms[1:], start=terms[0]))
        return torch.cat(mixed, dim=dim)


class _Skip(nn.Module):
    """beta of one task, and the maps of layers of another width than the last."""

    def __init__(self, widths: Sequence[int], last: float, channel_dim: int) -> None:
        super().__init__()
        beta = torch.full((len(widths),), (1 - last) / (len(widths) - 1))
        beta[-1] = last
        self.beta = nn.Parameter(beta)
        self.maps = nn.ModuleList(
            nn.Identity()
            if width == widths[-1]
            else Pointwise(width, widths[-1], channel_dim, bias=False)
            for width in widths
        )
        self.channel_dim = channel_dim

    def forward(self, trail: list[Tensor], context: Context) -> Tensor:
        """The layers' sum, with channels and places of the last."""
        terms = [
            beta * mapped(aligned(h, trail[-1], self.channel_dim, context))
            for beta, mapped, h in zip(self.beta, self.maps, trail, strict=True)
        ]
        return sum(terms[1:], start=terms[0])


def _start(init: str, column: int, columns: int, keep: float) -> Tensor:
    """The two rows of alpha of a column at first, [2, 2 * columns]; their sums are 1."""
    if init == "uniform":
        return torch.full((2, 2 * columns), 1 / (2 * columns))
    if init == "imbalanced":
        alpha = torch.full((2, 2 * columns), (1 - BIAS) / columns)
        alpha[:, (column + 1) % 2 :: 2] = BIAS / columns
        return alpha
    alpha = torch.full((2, 2 * columns), (1 - keep) / (2 * columns - 1))
    for half in (0, 1):
        alpha[half, 2 * column + half] = keep
    return alpha
