"""Similarity of representations, at the end of one stage or of every one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from polytask.errors import UserError
from polytask.relationships import Affinity
from polytask.study.plan import Outcomes, Unit
from polytask.study.relations.estimators._alone import Reads
from polytask.study.relations.estimators._seeds import over_seeds

if TYPE_CHECKING:
    from polytask.study.relations.plan import RelationPlan

ROWS = 500
FEWEST = 4


class Similarity(Reads):
    """What RSA and CKA have in common; both read the same run."""

    measure: ClassVar[str] = ""
    """The word under which the run has its affinities."""

    def __init__(self, stage: int, rows: int) -> None:
        if type(stage) is not int:
            raise UserError(
                f"{self.measure}: stage should be a whole number, from 0 or negative from the "
                f"last, found {stage!r}."
            )
        if type(rows) is not int or rows < FEWEST:
            raise UserError(
                f"{self.measure}: rows should be a whole number of {FEWEST} or more, found "
                f"{rows!r}."
            )
        self.stage, self.rows = stage, rows

    def reading(self, plan: RelationPlan, networks: dict[str, Any], seed: int) -> Unit:
        """The run that compares the networks."""
        name = "represent" if self.rows == ROWS else f"represent_{self.rows}"
        return plan.extra("represent", name, {"networks": networks, "rows": self.rows}, seed)

    def affinity(self, plan: RelationPlan, outcomes: Outcomes) -> Affinity:
        """The similarities at the end of the chosen stage."""
        tables = self.levels(plan, outcomes)
        if not -len(tables) <= self.stage < len(tables):
            raise UserError(
                f"{self.measure}: stage should be from 0 to {len(tables) - 1}, or negative from "
                f"the last, as the encoder has {len(tables)}; found {self.stage}."
            )
        return tables[self.stage]

    def levels(self, plan: RelationPlan, outcomes: Outcomes) -> list[Affinity]:
        """The similarities at the end of every stage, as `branch_tree` takes them.

        Raises `UserError` as `affinity` does.
        """
        found = [ended[self.measure] for ended in self.read(plan, outcomes)]
        count = len(found[0])
        tables = [
            over_seeds([Affinity.from_dict(of[str(stage)]) for of in found])
            for stage in range(count)
        ]
        return [
            replace(table, measured=f"{table.measured}, stage {stage} of 0 to {count - 1}")
            for stage, table in enumerate(tables)
        ]

    def costs(self, plan: RelationPlan, outcomes: Outcomes) -> list[float]:
        """Parameters of every stage of the encoder, what `branch_tree` takes as costs.

        Raises `UserError` as `affinity` does.
        """
        return [float(cost) for cost in self.read(plan, outcomes)[0]["costs"]]
