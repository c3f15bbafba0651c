"""Transfer affinities, after Taskonomy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polytask.errors import UserError
from polytask.relationships import Affinity
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._alone import Reads
from polytask.study.relations.estimators._seeds import over_seeds

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan


class Transfer(Reads):
    """Transfer: which task's frozen encoder lets a small head learn the scored task best.

    After Zamir et al. 2018, "Taskonomy: disentangling task transfer learning", arXiv 1804.08328.
    Every task is learned, by its own loss, by a head on the frozen encoder of every task's own
    network, its own encoder among them; what counts is on what share of the validation rows one
    source has the smaller loss than another (`polytask.relationships.transfer_affinity`). The
    paper reads the encoders with small convolutional networks, trained on far fewer rows than the
    encoders; here a linear layer, or `hidden` ones, learns on training rows.

    A row of affinities sums to 1 with the task itself, so numbers fall with the number of tasks.
    `polytask.relationships.transfer_policy` plans with them what to label.

    Cost: the networks of single tasks, one pass of each over the rows, and T x T small fits.

    Args:
        hidden: widths of the hidden layers of the heads; none is one linear layer.
        rows: training rows to fit heads on, and validation rows to judge them on, at most; fewer
            where the encoder answers large maps and a task has a label at every place.

    Raises:
        UserError: a width or a number of rows that is no whole number above 0.

    """

    needs = "the networks of single tasks, and a small head for every two"
    unit = "share of what all encoders are worth to a task"
    gains = False

    def __init__(self, hidden: Sequence[int] = (), rows: int = 4000) -> None:
        for word, value in [*(("hidden", width) for width in hidden), ("rows", rows)]:
            if type(value) is not int or value < 1:
                raise UserError(
                    f"transfer: {word} should be whole numbers of 1 or more, found {value!r}."
                )
        self.hidden, self.rows = list(hidden), rows

    def reading(self, plan: RelationPlan, networks: dict[str, Any], seed: int) -> Unit:
        """The run that fits the heads."""
        config = {"networks": networks, "hidden": self.hidden, "rows": self.rows}
        return plan.extra("transfer", "transfer", config, seed)

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """The affinities, mean over the seeds."""
        return over_seeds(
            [Affinity.from_dict(ended["transfer"]) for ended in self.read(plan, outcomes)]
        )
