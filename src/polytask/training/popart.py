"""PopArt: regression targets normalised while training, by what has been seen of them so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from polytask.errors import UserError, unknown
from polytask.tasks import Task

STARTS = ("batch", "unit")
OPTIONS = ("beta", "start", "least", "most", "tasks", "layers")


class PopArt:
    """How targets are normalised on the way: `Trainer(..., popart=True)` or `popart=PopArt(...)`.

    Preserving Outputs Precisely, while Adaptively Rescaling Targets: H. van Hasselt et al., NIPS
    2016, https://arxiv.org/abs/1602.07714; for many tasks M. Hessel et al., AAAI 2019,
    https://arxiv.org/abs/1809.04474. For every regression task, from its labels y in the order
    in which they come, with nu = sigma ** 2 + mu ** 2:

        mu <- (1 - beta) mu + beta y          nu <- (1 - beta) nu + beta y ** 2
        w' = sigma / sigma' w                 b' = (sigma b + mu - mu') / sigma'

    (w, b) is the last linear layer of the task's head, which is rewritten so that
    sigma (w x + b) + mu, the output of the network, does not change when mu and sigma do. The
    loss, of whichever form, is of (w x + b) against (y - mu) / sigma. Both are taken at the
    beginning of a step, before its loss. So a task weighs the same whatever its unit, also where
    targets drift or are not known beforehand. Where the training targets are known,
    `Task.fitted` standardises them once and for all, as `polytask train` and `compare` always
    do: PopArt on top then finds little left to do.

    Outputs, predictions, metrics, validation losses and checkpoints are what they are without:
    in the unit of the task (standardised by its own `mean` and `std`, where it has them). Between
    fits the layer is an ordinary one, with sigma w and sigma b + mu, so weights can be read by
    networks that know nothing of this; another `fit` of the same Trainer goes on with its mu and
    sigma. Saved states hold mu and sigma to the bit. The epoch's record has `popart/TASK/mean`
    and `popart/TASK/std` for tasks of one output, and `Trainer.target_scales` has all.

    - Missing labels count for nothing; each output of a task has a mu and sigma of its own, and
      every label of a dense target is one y. A batch of n labels moves mu and nu by
      1 - (1 - beta) ** n towards its own means, as n labels one after another would on average
      over their orders. The published code (https://github.com/google-deepmind/rlax) adds
      beta (y - mu) of all n, which is the same to first order, and diverges where n beta
      exceeds 2.
    - That code begins with mu = 0, nu = 1 and keeps what the untrained head answers:
      `start="unit"`. With so small a beta, a short training is then over before sigma is right.
      `start="batch"` takes the averages over what has been seen alone (so mu and sigma are those
      of the first batch at first), and an untrained layer as one that answers in units of
      sigma: multiplying a target by any number then changes nothing but the unit of the output.
      A head that was trained before, but not by this Trainer, would lose what it knows: use
      "unit" for it.
    - The equations of the papers leave the optimizer's state alone, and so does this. Moments
      that Adam or momentum keep for (w, b) lag behind by sigma / sigma', which is close to 1.
    - With `accumulate`, or a method that reads several batches, mu and sigma stay as they are
      within a step.
    - Early answers of a network (PAD-Net, MTI-Net) learn the normalised target. Where tasks read
      each other's outputs (`cascaded`), they read them in the unit of the target.

    Cost: two passes over the targets and one over the last layers a step.

    Args:
        beta: above 0 and at most 1; 3e-4 in Hessel et al. 1 is the newest batch alone.
        start: "batch" or "unit", as above.
        least, most: bounds of sigma, 1e-4 and 1e6 in Hessel et al. A target whose spread lies
            outside is not brought to 1, which a remark then says.
        tasks: which; None is every regression task whose last layer learns. Others are left
            alone.
        layers: the last layer of a task by its name in `model.named_modules()`, for networks
            that have no `heads[TASK]`.

    Raises:
        UserError: an option that cannot be. The Trainer raises it when no task is a regression
            or the precision is half, and `fit`, before anything is trained, when a head does not
            end in a linear layer (or a convolution) with a bias, when the network is compiled, or
            when teachers give soft targets to such a task.

    >>> PopArt(beta=1e-3).describe()["start"]
    'batch'
    """

    def __init__(
        self,
        beta: float = 3e-4,
        start: str = "batch",
        least: float = 1e-4,
        most: float = 1e6,
        tasks: Iterable[str] | None = None,
        layers: Mapping[str, str] | None = None,
    ) -> None:
        if not _number(beta) or not 0 < beta <= 1:
            raise UserError(f"popart: beta must be above 0 and at most 1, found {beta!r}.")
        if start not in STARTS:
            raise unknown("start of popart:", start, STARTS)
        if not _number(least) or not _number(most) or not 0 < least < most:
            raise UserError(
                "popart: least and most must be numbers with 0 < least < most, found "
                f"{least!r} and {most!r}."
            )
        if isinstance(tasks, str):
            raise UserError(f"popart: tasks must be a list, found the text {tasks!r}. Bracket it.")
        if layers is not None and not isinstance(layers, Mapping):
            raise UserError(
                "popart: layers must be given by task, as in {'price': 'out.price'}, found "
                f"{layers!r}."
            )
        self.beta = float(beta)
        self.start = start
        self.least, self.most = float(least), float(most)
        self.tasks = None if tasks is None else tuple(tasks)
        self.layers = dict(layers or {})

    def names(self, tasks: Mapping[str, Task]) -> tuple[str, ...]:
        """The tasks that it is for. Raises `UserError` for one it cannot be for, or for none."""
        for name in (*(self.tasks or ()), *self.layers):
            if name not in tasks:
                raise unknown("task of popart:", name, tasks)
            if tasks[name].kind != "regression":
                raise UserError(
                    f"popart normalises targets of regressions, and {name!r} is "
                    f"{tasks[name].kind}. Leave it out."
                )
        wanted = tuple(tasks) if self.tasks is None else self.tasks
        found = tuple(name for name in wanted if tasks[name].kind == "regression")
        if not found:
            kinds = ", ".join(f"{name} ({task.kind})" for name, task in tasks.items())
            raise UserError(
                f"popart normalises targets of regressions, and there is none: {kinds}. Leave "
                "popart out."
            )
        return found

    def check(self, tasks: Mapping[str, Task], precision: str) -> None:
        """Raise `UserError` for tasks that it cannot be for, and for half precision."""
        self.names(tasks)
        if precision != "no":
            raise UserError(
                "with popart a network answers in the unit of the target, which precision="
                f"{precision!r} would round to 3 digits or 4. Use precision='no', or targets "
                "standardised beforehand (Task.fitted) without popart."
            )

    def describe(self) -> dict[str, Any]:
        """Its options as plain values."""
        values = {word: getattr(self, word) for word in OPTIONS}
        return values | {"tasks": None if self.tasks is None else list(self.tasks)}


def read_popart(given: object) -> PopArt | None:
    """`True`, options by word, or a `PopArt`; None for `None` and `False`.

    Raises `UserError` for anything else and for an unknown option.
    """
    if given is None or given is False:
        return None
    if isinstance(given, PopArt):
        return given
    if given is True:
        return PopArt()
    if not isinstance(given, Mapping):
        raise UserError(
            f"popart must be True, options such as {{'beta': 0.001}} or a PopArt, found {given!r}."
        )
    for word in given:
        if word not in OPTIONS:
            raise unknown("option of popart", word, OPTIONS)
    return PopArt(**given)


def _number(value: Any) -> bool:
    """Whether a value is a finite number."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return right and math.isfinite(value)
