"""The trainings that a study of relationships may ask for: names, configurations, what waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polytask.study.folder import number
from polytask.study.plan import (
    Contender,
    Outcomes,
    Unit,
    best_rate,
    choice_slug,
    digest,
    joined,
    network,
    shared_score,
    single_network,
    slug,
    unit_of,
)
from polytask.study.relations.measures import Measure
from polytask.study.relations.settings import Relation
from polytask.study.settings import SHARED, Choice, Settings

EQUAL = Choice("linear")


class Trainings:
    """Runs by what they are. Outcomes may only grow while one of these lives.

    A network of several tasks chooses its epoch by the mean gain over the scores of the networks of
    its tasks alone at the middle rate of seed 0, which are only a scale. The training that records
    does not wait for these: its scale is the best constant prediction, and it is a run of its own.
    """

    def __init__(self, relation: Relation, measures: tuple[Measure, ...]) -> None:
        self.relation = relation
        self.measures = measures
        self.settings: Settings = relation.study
        self.tasks: tuple[str, ...] = tuple(self.settings.tasks)
        self._known: dict[tuple[str, float, int], Unit] = {}
        self._rates: dict[str, float] = {}
        self.everyone = self.contender(self.tasks)

    @property
    def rate(self) -> float:
        """The learning rate of everything that measures."""
        return self.settings.middle_rate

    @property
    def seeds_measured(self) -> int:
        """How many trainings record, each under its own seed."""
        return self.relation.seeds_measured

    def place(self, task: str) -> int:
        """The row and column of a task."""
        return self.tasks.index(task)

    def together(self, seed: int = 0) -> Unit:
        """The training of all tasks with equal weights, and all recorders of the estimators."""
        every = Contender("together", self.tasks, self.relation.architecture, EQUAL, False)
        recorders: dict[str, Any] = {}
        for measure in self.measures:
            recorders |= measure.estimator.recorders()
        return self._train(every, self.rate, seed, recorders | {"reference": None})

    def alone(self, task: str, seed: int = 0) -> Unit:
        """The training of one task in a network of its own."""
        return self._train(single_network(task), self.rate, seed, {})

    def network(self, tasks: Iterable[str], seed: int = 0) -> Unit:
        """The training of any set of tasks, which need not wait for others.

        Several tasks choose their epoch by the gain over the best constant prediction; `unit` is
        the training that chooses by their scores alone, as the check does.
        """
        contender = self.contender(tasks)
        if contender.single:
            return self.alone(contender.tasks[0], seed)
        free = Contender(f"free-{contender.id}", *_rest(contender))
        return self._train(free, self.rate, seed, {"reference": None})

    def extra(self, kind: str, name: str, config: dict[str, Any], seed: int = 0) -> Unit:
        """A run of another kind on the network of all tasks.

        Args:
            kind: a key of `polytask.study.unit.KINDS`.
            name: of the run's folder, besides the seed.
            config: JSON, put on top of the configuration of that network.
            seed: of the split and of whatever is drawn.
        """
        base = network(self.settings, self.everyone) | {"kind": kind, "seed": seed}
        return unit_of(self.settings, f"{slug(name)}-s{seed}", base | config)

    def unit(self, contender: Contender, lr: float, seed: int, outcomes: Outcomes) -> Unit | None:
        """One training; None while its tasks' scores alone, its reference, are not in."""
        if contender.single:
            return self._train(contender, lr, seed, {})
        reference = self.reference(contender.tasks, outcomes)
        if reference is None:
            return None
        return self._train(contender, lr, seed, {"reference": reference})

    def contender(self, tasks: Iterable[str], architecture: Choice | None = None) -> Contender:
        """The network of a group of tasks, which stand in the order of the data set."""
        wanted = set(tasks)
        group = tuple(task for task in self.tasks if task in wanted)
        method, shared = self.relation.method, architecture or self.relation.architecture
        if len(group) == 1 and architecture is None:
            return single_network(group[0])
        name = "all" if len(group) == len(self.tasks) else f"group-{joined(group)}"
        how = [choice_slug(method)]
        if architecture is not None:
            how.append(f"{shared.name}-{digest(shared.to_dict())[:8]}")
        elif shared != Choice(SHARED):
            how.append(choice_slug(shared))
        return Contender("-".join([name, *how]), group, shared, method, False)

    def reference(self, tasks: Iterable[str], outcomes: Outcomes) -> dict[str, float] | None:
        """Validation scores of tasks alone at the middle rate of seed 0; None until all are in.

        A task whose run failed is left out; the Trainer then measures its gain from the best
        constant prediction.
        """
        found: dict[str, float] = {}
        for task in tasks:
            ended = outcomes.get(self.alone(task).hash)
            if ended is None:
                return None
            score = None if "error" in ended else number(ended["selected"]["val"][task])
            if score is not None:
                found[task] = score
        return found

    def chosen_lr(self, contender: Contender, outcomes: Outcomes) -> float | None:
        """The rate with the best validation score on seed 0, as in `polytask.study.plan`."""
        if contender.id in self._rates:
            return self._rates[contender.id]
        scored = []
        for lr in self.settings.lr:
            unit = self.unit(contender, lr, 0, outcomes)
            if unit is None or unit.hash not in outcomes:
                return None
            reference = {} if contender.single else unit.config["reference"]
            ended = outcomes[unit.hash]
            scored.append((lr, shared_score(ended, contender.tasks, reference, self.settings)))
        best = best_rate(scored)
        if best is not None:
            self._rates[contender.id] = best
        return best

    def units(self, contender: Contender, outcomes: Outcomes) -> list[Unit]:
        """The runs of one network of the check that are known by now."""
        pairs = [(lr, 0) for lr in self.settings.lr]
        rate = self.chosen_lr(contender, outcomes)
        if rate is not None:
            pairs += [(rate, seed) for seed in range(1, self.settings.seeds)]
        found = [self.unit(contender, lr, seed, outcomes) for lr, seed in pairs]
        return [unit for unit in found if unit is not None]

    def probe(self, contender: Contender) -> Unit:
        """The run that measures step time and memory."""
        config = network(self.settings, contender) | {"kind": "probe", "seed": 0}
        return unit_of(self.settings, f"probe-{contender.id}", config)

    def _train(self, contender: Contender, lr: float, seed: int, more: dict[str, Any]) -> Unit:
        # What a run computes follows from these three; thousands are asked for again and again.
        key = (contender.id, lr, seed)
        if key not in self._known:
            s = self.settings
            config = network(s, contender) | {"kind": "train", "lr": lr, "seed": seed}
            select = f"main:{contender.tasks[0]}" if contender.single else s.select
            config |= {"epochs": s.epochs, "select": select, **more}
            self._known[key] = unit_of(s, f"{contender.id}-lr{lr:g}-s{seed}", config)
        return self._known[key]


def _rest(contender: Contender) -> tuple[tuple[str, ...], Choice, Choice, bool]:
    return contender.tasks, contender.architecture, contender.method, contender.single
