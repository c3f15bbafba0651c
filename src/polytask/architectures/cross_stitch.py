"""Cross-stitch networks: one network a task, whose features are mixed linearly after stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._base import TaskLike
from polytask.architectures._columns import Columns, check_width
from polytask.architectures._layout import along
from polytask.architectures._options import rate, share_kept
from polytask.errors import UserError
from polytask.optimization.regularization import Terms


class CrossStitch(Columns):
    """Cross-stitch networks: one network a task, whose features are mixed linearly after stages.

    I. Misra et al., "Cross-Stitch Networks for Multi-task Learning", CVPR 2016,
    https://arxiv.org/abs/1604.03539. Every task has its own copy of the encoder (a column, as in
    `SingleTask`). After a stage, column i goes on with

        x~_i = sum_j alpha[i, j] x_j

    where x_j are the features of column j and alpha[i, j] one number a channel. At first
    alpha[i, i] is `keep`, and the rest of 1 is spread over the other columns. With alpha the
    identity (`keep` 1) the columns are the networks of `SingleTask`, to the bit. The learning
    rate of alpha is `alpha_rate` times the optimizer's, without weight decay: its natural scale
    is that of features, not of weights. A lone task has nothing to be mixed with: no alpha.

    What tasks share: all columns and alphas up to the last stitch, except that row alpha[i] of
    the last stitch, and what follows it in column i, are task i's own. Features: what the columns
    answer in front of the last stitch, one tensor a column. There, the gradient of task i is its
    gradient at x~_i times alpha[i, j].

    Traps: starting with all alphas at 1, as a published library does, adds the columns up: the
    features grow by the number of tasks with every stage. The paper starts from single-task
    networks that are trained already; columns that start at random have unlike channels, and
    mixing them says little at first: pass a trained encoder with `fresh=False` where there is
    one. Any one task at inference still costs all columns.

    Cost of a step: as many encoders as tasks, and tasks^2 multiply-adds of features a stitch.
    Parameters: as many encoders as tasks, and tasks^2 (times channels) a stitch.

    Args:
        encoder: any module, see `as_stages`; it is copied, never used.
        tasks: tasks by name, or in a list.
        per_channel: one alpha for every channel, as in the paper; False is one for all channels.
        keep: alpha[i, i] at first, in [0, 1].
        stages: after which stages columns are stitched, from 1. None: after every one, the last
            included. (The paper stitches after pooling layers and fully connected layers.)
        alpha_rate: learning rate of alpha as a multiple of the optimizer's. The paper trains with
            SGD and finds even higher ones better; the steps of Adam do not shrink with the
            gradient and need less.
        fresh: False starts every column from the weights of `encoder`: for a pretrained one.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.
        regularize: terms of the columns' weights, see `SingleTask`.

    Raises:
        UserError: as `SingleTask`; options out of range, or stages that do not exist. In
            `forward`: a stage that answers other channels than declared.

    """

    paper = "Misra 2016"
    shares = "linear mixtures of all tasks' features"
    requires = "stages of known width (not with per_channel: false)"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        per_channel: bool = True,
        keep: float = 0.9,
        stages: Sequence[int] | None = None,
        alpha_rate: float = 10.0,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
        regularize: Terms = (),
    ) -> None:
        self.keep = share_kept("keep", keep)
        self.alpha_rate = rate("alpha_rate", alpha_rate)
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
        self.widths: tuple[int, ...] = ()
        if per_channel and self.joined:
            self.widths = self.stage_widths(example)
        self.join(encoder)

    def unit(self, stage: int, column: int) -> nn.Module:
        """Row alpha[column] of the stitch after `stage`."""
        width = self.widths[stage - 1] if self.widths else None
        return _Row(stage, column, len(self.every), width, self.keep, self.channel_dim)

    def alphas(self, stage: int) -> Tensor:
        """How much each task's column takes of each, [tasks, tasks]: means over channels.

        Rows and columns are in the order of the tasks the model was built with; a pruned model
        no longer has the rows of other tasks at the last stitch: they are NaN. Raises `UserError`
        for a stage without a stitch.
        """
        if stage not in self.joined:
            raise UserError(f"there is no stitch after stage {stage}; found {self.joined}.")
        units = [self.joint(stage)[task] for task in self.every]
        some = next(unit for unit in units if unit is not None)
        absent = torch.full((len(units),), torch.nan, device=some.alpha.device)
        rows = [
            absent if unit is None else unit.alpha.detach().flatten(1).mean(dim=1) for unit in units
        ]
        return torch.stack(rows)

    def rate_factors(self) -> dict[str, float]:
        """The alphas, with `alpha_rate`."""
        return self.rates(self.alpha_rate)


class _Row(nn.Module):
    """Row i of a stitch, [columns, channels], or [columns, 1] for all channels alike."""

    def __init__(
        self,
        stage: int,
        column: int,
        columns: int,
        width: int | None,
        keep: float,
        channel_dim: int,
    ) -> None:
        super().__init__()
        alpha = torch.full((columns, width or 1), (1 - keep) / (columns - 1))
        alpha[column] = keep
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
        if before is None:
            self.alpha[column] = 1
        else:
            self.alpha[:-1] = before

    def forward(self, features: list[Tensor]) -> Tensor:
        """The mixture of the columns' features."""
        if self.width is not None:
            check_width(features[0], self.width, self.channel_dim, self.stage)
        terms = [
            along(alpha, h, self.channel_dim) * h
            for alpha, h in zip(self.alpha, features, strict=True)
        ]
        return sum(terms[1:], start=terms[0])
