"""The runs of a selection: a screen of all candidates, then sets of the finalists with seeds.

Everything asked of the plan is a function of settings and outcomes, as in `polytask.study.plan`.
"""

from __future__ import annotations

from typing import Any

from polytask import registry
from polytask.study.ledger import waiting
from polytask.study.plan import (
    Contender,
    Outcomes,
    Unit,
    best_rate,
    choice_slug,
    network,
    shared_score,
    unit_of,
)
from polytask.study.selection.screen import Screen, screen
from polytask.study.selection.sets import Helpers, HelperSet, count_sets, helper_sets
from polytask.study.selection.settings import Selection
from polytask.study.settings import SHARED, Choice, Settings

EQUAL = Choice("linear")


class SelectionPlan:
    """Which runs there are. Outcomes may only grow while one plan lives.

    **Screen**, at the middle learning rate (of an even number, the upper) on seed 0: one training
    of all tasks together with equal weights, which records how far gradients agree, and one trial
    in which a bandit chooses the helper that trains along. It decides who the finalists are.
    **Proof**: every set of helpers is searched over the learning rates on seed 0, and runs its
    other seeds at the rate that did best for the main task on validation. The main task alone and
    all candidates are known from the start and need not wait for the screen.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self.settings: Settings = selection.study
        self.alone = self.contender(HelperSet(()))
        self.everyone = self.contender(HelperSet(selection.candidates))
        self._screen: Screen | None = None
        self._rates: dict[str, float] = {}

    @property
    def screening_rate(self) -> float:
        """The learning rate of the screen."""
        return self.settings.middle_rate

    @property
    def total(self) -> int:
        """How many trainings there will be when none fails, probes left out."""
        return self.total_for(self.selection.finalists) + int(self.selection.screened)

    def total_for(self, finalists: int) -> int:
        """How many trainings so many finalists take, without a trial to choose them."""
        searched = len(self.settings.lr) + self.settings.seeds - 1
        recorded = 0 if self._shared else 1
        return count_sets(len(self.selection.candidates), finalists) * searched + recorded

    @property
    def probe_total(self) -> int:
        """How many cost probes there will be."""
        return count_sets(len(self.selection.candidates), self.selection.finalists)

    @property
    def _shared(self) -> bool:
        """Whether the screen's training is also one of the search."""
        return self.recorded().id == self.unit(self.everyone, self.screening_rate, 0).id

    def contender(self, helpers: HelperSet) -> Contender:
        """The network that trains the main task with these helpers; alone, one of its own."""
        s = self.selection
        method, architecture = s.method, s.architecture
        if not helpers.helpers:
            method, architecture = EQUAL, Choice(SHARED)
        how = [choice_slug(method)] if helpers.helpers else []
        how += [choice_slug(architecture)] if architecture != Choice(SHARED) else []
        tasks = (s.main, *helpers.helpers)
        name = "-".join([helpers.id, *how])
        return Contender(name, tasks, architecture, method, not helpers.helpers)

    def screening(self) -> list[Unit]:
        """The runs of the screen."""
        return [self.recorded(), *([self.trial()] if self.selection.screened else [])]

    def recorded(self) -> Unit:
        """The training of all tasks with equal weights that records their gradients.

        Where all candidates are balanced with equal weights it is a run of theirs.
        """
        tasks = self.everyone.tasks
        s = self.selection
        equal = Contender("screen", tasks, s.architecture, EQUAL, False)
        chosen = self.everyone if s.method == EQUAL else equal
        return self.unit(chosen, self.screening_rate, 0)

    def trial(self) -> Unit:
        """The training in which a bandit chooses the helpers."""
        s = self.selection
        every = Contender("trial", self.everyone.tasks, s.architecture, EQUAL, False)
        config = self._network(every) | {
            "kind": "trial",
            "main": s.main,
            "epochs": self.settings.epochs,
            "rounds": s.trial_rounds,
            "lr": self.screening_rate,
            "seed": 0,
            "select": f"main:{s.main}",
        }
        return unit_of(self.settings, "trial", config)

    def screen(self, outcomes: Outcomes) -> Screen | None:
        """What the screen found, and the finalists; None until its runs have ended."""
        if self._screen is not None:
            return self._screen
        recorded = outcomes.get(self.recorded().hash)
        tried = outcomes.get(self.trial().hash) if self.selection.screened else {}
        if recorded is None or tried is None:
            return None
        self._screen = screen(self.selection, recorded, tried)
        return self._screen

    def finalists(self, outcomes: Outcomes) -> tuple[str, ...] | None:
        """Who goes on; None until that is decided."""
        if not self.selection.screened:
            return self.selection.candidates
        found = self.screen(outcomes)
        return None if found is None else found.finalists

    def contenders(self, outcomes: Outcomes) -> dict[Helpers, Contender]:
        """Every set that is known by now, by its helpers."""
        finalists = self.finalists(outcomes)
        if finalists is None:
            return {frozenset(c.tasks[1:]): c for c in (self.alone, self.everyone)}
        sets = helper_sets(self.selection.candidates, finalists)
        return {found.key: self.contender(found) for found in sets}

    def probes(self, outcomes: Outcomes) -> list[Unit]:
        """The cost probes that are known by now."""
        return [self.probe(contender) for contender in self.contenders(outcomes).values()]

    def probe(self, contender: Contender) -> Unit:
        """The run that measures step time and memory."""
        config = self._network(contender) | {"kind": "probe", "seed": 0}
        return unit_of(self.settings, f"probe-{contender.id}", config)

    def unit(self, contender: Contender, lr: float, seed: int) -> Unit:
        """One training run."""
        s = self.settings
        config = self._network(contender) | {"kind": "train", "lr": lr, "seed": seed}
        config |= {"epochs": s.epochs, "select": f"main:{self.selection.main}"}
        every = set(contender.tasks) == set(self.settings.tasks)
        if every and contender.method == EQUAL:
            config["conflict"] = "tail"
        return unit_of(self.settings, f"{contender.id}-lr{lr:g}-s{seed}", config)

    def units(self, contender: Contender, outcomes: Outcomes) -> list[Unit]:
        """The runs of one set that are known by now: the search, then the other seeds."""
        rate = self.chosen_lr(contender, outcomes)
        more = range(1, self.settings.seeds) if rate is not None else ()
        found = [self.unit(contender, lr, 0) for lr in self.settings.lr]
        return found + [self.unit(contender, rate or 0.0, seed) for seed in more]

    def startable(self, outcomes: Outcomes) -> list[Unit]:
        """Runs that could start now and have not ended: the screen first, then seed by seed."""
        known = self.contenders(outcomes).values()
        rest = [unit for c in known for unit in self.units(c, outcomes)]
        return waiting(self.screening(), rest, outcomes)

    def chosen_lr(self, contender: Contender, outcomes: Outcomes) -> float | None:
        """The rate with the best validation score of the main task on seed 0.

        None while the search has not ended, and when every rate failed. Equal scores go to the
        smaller rate.
        """
        if contender.id in self._rates:
            return self._rates[contender.id]
        scored = []
        for lr in self.settings.lr:
            ended = outcomes.get(self.unit(contender, lr, 0).hash)
            if ended is None:
                return None
            scored.append((lr, shared_score(ended, [self.selection.main], {}, self.settings)))
        best = best_rate(scored)
        if best is not None:
            self._rates[contender.id] = best
        return best

    def _network(self, contender: Contender) -> dict[str, Any]:
        s = self.settings
        constructed = self.selection.constructed(contender.tasks)
        return {
            **network(s, contender),
            "method": self._method(contender.method),
            **({"auxiliary": constructed} if constructed else {}),
        }

    def _method(self, choice: Choice) -> dict[str, Any]:
        """A method as it is built; one that has a main task is told which."""
        found = self.settings.method(choice)
        if "main" in registry.find("method", choice.name).arguments:
            found["arguments"].setdefault("main", self.selection.main)
        return found
