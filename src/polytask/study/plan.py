"""The runs of a study: what each is, its name, its hash, and when it can start.

A run's hash covers everything that decides its numbers, so a run is finished when a result
with its hash lies in its folder, whoever wrote it and whenever.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from polytask.study.folder import Outcome, number
from polytask.study.settings import BASELINES, HOW, SHARED, Choice, Settings
from polytask.study.statistics import SIGNS, mean_defined

FORMAT = 1
"""Raised when a run computes something else than before from the same configuration."""

EQUAL_WEIGHTS = (Choice(SHARED), Choice("linear"))
"""What every candidate is compared with: hard sharing with tuned equal weights."""

LITMUS = Choice("rlw")

DISTILLED = "-distilled"
"""Ends the name of a candidate that learns from the single-task networks."""

NAMED = 60
"""Letters of several names in the name of a folder."""

Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True)
class Unit:
    """One run: its name (also its folder's) and its configuration, all of it JSON."""

    id: str
    config: dict[str, Any]
    fingerprint: str
    how: dict[str, Any] = field(default_factory=dict)
    """Options of the Trainer that change how a run is carried out, not what it computes."""
    plugins: tuple[dict[str, str], ...] = ()
    """Files of the user's own to import first; their hashes are in the configuration."""

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits of the configuration and the data; `how` plays no part."""
        return digest({"format": FORMAT, "config": self.config, "data": self.fingerprint})

    def to_dict(self) -> dict[str, Any]:
        """What `unit.json` holds."""
        return {
            "id": self.id,
            "hash": self.hash,
            "config": self.config,
            "data": self.fingerprint,
            "how": self.how,
            "plugins": list(self.plugins),
        }


@dataclass(frozen=True)
class Contender:
    """What gets one learning-rate search and one set of seeds: a network and a method."""

    id: str
    tasks: tuple[str, ...]
    architecture: Choice
    method: Choice
    single: bool
    distilled: bool = False
    """Whether it learns from the single-task networks."""
    schedule: Choice | None = None
    """Whose turn it is, of several data sets; None where there is one."""

    @property
    def baseline(self) -> bool:
        """Whether this is one of the baselines of every study."""
        plain = self.method in map(Choice, BASELINES) and not self.distilled
        return plain and self.architecture == Choice(SHARED)


class Plan:
    """The runs of a study. Everything asked of it is a function of settings and outcomes.

    Outcomes may only grow while one plan lives: what they decided is remembered.

    Three stages, without waiting for one another more than they must: every network without
    sharing is searched over the learning rates on seed 0; its validation scores are the
    reference for choosing epochs of the networks that share, which are searched next; whoever
    has a learning rate runs its other seeds. The run of seed 0 at the chosen rate is reused.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.singles = tuple(single_network(task) for task in settings.own)
        self.candidates = tuple(_candidates(settings))
        self.unit_of_cost = self.candidates[0]
        self._reference: dict[str, float] | None = None
        self._rates: dict[str, float] = {}
        self._teachers: dict[int, dict[str, Any]] = {}

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Single-task networks first, then the candidates in the order of the settings."""
        return self.singles + self.candidates

    @property
    def several(self) -> bool:
        """Whether there is more than one architecture, the baseline's included."""
        return len({c.architecture.label for c in self.candidates}) > 1

    @property
    def scheduled(self) -> bool:
        """Whether there is more than one schedule."""
        return len({c.schedule.label for c in self.candidates if c.schedule is not None}) > 1

    @property
    def total(self) -> int:
        """How many runs there will be when none fails, probes left out."""
        searched = len(self.settings.lr) + self.settings.seeds - 1
        return len(self.contenders) * searched + len(self.boosting())

    def probes(self) -> list[Unit]:
        """One cost probe for every contender."""
        return [self.probe(contender) for contender in self.contenders]

    def probe(self, contender: Contender) -> Unit:
        """The run that measures step time and memory; cheap, and always the first."""
        config = self._network(contender) | {"kind": "probe", "seed": 0}
        return unit_of(self.settings, f"probe-{contender.id}", config)

    def boosting(self) -> list[Unit]:
        """Gradient boosting per judged target and seed, for tables."""
        if not self.settings.boosting:
            return []
        return [
            self.boosting_unit(task, seed)
            for seed in range(self.settings.seeds)
            for task in self.settings.judged
            if self.settings.tasks[task]["kind"] != "custom"
        ]

    def boosting_unit(self, task: str, seed: int) -> Unit:
        """One of the runs of `boosting`."""
        config = {"kind": "boosting", "tasks": [task], "seed": seed} | rows(self.settings)
        return unit_of(self.settings, f"boosting-{slug(task)}-s{seed}", config)

    def unit(self, contender: Contender, lr: float, seed: int, outcomes: Outcomes) -> Unit | None:
        """One training run; None while what it depends on (probe, reference) has not ended."""
        s = self.settings
        config = self._network(contender) | {"kind": "train", "lr": lr, "seed": seed}
        config |= {"epochs": s.epochs, "select": s.select}
        if contender.single:
            (task,) = contender.tasks
            config["select"] = "loss" if s.select == "loss" else f"main:{task}"
        else:
            # Schedules may compare with it, whatever chooses epochs.
            compared = s.select == "mean_gain" or s.mixed is not None
            if compared and (reference := self.reference(outcomes)) is None:
                return None
            config["reference"] = reference if compared else None
            if not self.probed(contender, outcomes):
                return None
            config["equal_time"] = self.equal_time(contender, outcomes)
            if contender.distilled:
                if (teachers := self.teachers(seed, outcomes)) is None:
                    return None
                config["distill"] = {**config["distill"], "teachers": teachers}
            elif self._measured(contender):
                # What the tasks' gradients do when no method changes them.
                config["conflict"] = "exact" if s.statistic == "exact" else "tail"
        return unit_of(self.settings, f"{contender.id}-lr{lr:g}-s{seed}", config)

    def startable(self, outcomes: Outcomes) -> list[Unit]:
        """Runs that could start now and have not ended, in the order they should.

        Seeds go in step, so that a study cut short is still paired.
        """
        units = [unit for c in self.contenders for unit in self._startable(c, outcomes)]
        waiting = [unit for unit in units + self.boosting() if unit.hash not in outcomes]
        return sorted(waiting, key=lambda unit: int(unit.config["seed"]))

    def _startable(self, contender: Contender, outcomes: Outcomes) -> list[Unit]:
        """The runs of one contender whose configuration is known, ended or not."""
        pairs = [(lr, 0) for lr in self.settings.lr]
        rate = self.chosen_lr(contender, outcomes)
        if rate is not None:
            pairs += [(rate, seed) for seed in range(1, self.settings.seeds)]
        units = [self.unit(contender, lr, seed, outcomes) for lr, seed in pairs]
        return [unit for unit in units if unit is not None]

    def chosen_lr(self, contender: Contender, outcomes: Outcomes) -> float | None:
        """The rate that did best on the validation part of seed 0.

        None while the search has not ended, and when every rate failed. Equal scores go to
        the smaller rate. Rates of a network that shares are compared in units of single-task
        scores, so these must be in, whichever runs end first.
        """
        if contender.id in self._rates:
            return self._rates[contender.id]
        reference: dict[str, float] | None = {}
        if not contender.single and len(self.settings.lr) > 1:
            reference = self.reference(outcomes)
        if reference is None:
            return None
        tasks = contender.tasks if contender.single else self.settings.counted
        scored = []
        for lr in self.settings.lr:
            unit = self.unit(contender, lr, 0, outcomes)
            if unit is None or unit.hash not in outcomes:
                return None
            scored.append((lr, shared_score(outcomes[unit.hash], tasks, reference, self.settings)))
        best = best_rate(scored)
        if best is not None:
            self._rates[contender.id] = best
        return best

    def reference(self, outcomes: Outcomes) -> dict[str, float] | None:
        """Validation scores of seed 0 of the single-task networks; None until all are in.

        It only sets the scale by which gains of different tasks are added up when epochs are
        chosen. A task whose every run failed is left out; the Trainer then measures its gain
        from the best constant prediction.
        """
        if self._reference is not None:
            return self._reference
        found: dict[str, float] = {}
        for contender in self.singles:
            (task,) = contender.tasks
            units = [self.unit(contender, lr, 0, outcomes) for lr in self.settings.lr]
            if any(unit is None or unit.hash not in outcomes for unit in units):
                return None
            lr = self.chosen_lr(contender, outcomes)
            unit = None if lr is None else self.unit(contender, lr, 0, outcomes)
            score = None
            if unit is not None:
                score = number(outcomes[unit.hash]["selected"]["val"][task])
            if score is not None:
                found[task] = score
        self._reference = found
        return found

    @property
    def taught(self) -> tuple[str, ...]:
        """The tasks whose single-task networks can teach: of custom outputs, features alone."""
        s = self.settings
        features = (s.distill or {}).get("form") == "features"
        return tuple(t for t in s.own if features or s.tasks[t]["kind"] != "custom")

    def teachers(self, seed: int, outcomes: Outcomes) -> dict[str, Any] | None:
        """The runs that teach in a seed, by task: those of single-task networks at their rate.

        None until they have ended. A task whose run failed has none.
        """
        if seed in self._teachers:
            return self._teachers[seed]
        found: dict[str, Any] = {}
        for contender in self.singles:
            (task,) = contender.tasks
            if task not in self.taught:
                continue
            rate = self.chosen_lr(contender, outcomes)
            searched = self.settings.lr if rate is None else (rate,)
            units = [
                self.unit(contender, lr, 0 if rate is None else seed, outcomes) for lr in searched
            ]
            ended = [None if unit is None else outcomes.get(unit.hash) for unit in units]
            if None in ended:
                return None
            if rate is not None and ended[0] is not None and "error" not in ended[0]:
                assert units[0] is not None
                found[task] = {"run": units[0].id, "hash": units[0].hash}
        self._teachers[seed] = found
        return found

    def probed(self, contender: Contender, outcomes: Outcomes) -> bool:
        """Whether the costs of a contender and of equal weights have been measured, or failed."""
        return all(self.probe(each).hash in outcomes for each in (contender, self.unit_of_cost))

    def relative_cost(self, contender: Contender, outcomes: Outcomes) -> float | None:
        """Step time as a multiple of that of equal weights; None when a probe failed.

        From steps timed in turn where the network and the schedule are the same, else from two
        probes.
        """
        own = outcomes.get(self.probe(contender).hash, {})
        ours, theirs = own.get("step_seconds"), own.get("reference_seconds")
        like = (self.unit_of_cost.architecture, self.unit_of_cost.schedule)
        if theirs is None or (contender.architecture, contender.schedule) != like:
            theirs = outcomes.get(self.probe(self.unit_of_cost).hash, {}).get("step_seconds")
        return ours / theirs if ours and theirs else None

    def equal_time(self, contender: Contender, outcomes: Outcomes) -> int | None:
        """The last epoch that fits into the time of equal weights over all epochs."""
        ratio = self.relative_cost(contender, outcomes)
        if ratio is None:
            return None
        return max(1, math.floor(self.settings.epochs / max(1.0, ratio)))

    def _measured(self, contender: Contender) -> bool:
        """Whether the gradients of its tasks are compared: equal weights, by one schedule."""
        mixed = self.settings.mixed
        if contender.method != Choice("linear") or (mixed is not None and mixed.alone):
            return False
        return contender.schedule == self.unit_of_cost.schedule

    def _network(self, contender: Contender) -> dict[str, Any]:
        s = self.settings
        found = network(s, contender)
        if s.parameters is not None:
            # The networks of single tasks have together what one shared network has.
            share = s.parameters // len(s.own) if contender.single else s.parameters
            found["parameters"] = share
        if s.auxiliary and not contender.single:
            found["auxiliary"] = [choice.to_dict() for choice in s.auxiliary]
        if s.mixed is not None:
            found["mixture"] = s.mixed.config(contender.schedule)
            if contender.single:
                found["batch_size"] = s.mixed.rows_of(contender.tasks[0])
        if contender.distilled:
            teacher: dict[str, Any] = {"architecture": Choice(SHARED).to_dict()}
            if s.parameters is not None:
                teacher["parameters"] = s.parameters // len(s.own)
            options = dict(s.distill or {})
            found["distill"] = {"options": options, "tasks": list(self.taught), "network": teacher}
        return found


def network(settings: Settings, contender: Contender) -> dict[str, Any]:
    """The part of a run's configuration that says which network is trained, and on what rows."""
    return {
        "architecture": contender.architecture.to_dict(),
        "encoder": settings.encoder.to_dict(),
        "method": settings.method(contender.method),
        "tasks": list(contender.tasks),
        "batch_size": settings.batch_size,
        "trainer": {word: v for word, v in settings.trainer.items() if word not in HOW},
        **rows(settings),
    }


def rows(settings: Settings) -> dict[str, Any]:
    """The part of a run's configuration that says how the rows are split."""
    return {
        "split": settings.split,
        "test_fraction": settings.test_fraction,
        "val_fraction": settings.val_fraction,
    }


def unit_of(settings: Settings, unit_id: str, config: dict[str, Any]) -> Unit:
    """A run of a study with these settings."""
    how = {word: v for word, v in settings.trainer.items() if word in HOW}
    source = config.get("architecture", {}).get("source")
    own = tuple(found for found in settings.plugins if found["source"] == source)
    return Unit(unit_id, config, settings.fingerprint, how, own)


def single_network(task: str) -> Contender:
    """The network of one task: hard sharing's with one head, which needs no balancing."""
    return Contender(f"single-{slug(task)}", (task,), *EQUAL_WEIGHTS, True)


def best_rate(scored: Iterable[tuple[float, float | None]]) -> float | None:
    """The learning rate with the highest score; None when all failed. Of equal ones the first."""
    best, best_score = None, -math.inf
    for lr, score in scored:
        if score is not None and score > best_score:
            best, best_score = lr, score
    return best


def shared_score(
    outcome: Outcome, tasks: Iterable[str], reference: Mapping[str, float], settings: Settings
) -> float | None:
    """Validation score of a network of several tasks, higher is better; None for a failed run.

    Mean over the tasks of the score in units of its reference, which is what `mean_gain` adds up.
    """
    if "error" in outcome:
        return None
    gains = []
    for task in tasks:
        score, scale = number(outcome["selected"]["val"][task]), reference.get(task)
        if score is not None:
            sign = SIGNS[settings.tasks[task]["direction"]]
            gains.append(sign * score / (abs(scale) if scale else 1.0))
    return mean_defined(gains)


def _candidates(settings: Settings) -> list[Contender]:
    """The networks that share, the baseline first: ties are decided for the simplest candidate."""
    mixed = settings.mixed
    if mixed is None:
        return [_candidate(settings, *pair) for pair in _pairs(settings)]
    first, *others = mixed.schedules
    # Where a step has one task, random weights are equal ones.
    pairs = [(a, m) for a, m, _ in _pairs(settings) if m != LITMUS or not mixed.alone]
    # Of further schedules what was chosen, without the baselines that are always there.
    more = [(a, m) for a, m in pairs if a in settings.architectures and m != LITMUS]
    return [_candidate(settings, *pair, schedule=first) for pair in pairs] + [
        _candidate(settings, *pair, schedule=schedule)
        for schedule in others
        for pair in more
        if mixed.fits(pair[1], schedule)
    ]


def _candidate(
    settings: Settings,
    architecture: Choice,
    method: Choice,
    distilled: bool = False,
    schedule: Choice | None = None,
) -> Contender:
    """A network of all tasks."""
    name = f"{choice_slug(architecture)}-{choice_slug(method)}{DISTILLED * distilled}"
    if schedule is not None:
        name += f"-{choice_slug(schedule)}"
    every = tuple(settings.tasks)
    return Contender(name, every, architecture, method, False, distilled, schedule)


def _pairs(settings: Settings) -> list[tuple[Choice, Choice, bool]]:
    """Every method under every architecture, behind the baseline; and whether it is distilled.

    Equal weights under hard sharing come first, asked for or not. Random weights, the litmus of
    balancing, run under hard sharing, or the first architecture, alone: under each they would
    double a study of architectures. Distilled ones come last, of the methods and architectures that
    were chosen.
    """
    shared = Choice(SHARED)
    home = shared if shared in settings.architectures else settings.architectures[0]
    every = [
        (a, m) for a in settings.architectures for m in settings.methods if a == home or m != LITMUS
    ]
    plain = [EQUAL_WEIGHTS, *(pair for pair in every if pair != EQUAL_WEIGHTS)]
    taught = [] if settings.distill is None else [pair for pair in every if pair[1] != LITMUS]
    return [(*pair, False) for pair in plain] + [(*pair, True) for pair in taught]


def digest(content: Any) -> str:
    """16 hexadecimal digits of any JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def slug(name: str) -> str:
    """`name` as part of a folder's name; what had to be changed is told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9_.]+", "_", name).strip(".")[:48]
    return plain if plain == name else f"{plain}_{digest(name)[:6]}"


def joined(names: Sequence[str]) -> str:
    """Names as part of a folder's name; many, or long ones, are told apart by a hash."""
    text = "-".join(map(slug, names))
    return text if len(text) <= NAMED else f"{len(names)}_{digest(list(names))[:8]}"


def choice_slug(choice: Choice) -> str:
    """`cagrad-c0.4` for `cagrad (c=0.4)`."""
    parts = [slug(f"{key}{value}") for key, value in sorted(choice.arguments.items())]
    return "-".join([choice.name, *parts])
