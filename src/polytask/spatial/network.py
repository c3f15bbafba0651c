"""A network with Moran helper tasks: the shared part reads the grid, and its Moran maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import Architecture, draw_seed, unwrap
from polytask.architectures._base import Features, TaskLike
from polytask.architectures._heads import build_heads
from polytask.architectures._inputs import channel_dim_of, representation_width
from polytask.architectures._represent import represent
from polytask.architectures.stages import adapted
from polytask.errors import UserError, unknown
from polytask.spatial._maps import moran_maps


class MoranNetwork(Architecture):
    """One shared encoder, used on the grid for main tasks and on its Moran maps for helpers.

    K. Klemmer & D. B. Neill, "Auxiliary-task learning for geographic data with autoregressive
    embeddings", SIGSPATIAL 2021, https://arxiv.org/abs/2006.10461. With encoder f, output t of a
    main task is h_t(f(x)); a helper task that is to predict the local Moran's I of the target at
    resolution r answers h_t(f(M_r(x))), where M_r(x) is that of the input. One helper of level 0
    is the paper's MAT, one for each level its MRES-MAT; the loss is L_main + λ sum of L_helper
    (method "linear" with `weights`; `fit_lambda` chooses λ on validation). The recipe
    `multiresolution_moran` makes the helpers, normalize="minmax" as in the published code. Main
    tasks alone make it hard sharing.

    The second input is in the published code alone (https://github.com/konstantinklemmer/sxl,
    whose predictive models have level 0 only), and so is bringing each map to [-1, 1]; both are
    followed. Another departure is ours: in training the encoder sees the grid and the maps in
    one pass, [x; M_0(x); ...] along the batch, so that batch normalisation learns the statistics
    that it uses later. In two passes, as there, its running means would be those of neither.

    Cost of a step: 1 + number of levels in use encoder passes; at prediction of the main task, 1.
    No gradient runs through a Moran map, and a map reads its own grid alone.

    Args:
        encoder: any module from grids [N, C, H, W] to [N, d] or [N, d, H', W'].
        tasks: main and helper tasks.
        helpers: helper task to its level (0 is full resolution); every other task is a main one.
        head_hidden: widths of hidden layers of every default head.
        heads: modules to use as heads of the tasks they name, as in `upscaling_network`.
        grid: name of the grid in a dictionary of inputs; the only one when left out.
        example: one batch of inputs, for a dry run of the encoder when it does not say its
            `output_size`.

    Raises:
        UserError: a helper that is no task, a level below 0, no main task; an input that is no
            grid, or too small for the levels.

    """

    paper = "Klemmer & Neill 2021"
    shares = "the whole encoder, on two inputs"

    def __init__(
        self,
        encoder: nn.Module,
        tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
        helpers: Mapping[str, int],
        head_hidden: Sequence[int] = (),
        heads: Mapping[str, nn.Module] | None = None,
        grid: str | None = None,
        example: Any = None,
    ) -> None:
        super().__init__(encoder, tasks)
        self.helpers = _checked(helpers, self.task_names)
        self.grid = grid
        encoder = adapted(encoder)
        seen = None if example is None else unwrap(example, grid)
        self.width = representation_width(encoder, seen)
        self.encoder = encoder
        self.heads = build_heads(
            self.outputs,
            self.width,
            encoder,
            hidden=head_hidden,
            given=heads,
            seed=draw_seed(),
            channel_dim=channel_dim_of(encoder),
        )

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Features]:
        """The encoder on the grid and on the maps that these tasks need, then their heads."""
        grid = unwrap(x, self.grid)
        wanted = sorted({self.helpers.get(task, -1) for task in tasks})  # -1: the grid itself
        maps = moran_maps(grid, max(wanted) + 1) if max(wanted) >= 0 else []
        seen = [grid if level < 0 else maps[level] for level in wanted]
        if self.training:
            features: Features = represent(self.encoder, torch.cat(seen), self.width)[0]
            assert isinstance(features, Tensor)
            parts = features.split(len(grid))
        else:
            # One by one: what a task answers must not depend on which others are asked for.
            parts = tuple(represent(self.encoder, one, self.width)[0] for one in seen)
            features = list(parts)
        read = dict(zip(wanted, parts, strict=True))
        outputs = {
            task: self.heads.answer(task, read[self.helpers.get(task, -1)]) for task in tasks
        }
        return outputs, features


def _checked(helpers: Mapping[str, int], tasks: Sequence[str]) -> dict[str, int]:
    """The levels by helper. Raises `UserError` for what is no level of a task."""
    if not isinstance(helpers, Mapping):
        raise UserError(
            f"helpers= must say the level of every helper task, found {helpers!r}. Write "
            "helpers={'height_moran': 0}."
        )
    for task, level in helpers.items():
        if task not in tasks:
            raise unknown("helper task", task, tasks)
        if type(level) is not int or level < 0:
            raise UserError(
                f"the level of helper {task!r} must be a whole number of at least 0, found "
                f"{level!r}; 0 is full resolution, 1 means of 2 x 2 cells."
            )
    if set(helpers) == set(tasks):
        raise UserError(
            "every task is a helper; expected a main task, which reads the grid itself. Leave one "
            "out of helpers=."
        )
    return dict(helpers)
