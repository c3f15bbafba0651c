"""Prediction distillation: features of every task, refined, passed on and weighed.

What `PADNet` and `MTINet` are made of. All parts serve maps [N, C, H, W], tokens and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from polytask.architectures._heads import Head, Output, as_new
from polytask.architectures._init import seeded
from polytask.architectures._inputs import dry_run
from polytask.architectures._layout import Context, Pointwise, along, pooled
from polytask.architectures._per_task import PerTask
from polytask.architectures._represent import represent

M = TypeVar("M", bound=nn.Module)


class Local(nn.Module):
    """A 3x3 convolution of a map; elsewhere a linear map of the channels at every place."""

    def __init__(self, before: int, after: int, channel_dim: int, maps: bool) -> None:
        super().__init__()
        self.layer: nn.Module = Pointwise(before, after, channel_dim)
        if maps:
            self.layer = nn.Conv2d(before, after, 3, padding=1)
        self.moves = maps and channel_dim == -1

    def forward(self, h: Tensor) -> Tensor:
        """Answer the features with `after` channels, in the layout they came in."""
        after: Tensor = self.layer(h.movedim(-1, 1) if self.moves else h)
        return after.movedim(1, -1) if self.moves else after


class PlaceNorm(nn.LayerNorm):
    """Normalises the channels of every place by themselves, in either layout.

    So items do not see each other, and what stands at padding is not seen elsewhere.
    """

    def __init__(self, channels: int, channel_dim: int) -> None:
        super().__init__(channels)
        self.channel_dim = channel_dim

    def forward(self, h: Tensor) -> Tensor:
        """Answer the features, in the layout they came in."""
        if self.channel_dim == -1 or h.dim() == 2:
            return super().forward(h)
        return super().forward(h.movedim(1, -1)).movedim(-1, 1)


class Refine(nn.Module):
    """Features of `after` channels: a linear map p at every place, then one residual block.

    p + second(GELU(first(norm(p)))). Its way past the norm keeps how strong features are.
    """

    def __init__(self, before: int, after: int, channel_dim: int, maps: bool) -> None:
        super().__init__()
        self.project = Pointwise(before, after, channel_dim)
        self.norm = PlaceNorm(after, channel_dim)
        self.first = Local(after, after, channel_dim, maps)
        self.second = Local(after, after, channel_dim, maps)

    def forward(self, h: Tensor) -> Tensor:
        """The projection and what the block adds to it."""
        base: Tensor = self.project(h)
        added: Tensor = self.second(gelu(self.first(self.norm(base))))
        return base + added


class Distil(nn.Module):
    """What a task takes from the features of the others: F + sum_j sigmoid(gate F) * (W_j F_j).

    The gate is of the task's own features F: one for all messages, or one a message.
    """

    def __init__(self, messages: Sequence[nn.Module], gates: Sequence[nn.Module]) -> None:
        super().__init__()
        self.messages = nn.ModuleList(messages)
        self.gates = nn.ModuleList(gates)

    def forward(self, own: Tensor, others: Sequence[Tensor]) -> Tensor:
        """The task's features with the gated messages of the others, in their order, added."""
        gates = [gate(own).sigmoid() for gate in self.gates]
        if len(gates) == 1:
            gates *= len(others)
        for gate, message, other in zip(gates, self.messages, others, strict=True):
            own = own + gate * message(other)
        return own


class Squeeze(nn.Module):
    """Squeeze and excitation: every channel times a gate in (0, 1) of the means of all of them.

    GELU between its two layers: so few units with ReLU may all be 0 for every item, for good.
    """

    def __init__(self, width: int, channel_dim: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        self.layers = nn.Sequential(
            nn.Linear(width, narrow), nn.GELU(), nn.Linear(narrow, width), nn.Sigmoid()
        )
        self.channel_dim = channel_dim

    def forward(self, h: Tensor, context: Context) -> Tensor:
        """The features, rescaled."""
        gate = self.layers(pooled(h, self.channel_dim, context))
        if "segments" in context and len(h) == len(context["segments"]):
            gate = gate[context["segments"]]
        return h * along(gate, h, self.channel_dim)


class Propagate(nn.Module):
    """The features of all tasks at one scale, mixed, for the next finer one.

    w = softmax over the TASKS of f(F_1, ..., F_T), for every channel and place; what is passed to
    task i is F_i + SE_i(reduce(w * F)).
    """

    def __init__(self, tasks: int, width: int, channel_dim: int, maps: bool) -> None:
        super().__init__()
        wide = tasks * width
        narrow = max(4, wide // 4)
        # One task has weight 1 whatever f says: there is nothing to learn.
        self.score: nn.Module | None = None
        if tasks > 1:
            self.score = nn.Sequential(
                Refine(wide, narrow, channel_dim, maps), Pointwise(narrow, wide, channel_dim)
            )
        self.reduce = Refine(wide, width, channel_dim, maps)
        self.excite = nn.ModuleList(Squeeze(width, channel_dim) for _ in range(tasks))
        self.channel_dim = channel_dim

    def weights(self, features: Sequence[Tensor]) -> Tensor:
        """The tasks' shares, [N, tasks, width, ...] (channels last: [..., tasks, width])."""
        together = torch.cat(list(features), dim=self.channel_dim)
        scores = together * 0 if self.score is None else self.score(together)
        apart = scores.unflatten(self.channel_dim, (len(features), -1))
        return apart.softmax(dim=1 if self.channel_dim == 1 else -2)

    def forward(self, features: Sequence[Tensor], context: Context) -> list[Tensor]:
        """What every task passes on, in their order."""
        stacked = torch.stack(list(features), dim=1 if self.channel_dim == 1 else -2)
        weighed = self.weights(features) * stacked
        start = 1 if self.channel_dim == 1 else -2
        mixed = self.reduce(weighed.flatten(start, start + 1))
        return [own + se(mixed, context) for own, se in zip(features, self.excite, strict=True)]


def axes_of(encoder: nn.Module, example: Any, places: Iterable[Sequence[int]]) -> int:
    """How many axes of places the encoder's answer has: as seen on one batch, else as tasks have.

    2 for maps, 1 for tokens, 0 for rows. Raises `UserError` for an example it cannot read.
    """
    if example is None:
        return max(map(len, places))
    return dry_run(encoder, lambda x: represent(encoder, x)[0].dim() - 2, example)


def others(task: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """All of these tasks but one, in their order: those that send it messages."""
    return tuple(other for other in tasks if other != task)


def drawn(seed: int, name: str, like: nn.Module, make: Callable[..., M], *arguments: Any) -> M:
    """`make(*arguments)` from the stream `(seed, name)`, on the device of the encoder `like`."""
    # On the CPU first, so that the seeded stream decides whatever the default device.
    with seeded(seed, name), torch.device("cpu"):
        module = make(*arguments)
    placed: M = as_new(module, like)
    return placed


def early_heads(
    outputs: Mapping[str, Output], width: int, like: nn.Module, seed: int, dim: int, at: str = ""
) -> PerTask:
    """A linear head for every task's early answer; `at` tells the places of several apart."""
    return PerTask(
        {
            task: drawn(seed, f"initial/{task}{at}", like, Head, width, output, (), dim)
            for task, output in outputs.items()
        }
    )


def own_parts(
    names: Collection[str], parts: str, tasks: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Which of these parameters are of one task alone, where `parts` is a list of one a task."""
    return {
        name: (task,)
        for i, task in enumerate(tasks)
        for name in names
        if name.startswith(f"{parts}.{i}.")
    }
