"""The runs of a front: every task alone, then one model a preference."""

from __future__ import annotations

from polytask.study.fronts.points import Point, criterion, middle
from polytask.study.plan import Contender, Outcomes, Plan, Unit, unit_of
from polytask.study.settings import Settings


class ParetoPlan(Plan):
    """Which runs there are. Outcomes may only grow while one plan lives.

    The networks of single tasks are searched over the learning rates, as in a comparison; of the
    points only the middle one is, on seed 0, and all others take its rate. A front whose points
    had rates of their own would mix what preferences do with what rates do.

    Args:
        settings: of the study; `select` is how learning rates are compared, and how the network of
            a single task chooses its epoch.
        points: the preferences.
        own_criterion: whether every point chooses its epoch by what its preference asks for, see
            `criterion`; else all do by the rule of the settings.
    """

    def __init__(
        self, settings: Settings, points: tuple[Point, ...], own_criterion: bool = False
    ) -> None:
        super().__init__(settings)
        self.points = points
        self.own_criterion = own_criterion
        self.candidates = tuple(
            Contender(
                f"point{place}-{point.choice.name}",
                tuple(settings.tasks),
                settings.architectures[0],
                point.choice,
                False,
            )
            for place, point in enumerate(points, start=1)
        )
        self.middle = self.candidates[middle(points)]
        self.unit_of_cost = self.middle

    @property
    def total(self) -> int:
        """How many runs there will be when none fails, probes left out."""
        return sum(map(self.runs_of, self.contenders))

    def runs_of(self, contender: Contender) -> int:
        """How many runs one network takes when none fails."""
        s = self.settings
        searched = contender.single or contender == self.middle
        return s.seeds + (len(s.lr) - 1 if searched else 0)

    def unit(self, contender: Contender, lr: float, seed: int, outcomes: Outcomes) -> Unit | None:
        """One training run; that of a point may have a criterion of its own."""
        found = super().unit(contender, lr, seed, outcomes)
        if found is None or contender.single or not self.own_criterion:
            return found
        point = self.points[self.candidates.index(contender)]
        own = {"select": criterion(point), "reference": None}
        return unit_of(self.settings, found.id, found.config | own)

    def chosen_lr(self, contender: Contender, outcomes: Outcomes) -> float | None:
        """The rate that did best on the validation part of seed 0; of a point, at the middle."""
        return super().chosen_lr(contender if contender.single else self.middle, outcomes)

    def known(self, contender: Contender, outcomes: Outcomes) -> list[Unit]:
        """The runs of one network whose configuration is known, ended or not."""
        return self._startable(contender, outcomes)

    def _startable(self, contender: Contender, outcomes: Outcomes) -> list[Unit]:
        if contender.single or contender == self.middle:
            return super()._startable(contender, outcomes)
        rate = self.chosen_lr(contender, outcomes)
        if rate is None:
            return []
        seeds = range(self.settings.seeds)
        units = [self.unit(contender, rate, seed, outcomes) for seed in seeds]
        return [unit for unit in units if unit is not None]
