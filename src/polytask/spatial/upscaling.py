"""From a coarse grid to a fine one: the paper's small networks of transposed convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn

from polytask.architectures import draw_seed, seeded
from polytask.architectures._base import TaskLike
from polytask.errors import UserError, unknown
from polytask.spatial.network import MoranNetwork

WIDTHS = {2: 32, 4: 16}
"""Channels of the shared part by scale, in the published code (CNN_32 and CNN_16)."""


class Upscaling(nn.Sequential):
    """The shared part: a transposed convolution that doubles the grid, normalised, ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.output_size = width


def upscaling_network(
    tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
    helpers: Mapping[str, int] | None = None,
    scale: int = 2,
    width: int | None = None,
    channels: int = 1,
) -> MoranNetwork:
    """A `MoranNetwork` that fills in a grid of which every 2nd or 4th cell is known.

    Klemmer & Neill 2021, https://arxiv.org/abs/2006.10461; the layers are those of the published
    code. Input [N, channels, H, W], output [N, 1, scale H, scale W] for every task. Shared:
    ConvT(channels -> width), batch norm, ReLU at twice the size. Heads for scale 2:
    ConvT(width -> 2 width), batch norm, ReLU, then a convolution of stride 2; for scale 4:
    ConvT(width -> 1). Every kernel is 4 x 4. Departure: no tanh at the end, since targets are
    standardised here and not brought to [0, 1] by the range of the answer.

    Drawn from torch's generator: a network with helpers starts from the same shared part and
    the same main head as one without.

    Args:
        tasks: regression tasks with one output at every place of the fine grid.
        helpers: helper task to its level, as in `MoranNetwork`; none is the plain CNN.
        scale: 2 or 4.
        width: of the shared part; 32 for scale 2 and 16 for scale 4 when left out.
        channels: of the input.

    Raises:
        UserError: another scale, a width below 1, a task with several outputs or without places.
    """
    if scale not in WIDTHS:
        raise unknown("scale", scale, map(str, WIDTHS))
    width = WIDTHS[scale] if width is None else width
    if width < 1 or channels < 1:
        raise UserError(f"width and channels must be at least 1, found {width} and {channels}.")
    named = list(tasks.values() if isinstance(tasks, Mapping) else tasks)
    for task in named:
        if task.output_size != 1 or len(getattr(task, "places", ())) != 2:
            raise UserError(
                f"task {task.name!r} has {task.output_size} outputs and the places "
                f"{getattr(task, 'places', ())}; expected one output on a grid. Fit the task to "
                "targets [N, H, W]."
            )
    trunk, seed = Upscaling(channels, width), draw_seed()
    heads: dict[str, nn.Module] = {}
    for task in named:
        with seeded(seed, task.name):
            heads[task.name] = _head(width, scale)
    return MoranNetwork(trunk, named, helpers or {}, heads=heads)


def _head(width: int, scale: int) -> nn.Module:
    if scale == 4:
        return nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1)
    return nn.Sequential(
        nn.ConvTranspose2d(width, 2 * width, 4, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Conv2d(2 * width, 1, 4, stride=2, padding=1),
    )
