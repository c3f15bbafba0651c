"""Recording, while a network trains, how much a step on one task lowers the loss of another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from polytask.errors import UserError, unknown
from polytask.kernel.cross import Cross, cross_gramian
from polytask.kernel.measure import Discovery
from polytask.kernel.precondition import StepSizes
from polytask.training._lookahead import Ahead, look_ahead
from polytask.training._recorder import (
    BUDGET,
    DEPTH,
    STATISTICS,
    WITHOUT_LENGTH,
    Recorder,
    loss_scale,
    short,
)

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

FILE = "affinity.json"
ORDERS = ("first", "exact")
EVALUATE = ("same", "other")
SHARE = 0.25
"""What recording may cost, as a share of the training itself."""
FEWEST = 10
"""Recordings made whatever they cost: 8 say something, and Adam's first are passed over."""
SMALL = 1e-6
"""A loss below this part of the task's largest has too few digits left to divide by."""


class AffinityRecorder(Recorder):
    """Measures, at some steps, what a step on one task alone would do to the losses of the others.

    The look-ahead of Fifty et al. 2021 (Efficiently identifying task groupings for multi-task
    learning, arXiv:2109.04617): value[i][j] = 1 - L_i(θ - P g_j) / L_i(θ) for a scored task i and
    a companion j, with θ the shared parameters, g_j the gradient of L_j by them, and P the diagonal
    of the optimizer's step (`polytask.kernel.precondition`): the step's learning rate for SGD,
    over the root of the second moments for Adam, AdamW and RMSprop. A value is the fraction of a
    loss that one step wins; the table is not symmetric, and its diagonal is what a task does for
    itself. `polytask.relationships.lookahead` makes an `Affinity` of records, one a seed.

    **order='first'** is the first-order term, g_iᵀ P g_j / L_i, with g_i of one random half of the
    batch and g_j of the other, and the mean of both directions: noise that the rows of one batch
    give to both gradients does not enter, as it does in a look-ahead on one batch. With the batch's
    share of all rows it is brought to the mean of the full data's, see `Cross.full_data`. L_i is
    the mean of both halves. Curvature is not seen, so that large steps are overrated. With 'tail' a
    value is that part of the gain which the parameters that were read bring about.

    **order='exact'** takes the steps, looks at all losses, and takes them back. Gradients are those
    of the whole batch and losses are looked at on the same batch (evaluate='same', the paper), or
    each half's gradients are judged by the other half (evaluate='other', free of the batch's own
    noise; L_i is the mean of both). The step is -P g_j, and not the whole stateful step of the
    optimizer: momentum would add the same move for every companion, and second moments that saw
    g_j alone would make every task's step as long as any other's, whatever its gradient.

    The published code (google-research/tag, the CelebA notebook) adds the momentum's move to every
    look-ahead and divides gains by the learning rate; the paper, which is followed, does neither.
    Gradients and losses are those of training: dropout is on, with the same numbers in all looks at
    a step, and batch normalisation sees the batch, or its half. Methods' weights, clipping and
    weight decay are left out.

    Where L_i is not above 0 (as uncertainty losses may be), or below a millionth of the largest
    recorded of the task, a relative gain says nothing, and row i of that step is left out.

    The training itself stays the same bit for bit: parameters, gradients, buffers, the optimizer's
    state and random numbers are as they would be without it. What cannot be measured (nothing
    shared, a half without labels, Adam before its third step) is passed over and counted with its
    cause; it never ends a training. In the trainer's `out`, if there is one, the record is
    `affinity.json`.

    **Cost.** In ordinary steps, a forward pass being a third of one and a backward pass two thirds,
    a recording of T tasks is counted as 2.5 for the first order with 'tail' (two forward passes of
    half a batch and a fifth of a step for the tail would be less; but where layers are small, calls
    take the time, not rows: 2.3 to 2.6 were measured), as 1 + 2T/3 with 'exact', and as 1 + T for
    the exact order (T backward and T + 2 forward passes). There are as many recordings as cost a
    quarter of the training by that count, at most `samples`, and at least 10, so that a short
    training with many tasks pays more. The clock is not asked, so that the same training has the
    same record.

    Args:
        every: batches from one recording to the next, whatever that costs. By default recordings
            are spread evenly over the training (where the batches have no length, every 20th is
            recorded, or fewer where these cost more than a quarter).
        samples: most recordings, then.
        statistic: of the first order, 'tail' (the last shared layers, as balancers read them) or
            'exact' (all that is shared); the exact order moves all that is shared.
        order: 'first' or 'exact'.
        evaluate: of the exact order, 'same' or 'other'.

    Raises:
        UserError: an argument that cannot be.
    """

    file: ClassVar[str] = FILE
    nothing: ClassVar[str] = (
        "no two tasks had labels where they were needed and a loss above 0 to divide by"
    )

    def __init__(
        self,
        every: int | None = None,
        samples: int = 60,
        statistic: str = "tail",
        order: str = "first",
        evaluate: str = "same",
    ) -> None:
        for what, value, known in (
            ("statistic of the affinity", statistic, STATISTICS),
            ("order of the affinity", order, ORDERS),
            ("evaluate of the affinity", evaluate, EVALUATE),
        ):
            if value not in known:
                raise unknown(what, value, known)
        if order == "first" and evaluate == "other":
            raise UserError(
                "evaluate='other' is a choice of order='exact'; order='first' multiplies gradients "
                "of two halves in any case. Leave it out, or set order='exact'."
            )
        self.statistic = statistic
        self.order = order
        self.evaluate = evaluate
        super().__init__(every, samples)

    def _start(self, tasks: tuple[str, ...]) -> None:
        """Forget what was recorded."""
        super()._start(tasks)
        self._discovery = Discovery()
        self._source = self._optimizer = ""
        self._remarks: list[str] = []
        self._steps: list[int] = []
        self._values: list[list[float | None]] = []
        self._losses: list[list[float | None]] = []

    def record(self) -> dict[str, Any]:
        """What was recorded, as JSON: the input of `polytask.relationships.lookahead`.

        "values" has a row for each recorded step: value[i][j] row by row, T x T numbers, the scored
        task in rows; "losses" the L_i that were divided by; "steps" the batch, counted from 0
        through all epochs. None stands where a task was not measured. "planned" is how many
        recordings there were to be (None: not known), "skipped" counts those that gave nothing, by
        cause, "batches" those that were seen, "each" the cost of a recording in ordinary steps, as
        counted, and "seconds" the time that recording took.
        """
        return {
            "tasks": list(self._tasks),
            "order": self.order,
            "statistic": self.statistic if self.order == "first" else "exact",
            "evaluate": self.evaluate if self.order == "exact" else None,
            "optimizer": self._optimizer,
            "source": self._source,
            "steps": list(self._steps),
            "values": [list(row) for row in self._values],
            "losses": [list(row) for row in self._losses],
            "planned": self._planned,
            "batches": self._seen,
            "each": self._each(),
            "skipped": dict(self._skipped),
            "remarks": list(self._remarks),
            "seconds": round(self._seconds, 3),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved record."""
        super().load_state_dict(state)
        self._source, self._optimizer = state["source"], state["optimizer"]
        self._steps = list(state["steps"])
        self._values = [list(row) for row in state["values"]]
        self._losses = [list(row) for row in state["losses"]]
        self._remarks = list(state["remarks"])
        self._seconds = float(state["seconds"])

    def _each(self) -> float:
        """What a recording costs, in ordinary steps, see the class."""
        tasks = len(self._tasks)
        if self.order == "exact":
            return 1.0 + tasks
        return 2.5 if self.statistic == "tail" else round(1 + 2 * tasks / 3, 2)

    def _wanted(self, total: int) -> int:
        """How many of `total` batches are to be recorded."""
        return min(self.samples, total, max(FEWEST, int(SHARE * total / self._each())))

    def _stride(self) -> int:
        """Batches from one recording to the next, where it is not the total that decides."""
        return self.every or max(WITHOUT_LENGTH, math.ceil(self._each() / SHARE))

    def _measure(
        self, trainer: Trainer, inputs: Any, targets: Mapping[str, Tensor]
    ) -> Cross | Ahead | None:
        assert trainer.optimizer is not None, "there is one while it trains"
        sizes = StepSizes(trainer.optimizer)
        self._optimizer = sizes.words
        if sizes.remark is not None and sizes.remark not in self._remarks:
            self._remarks.append(sizes.remark)
        scale = loss_scale(trainer)
        if self.order == "first":
            return cross_gramian(
                *self._halves(trainer, inputs, targets),
                self.statistic,
                discovery=self._discovery,
                parameters=list(trainer.model.parameters()),
                depth=DEPTH,
                budget=BUDGET,
                turn=self._tried,
                loss_scale=scale,
                module=trainer.model,
                metric=sizes,
            )
        if self.evaluate == "other":
            first, second = self._halves(trainer, inputs, targets)
            one = look_ahead(first, second, sizes, trainer.model, scale)
            other = look_ahead(second, first, sizes, trainer.model, scale)
            return None if one is None or other is None else one.plus(other)

        def losses() -> dict[str, Tensor]:
            outputs, _ = trainer.forward(inputs)
            return trainer.forward.losses(outputs, targets).values

        return look_ahead(losses, losses, sizes, trainer.model, scale)

    def _keep(self, found: Cross | Ahead, fraction: float) -> bool:
        """Add a step to the record; False when no task was measured with another."""
        if isinstance(found, Cross):
            losses, gains = found.losses.mean(0), found.full_data(fraction)
            self._source = found.source
        else:
            losses, gains = found.before, found.before[:, None] - found.after
            self._source = "all shared parameters"
        places = {task: i for i, task in enumerate(found.tasks)}
        at = [places.get(task) for task in self._tasks]
        known = [None if i is None else short(losses[i]) for i in at]
        values = gains / losses[:, None]
        rows: list[float | None] = []
        for row, (i, loss) in enumerate(zip(at, known, strict=True)):
            fine = loss is not None and self._can_divide(row, loss)
            rows += [
                short(values[i, j]) if fine and i is not None and j is not None else None
                for j in at
            ]
        if all(value is None or place % (len(at) + 1) == 0 for place, value in enumerate(rows)):
            return False  # the diagonal at most
        self._values.append(rows)
        self._losses.append(known)
        self._steps.append(self._seen - 1)
        return True

    def _can_divide(self, row: int, loss: float) -> bool:
        """Whether a relative gain of this loss says anything."""
        earlier = [abs(known) for step in self._losses if (known := step[row]) is not None]
        return loss > SMALL * max(earlier, default=0.0)
