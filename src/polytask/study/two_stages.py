"""Carrying out a study whose first runs decide which others there are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from polytask.study.carry_out import Planned, Runs
from polytask.study.executor import Here, Processes
from polytask.study.folder import Outcome
from polytask.study.plan import Contender, Outcomes, Unit
from polytask.study.progress import Progress


class Staged(Planned, Protocol):
    """A plan of such a study: it knows more networks, once the first runs have ended."""

    def contenders(self, outcomes: Outcomes) -> Mapping[Any, Contender]:
        """The networks that are known by now."""

    def probes(self, outcomes: Outcomes) -> list[Unit]:
        """Their cost probes."""

    def units(self, contender: Contender, outcomes: Outcomes) -> list[Unit]:
        """The runs of one network that are known by now."""

    def startable(self, outcomes: Outcomes) -> list[Unit]:
        """Runs that could start now and have not ended, the first ones before others."""


S = TypeVar("S", bound=Staged)


class TwoStages(Runs[S]):
    """Such a study whose settings are known and checked.

    Subclasses say which the first runs are, and when they have decided.
    """

    stage: ClassVar[str]
    """What is done while they run, in words."""

    @abstractmethod
    def first(self, ended: Mapping[str, Outcome]) -> Sequence[Unit]:
        """The first runs, as far as they are known by now."""

    @abstractmethod
    def decided(self, ended: Mapping[str, Outcome]) -> bool:
        """Whether they have decided which others there are."""

    def done(self, ended: Mapping[str, Outcome]) -> int:
        """How many of the runs the folder holds already."""
        known = [*self.plan.probes(ended), *self.first(ended)]
        for contender in self.plan.contenders(ended).values():
            known += self.plan.units(contender, ended)
        return len({unit.hash for unit in known} & set(ended))

    def carry_out(self, pool: Processes | Here, ended: dict[str, Outcome], shown: Progress) -> None:
        """Costs are measured alone, so they are before whatever needs all processors."""
        plan = self.plan
        common: dict[str, Any] = {"deadline": self.deadline, "watch": shown.ended}

        def probes(known: dict[str, Outcome]) -> list[Unit]:
            return [unit for unit in plan.probes(known) if unit.hash not in known]

        def until_decided(known: dict[str, Outcome]) -> list[Unit]:
            return [] if self.decided(known) else plan.startable(known)

        shown.say("measuring costs")
        pool.run(probes, self.out, ended, workers=1, **common)
        shown.say(self.stage)
        pool.run(until_decided, self.out, ended, **common)
        shown.say("measuring costs")
        pool.run(probes, self.out, ended, workers=1, **common)
        shown.say("training")
        pool.run(plan.startable, self.out, ended, **common)
