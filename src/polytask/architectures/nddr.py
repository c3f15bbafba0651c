"""NDDR-CNN: one network a task, whose features are fused by 1x1 convolutions after stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._align import aligned
from polytask.architectures._base import TaskLike
from polytask.architectures._columns import Columns, check_width
from polytask.architectures._heads import as_new
from polytask.architectures._init import seeded
from polytask.architectures._layout import ChannelNorm, Context, Pointwise
from polytask.architectures._options import rate, share_kept
from polytask.architectures._per_task import PerTask
from polytask.optimization.regularization import Terms


class NDDR(Columns):
    """NDDR-CNN: one network a task, whose features are fused by 1x1 convolutions after stages.

    Y. Gao et al., "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural Discriminative
    Dimensionality Reduction", CVPR 2019, https://arxiv.org/abs/1801.08297. Every task has its own
    copy of the encoder (a column, as in `SingleTask`). After a stage, column i goes on with

        x'_i = ReLU(BN(W_i [x_1; ...; x_K]))

    where x_j are the features of column j, put together along channels, and W_i maps channels
    alone (a 1x1 convolution; a linear layer where there are no places). W_i starts with blocks
    that are multiples of the identity: `keep` for x_i itself, the rest of 1 spread over the other
    columns. Without norm and activation, `keep` 1 is the networks of `SingleTask`. A lone task
    has nothing to be fused with: no such layers.

    With `shortcut`, what follows the stages (exit and head) of column i reads a linear map of
    the features of column i after all stages, brought to the places of the last ones: maps by
    average pooling (the published code samples them bilinearly), where there are no places at the
    end by the mean over places.

    What tasks share: all columns and W_i up to the last layer of this kind; that one's W_i, and
    what follows it in column i, are task i's own. Features: what the columns answer in front of
    the last one, and what the shortcuts read of earlier ones.

    Where paper and published code differ: its layer takes norm and activation from the settings
    of the network around it, so that without norm there is none; here as in the paper.

    Traps: the activation cuts off what is negative, which features of a residual stream or of a
    tanh need: pass `activation=False` for them. Batch norm counts padded tokens: pass `norm=False`
    for them. The learning rate of W_i is `nddr_rate` times the optimizer's, for SGD as in the
    paper; with Adam, whose steps do not shrink with the gradient, W_i leaves its start within
    some ten steps at 100 times a rate of 1e-3: lower it where the start matters, as it does with
    pretrained columns. With `shortcut`, a stage that changes its input in place spoils it.

    Cost of a step: as many encoders as tasks, and tasks^2 1x1 convolutions a stage. Parameters:
    as many encoders as tasks, and (tasks * channels)^2 a stage.

    Args:
        encoder: any module, see `as_stages`; it is copied, never used.
        tasks: tasks by name, or in a list.
        keep: weight of a column's own features at first, in [0, 1].
        norm: batch normalisation after W_i (which then has no bias).
        activation: ReLU after that.
        stages: after which stages features are fused, from 1. None: after every one.
        shortcut: heads read the features after all stages, see above.
        nddr_rate: learning rate of W_i and its norm, a multiple of the optimizer's.
        fresh: False starts every column from the weights of `encoder`: for a pretrained one, as
            in the paper.
        head_hidden: widths of hidden layers of every default head; none is one linear layer.
        heads: modules to use as heads of the tasks they name.
        example: one batch of inputs, for a dry run where widths of stages are not declared.
        regularize: terms of the columns' weights, see `SingleTask`.

    Raises:
        UserError: as `SingleTask`; options out of range, or stages that do not exist. In
            `forward`: a stage that answers other channels than declared, or a shortcut between
            features whose places do not correspond.

    """

    paper = "Gao 2019"
    shares = "learned fusions of all tasks' features"
    requires = "stages of known width"
    no_new_task = (
        "its maps read the features of all columns in one product, where one column more changes "
        "the rounding, and its norms count all. cross_stitch mixes columns too and takes one more."
    )

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        keep: float = 0.9,
        norm: bool = True,
        activation: bool = True,
        stages: Sequence[int] | None = None,
        shortcut: bool = False,
        nddr_rate: float = 100.0,
        fresh: bool = True,
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        example: Any = None,
        regularize: Terms = (),
    ) -> None:
        self.keep = share_kept("keep", keep)
        self.nddr_rate = rate("nddr_rate", nddr_rate)
        self.norm, self.activation = norm, activation
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
        self.widths = self.stage_widths(example) if self.joined or shortcut else ()
        self.join(encoder)
        shortcuts: dict[str, nn.Module] = {}
        # Of one stage alone there is nothing to skip.
        if shortcut and self.depth > 1:
            for task in self.every:
                with seeded(self.seed, f"shortcut/{task}"), torch.device("cpu"):
                    made = Pointwise(sum(self.widths), self.widths[-1], self.channel_dim)
                shortcuts[task] = as_new(made, encoder)
        self.shortcuts = PerTask(shortcuts)

    def unit(self, stage: int, column: int) -> nn.Module:
        """W_i, norm and activation."""
        return _Fusion(
            stage,
            column,
            len(self.every),
            self.widths[stage - 1],
            self.keep,
            self.channel_dim,
            norm=self.norm,
            activation=self.activation,
        )

    def reads_early(self) -> bool:
        """Whether shortcuts read features of all stages."""
        return len(self.shortcuts) > 0

    def gather(self, task: str, trail: list[Tensor], context: Context) -> Tensor:
        """The last features, or the shortcut's map of all."""
        if not self.reads_early():
            return trail[-1]
        parts = [aligned(h, trail[-1], self.channel_dim, context) for h in trail]
        fused: Tensor = self.shortcuts[task](torch.cat(parts, dim=_channels(self.channel_dim)))
        return fused

    def rate_factors(self) -> dict[str, float]:
        """The fusing layers, with `nddr_rate`."""
        return self.rates(self.nddr_rate)


class _Fusion(nn.Module):
    """x'_i: from the features of all columns to those of one."""

    def __init__(
        self,
        stage: int,
        column: int,
        columns: int,
        width: int,
        keep: float,
        channel_dim: int,
        *,
        norm: bool,
        activation: bool,
    ) -> None:
        super().__init__()
        self.linear = Pointwise(columns * width, width, channel_dim, bias=not norm)
        shares = [keep if j == column else (1 - keep) / (columns - 1) for j in range(columns)]
        with torch.no_grad():
            self.linear.weight.copy_(torch.cat([s * torch.eye(width) for s in shares], dim=1))
            if self.linear.bias is not None:
                self.linear.bias.zero_()
        self.norm: nn.Module = ChannelNorm(width, channel_dim) if norm else nn.Identity()
        self.activation: nn.Module = nn.ReLU() if activation else nn.Identity()
        self.stage = stage
        self.width = width
        self.channel_dim = channel_dim

    def forward(self, features: list[Tensor]) -> Tensor:
        """The fused features."""
        check_width(features[0], self.width, self.channel_dim, self.stage)
        together = torch.cat(features, dim=_channels(self.channel_dim))
        fused: Tensor = self.activation(self.norm(self.linear(together)))
        return fused


def _channels(channel_dim: int) -> int:
    return 1 if channel_dim == 1 else -1
