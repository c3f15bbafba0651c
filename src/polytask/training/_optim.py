"""Optimizers and learning-rate schedules by word, and the gradients of a window of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from polytask.architectures import Architecture
from polytask.errors import UserError, unknown

OptimizerMaker = Callable[..., Optimizer]
SchedulerMaker = Callable[[Optimizer, int], Any]

OPTIMIZERS: dict[str, OptimizerMaker] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}
SCHEDULERS = ("constant", "cosine")


def make_optimizer(
    kind: str | OptimizerMaker, model: nn.Module, lr: float, weight_decay: float
) -> Optimizer:
    """An optimizer over the trainable parameters of `model`.

    Those to which an architecture's `rate_factors` give a factor are groups of their own, with
    that multiple of the rate, and no weight decay: their zero is not a neutral value. So are old
    ones of a model to which a task was added without freezing them, with weight decay.

    `kind` is a word of `OPTIMIZERS` or a callable `(parameters, lr=, weight_decay=) -> Optimizer`.
    Raises `UserError` for an unknown word and for a model without a trainable parameter.
    """
    if isinstance(kind, str) and kind not in OPTIMIZERS:
        raise unknown("optimizer", kind, OPTIMIZERS)
    maker = OPTIMIZERS[kind] if isinstance(kind, str) else kind
    made = maker(parameter_groups(model, lr), lr=lr, weight_decay=weight_decay)
    if not isinstance(made, Optimizer):
        raise UserError(
            f"the function given as optimizer returned {type(made).__name__}; expected a torch "
            "optimizer. Let it return the one it builds."
        )
    return made


def parameter_groups(model: nn.Module, lr: float) -> list[Any]:
    """The trainable parameters, in groups where some have a rate of their own."""
    every = trainable(model.parameters())
    factors = model.rate_factors() if isinstance(model, Architecture) else {}
    gentle = model.kept.rates if isinstance(model, Architecture) else {}
    if not factors and not gentle:
        return every
    named = dict(model.named_parameters())
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name in dict.fromkeys((*factors, *gentle)):
        # `gentle` has every name of a parameter that several modules hold.
        if name in named and named[name].requires_grad:
            rate = factors.get(name, 1.0) * gentle.get(name, 1.0)
            groups.setdefault((rate, name in factors), []).append(named[name])
    apart = {id(parameter) for group in groups.values() for parameter in group}
    rest = [parameter for parameter in every if id(parameter) not in apart]
    return [{"params": rest}] + [
        {"params": group, "lr": lr * rate} | ({"weight_decay": 0.0} if special else {})
        for (rate, special), group in groups.items()
    ]


def trainable(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The parameters that learn. Raises `UserError` when there are none."""
    found = [parameter for parameter in parameters if parameter.requires_grad]
    if not found:
        raise UserError(
            "the model has no trainable parameter: expected at least one with "
            "requires_grad=True. Unfreeze the part that is to learn."
        )
    return found


def make_scheduler(
    kind: str | SchedulerMaker | None, optimizer: Optimizer, steps: int | None, warmup: float
) -> Any | None:
    """A scheduler that is stepped once per optimizer step, or None for a constant rate.

    `kind`: None or "constant"; "cosine" (from the full rate down to 0 at the last step); or a
    callable `(optimizer, steps) -> object with .step()`. `warmup` is the fraction of all steps
    over which a schedule by word first rises linearly. `steps` is None when the number of
    batches is unknown, which only a constant rate can do with.
    """
    if isinstance(kind, str) and kind not in SCHEDULERS:
        raise unknown("scheduler", kind, SCHEDULERS)
    if kind in (None, "constant") and warmup == 0:
        return None
    if steps is None:
        raise UserError(
            "a schedule needs the number of batches, but the training batches have no len(). "
            "Give them one, or use scheduler=None and warmup=0."
        )
    if callable(kind):
        return kind(optimizer, steps)
    return LambdaLR(
        optimizer,
        partial(_factor, steps=steps, rise=round(warmup * steps), cosine=kind == "cosine"),
    )


def _factor(done: int, *, steps: int, rise: int, cosine: bool) -> float:
    """The rate after `done` steps, as a fraction of the full one."""
    if done < rise:
        return (done + 1) / (rise + 1)
    if not cosine:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - rise) / max(1, steps - rise))))


class Window:
    """The gradients of several micro-batches, averaged as those of one big batch.

    Every backward adds to `.grad` the gradient of a mean over its own rows. The window keeps
    the sum in units of the newest batch and divides at the end, so batches of unequal size
    count by their rows. The losses themselves stay raw, because methods that take logarithms
    or ratios of losses would decide differently on divided ones.

    With missing labels the average is by rows, not by labelled items: a task with 1 label in
    one micro-batch and 99 in the next weighs both alike, where the big batch would weigh the
    100 labels alike. Use a bigger batch, without accumulation, when labels are that uneven.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self.parameters = trainable(parameters)
        self.rows = 0
        self._unit = 0

    def before(self, rows: int) -> None:
        """Make room for a micro-batch of `rows` rows; call before its backward."""
        if self._unit not in (0, rows):
            self._scale(self._unit / rows)
        self._unit = rows
        self.rows += rows

    def close(self) -> None:
        """Turn the sum into the mean; call before clipping and stepping."""
        if self.rows != self._unit:
            self._scale(self._unit / self.rows)
        self.rows = self._unit = 0

    def _scale(self, factor: float) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, factor)
