"""Recording, while a network trains, how far the gradients of its tasks agree or fight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from polytask.errors import unknown
from polytask.kernel.cross import Cross, cross_gramian
from polytask.kernel.measure import Discovery
from polytask.training._recorder import BUDGET, DEPTH, STATISTICS, Recorder, loss_scale, short

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

FILE = "conflict.json"


class ConflictRecorder(Recorder):
    """Measures, at some steps, the tasks' gradients on two halves of the batch.

    The running batch is cut into two random halves before it is trained on, and the gradients of
    each task on one half are multiplied by those on the other: `polytask.relationships.estimate`
    makes cosines with errors of such records, one a seed. Gradients are those of training:
    dropout is on, and batch normalisation sees half a batch.

    The training itself stays the same bit for bit: parameters, gradients, buffers and random
    numbers are as they would be without it. What cannot be measured (fewer than 4 rows, nothing
    shared, a half without labels, a model that refuses a smaller batch) is passed over and
    counted in the record with its cause; it never ends a training.

    Cost, at the recorded steps: two forward passes on half a batch, and the statistic twice; no
    more memory than a step and, with 'exact', two gradients a task. In the trainer's `out`, if
    there is one, the record is `conflict.json`.

    Args:
        every: batches from one recording to the next. By default `samples` recordings are spread
            evenly over the training (and every 20th batch is recorded where the batches have
            no length).
        samples: how many, then; fewer in a shorter training.
        statistic: 'tail' (the last shared layers, as balancers read them) or 'exact' (all that is
            shared).

    Raises:
        UserError: an argument that cannot be.
    """

    file: ClassVar[str] = FILE
    nothing: ClassVar[str] = "no two tasks had labels, and a gradient, in both halves of the batch"

    def __init__(
        self, every: int | None = None, samples: int = 60, statistic: str = "tail"
    ) -> None:
        if statistic not in STATISTICS:
            raise unknown("statistic of the conflict", statistic, STATISTICS)
        self.statistic = statistic
        super().__init__(every, samples)

    def _start(self, tasks: tuple[str, ...]) -> None:
        """Forget what was recorded."""
        super()._start(tasks)
        self._discovery = Discovery()
        self._source = ""
        self._products: list[list[float | None]] = []
        self._norms: list[list[float | None]] = []

    def record(self) -> dict[str, Any]:
        """What was recorded, as JSON: the input of `polytask.relationships.estimate`.

        "products" has a row for each recorded step: the upper triangle of G_ij / (n_i n_j), row
        by row with the diagonal, see `polytask.kernel.cross`; "norms" the n_i. None stands where
        a task was not measured. "skipped" counts the steps that gave nothing, by cause.
        """
        return {
            "tasks": list(self._tasks),
            "statistic": self.statistic,
            "source": self._source,
            "products": [list(row) for row in self._products],
            "norms": [list(row) for row in self._norms],
            "skipped": dict(self._skipped),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved record."""
        super().load_state_dict(state)
        self._source = state["source"]
        self._products = [list(row) for row in state["products"]]
        self._norms = [list(row) for row in state["norms"]]

    def _measure(
        self, trainer: Trainer, inputs: Any, targets: Mapping[str, Tensor]
    ) -> Cross | None:
        first, second = self._halves(trainer, inputs, targets)
        return cross_gramian(
            first,
            second,
            self.statistic,
            discovery=self._discovery,
            parameters=list(trainer.model.parameters()),
            depth=DEPTH,
            budget=BUDGET,
            turn=self._tried,
            loss_scale=loss_scale(trainer),
            module=trainer.model,
        )

    def _keep(self, found: Cross, fraction: float) -> bool:
        """Add a step to the record; False when fewer than two tasks were measured."""
        place = {task: i for i, task in enumerate(found.tasks)}
        table, norms = found.scaled(fraction), found.norms()
        if int(table.diagonal().isfinite().sum()) < 2:
            return False
        at = [place.get(task) for task in self._tasks]
        self._products.append(
            [
                None if one is None or other is None else short(table[one, other])
                for i, one in enumerate(at)
                for other in at[i:]
            ]
        )
        self._norms.append([None if one is None else short(norms[one]) for one in at])
        self._source = found.source
        return True
