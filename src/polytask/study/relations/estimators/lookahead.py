"""Look-ahead affinity: what a step for one task does to the loss of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from polytask.errors import UserError, unknown
from polytask.relationships import Affinity, lookahead
from polytask.relationships.conflict import FEWEST
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._base import Estimator, known, recorded, too_few

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan

ORDERS = ("first", "exact")
STATISTICS = ("tail", "exact")


class Lookahead(Estimator):
    """Look-ahead affinity: how much a step for one task lowers another's loss, from one training.

    The affinity of TAG (Fifty et al. 2021, "Efficiently identifying task groupings for multi-task
    learning", https://arxiv.org/abs/2109.04617): the share of the scored task's loss that a step
    of the shared parameters along the companion's gradient alone takes away, averaged over steps
    of an ordinary training of all tasks. It comes from products of gradients on two halves of the
    batch to first order, or from taking the step (`polytask.training.AffinityRecorder` and
    `polytask.relationships.lookahead` say what is computed, and with which errors).

    Cost: one training of all tasks with equal weights, and at `samples` of its steps two passes
    over half a batch (first order) or a step and a pass a task (exact).

    Args:
        order: 'first' or 'exact'.
        statistic: 'tail' (the last shared layers) or 'exact' (all that is shared), for first
            order.
        samples: recorded steps, spread evenly over the training.

    Raises:
        UserError: a word or number that cannot be.
    """

    needs = "one training of all tasks"
    unit = "share of the loss taken away by a step"
    gains = True
    records = True

    def __init__(
        self,
        order: Literal["first", "exact"] = "first",
        statistic: Literal["tail", "exact"] = "tail",
        samples: int = 60,
    ) -> None:
        if order not in ORDERS:
            raise unknown("order of the look-ahead", order, ORDERS)
        if statistic not in STATISTICS:
            raise unknown("statistic of the look-ahead", statistic, STATISTICS)
        if not isinstance(samples, int) or samples < 1:
            raise UserError(f"samples must be a whole number above 0, found {samples!r}.")
        self.order = order
        self.statistic = statistic
        self.samples = samples

    def recorders(self) -> Mapping[str, Any]:
        """The arguments of an `AffinityRecorder`."""
        found = {"order": self.order, "statistic": self.statistic, "samples": self.samples}
        return {"affinity": found}

    def units(self, plan: RelationPlan, outcomes: Outcomes) -> list[Unit]:
        """None but the training that records."""
        return []

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """From the records of that training."""
        records = recorded(plan, outcomes, "affinity")
        found = lookahead(records)
        if not known(found):
            made = sum(len(record["values"]) for record in records)
            raise UserError(too_few(made, FEWEST, records))
        return found
