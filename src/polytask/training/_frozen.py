"""Small heads on representations that stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from polytask.architectures import as_stages
from polytask.architectures._heads import Head, Output
from polytask.architectures._init import seeded
from polytask.architectures._layout import pooled
from polytask.data import Batches
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.tasks._items import present
from polytask.training.representation import at_rest, drawn, encoder_of, through

VALUES = 2**25
"""Most numbers of one representation: those of large maps would fill the memory."""
HELD_OUT = 5
"""One labelled row in so many is kept from the fit, and tells when to stop."""
FEWEST = 10
"""Labelled rows below which none is kept."""
ITERATIONS, ROUNDS, PATIENCE = 5, 40, 3
"""Of L-BFGS: iterations between two looks at the rows kept, looks, and looks without progress."""


@dataclass(frozen=True)
class Frozen:
    """What heads read of some rows: one vector an item, and one at every place where wanted."""

    items: Tensor
    """[N, C]."""
    places: Tensor | None
    """[N, C, ...] or [N, ..., C]."""
    channel_dim: int
    targets: dict[str, Tensor]

    def of(self, task: Task) -> Tensor:
        """What the head of a task reads."""
        return self.items if not task.places or self.places is None else self.places


def freeze(model: nn.Module, batches: Batches, tasks: Mapping[str, Task], rows: int) -> Frozen:
    """The representation of rows drawn evenly, at most `rows`, fewer where maps are large.

    Raises `UserError` for a network without an encoder of its own.
    """
    encoder = encoder_of(model)
    if encoder is None:
        raise UserError(f"expected a network with one encoder, found {type(model).__name__}.")
    staged = as_stages(encoder)
    dense = any(task.places for task in tasks.values())
    items: list[Tensor] = []
    places: list[Tensor] = []
    targets: dict[str, list[Tensor]] = {name: [] for name in tasks}
    with at_rest(model) as device:
        if dense:
            ((first, _),) = drawn(batches, 1)
            *_, (h, _) = through(staged, _on(first, device))
            rows = max(1, min(rows, VALUES // h.numel()))
        for inputs, known in drawn(batches, rows):
            *_, (h, context) = through(staged, _on(inputs, device))
            items.append(pooled(h, staged.channel_dim, context).float().cpu())
            if dense:
                places.append(h.float().cpu())
            for name, parts in targets.items():
                parts.append(known[name])
    return Frozen(
        torch.cat(items),
        torch.cat(places) if dense else None,
        staged.channel_dim,
        {name: torch.cat(parts) for name, parts in targets.items()},
    )


def fit_head(task: Task, train: Frozen, hidden: Sequence[int] = (), seed: int = 0) -> nn.Module:
    """A head that learns the task from frozen features by its own loss; the same for every call.

    Features are standardised by these rows. L-BFGS over all of them, but for every fifth labelled
    one, which chooses when to stop. A linear head starts at 0; hidden layers are drawn by `seed`
    and the task's name. Without any label it stays as it starts.
    """
    z, target = train.of(task), train.targets[task.name]
    rows = task.labelled(target).reshape(len(target), -1).any(1)
    z, target = z[rows], target[rows]
    scale = _Standardised(z, train.channel_dim)
    with seeded(seed, task.name):
        head = Head(
            scale.channels, Output(task.output_size, task.places), hidden, train.channel_dim
        )
    if not hidden:
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
    if len(target):
        every = HELD_OUT if len(target) >= FEWEST else len(target) + 1
        held = torch.arange(1, len(target) + 1) % every == 0
        kept = held if every == HELD_OUT else ~held
        _minimise(task, head, (scale(z[~held]), target[~held]), (scale(z[kept]), target[kept]))
    return nn.Sequential(scale, head)


def row_losses(task: Task, output: Tensor, target: Tensor) -> np.ndarray:
    """The task's loss of every row, float64 [N]: the mean over its outputs and places.

    NaN for rows without a label; a loss that is not finite is infinity.
    """
    counts = present(task.kind, target).reshape(len(target), -1).sum(1)
    if task.kind == "custom":
        counts = counts.clamp(max=1)
    with torch.no_grad():
        losses = task.item_losses(*task.items(output, target)).double()
    owner = torch.arange(len(target)).repeat_interleave(counts)
    total = torch.zeros(len(target), dtype=torch.float64).index_add_(0, owner, losses)
    found = torch.where(counts > 0, total / counts.clamp(min=1), torch.nan)
    unknown = counts == 0
    return torch.where(found.isfinite() | unknown, found, torch.inf).numpy()


class _Standardised(nn.Module):
    """Channels with mean 0 and standard deviation 1 over given features; constant ones are 0."""

    def __init__(self, z: Tensor, channel_dim: int) -> None:
        super().__init__()
        # Vectors have their channels last in either layout.
        self.dim = -1 if z.dim() == 2 else channel_dim
        flat = z.movedim(self.dim, -1).flatten(0, -2).double()
        self.channels = int(flat.shape[1])
        std = flat.std(0, unbiased=False) if len(flat) else flat.new_zeros(self.channels)
        self.mean = (flat.mean(0) if len(flat) else std).float()
        self.std = torch.where(std > 1e-6 * std.max(), std, torch.inf).float()

    def forward(self, z: Tensor) -> Tensor:
        last = (z.movedim(self.dim, -1) - self.mean) / self.std
        return last.movedim(-1, self.dim)


def _minimise(
    task: Task,
    head: nn.Module,
    train: tuple[Tensor, Tensor],
    held: tuple[Tensor, Tensor],
) -> None:
    """Fit `head` in place, to the weights that are best on `held`."""
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = task.loss(head(train[0]), train[1]).value
        value.backward()
        return value

    def look() -> float:
        with torch.no_grad():
            return float(task.loss(head(held[0]), held[1]).value)

    least, best, since = look(), copy.deepcopy(head.state_dict()), 0
    for _ in range(ROUNDS):
        with torch.enable_grad():
            optimizer.step(closure)
        value = look()
        since += 1
        if value < least:
            least, best, since = value, copy.deepcopy(head.state_dict()), 0
        if since >= PATIENCE or not np.isfinite(value):
            break
    head.load_state_dict(best)


def _on(inputs: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in inputs.items()}
