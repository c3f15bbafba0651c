"""What a study compares, resolved and checked before anything is trained.

Words are checked against the registry, which reads source files without importing them, so
a wrong name costs milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask import plugins, registry
from polytask.errors import UserError, some, unknown
from polytask.files import check_place

if TYPE_CHECKING:
    from polytask.study.mixing import Mixed

BASELINES = ("linear", "rlw")
"""Tuned equal weights, and random weights as the litmus: always in the study."""
SHARED, ALONE = "hard_sharing", "single_task"
"""The architecture of the baselines, and the one that all are judged against."""

STATISTICS = ("features", "tail", "exact")
DEFAULT_METHODS = ("linear", "rlw", "uncertainty", "pcgrad", "mgda")
DEFAULT_RATES = (3e-4, 1e-3, 3e-3)
DISTILL_FORMS = ("annealed", "soft", "ensemble", "features")
"""What `polytask.training.distillation.FORMS` holds, known here without torch."""
DISTILL_OPTIONS = (
    "form", "temperature", "weight", "unlabelled", "places", "cache", "adapter_lr",
)  # fmt: skip
HOW = ("checkpoint_every",)
"""Trainer options that decide how a run is carried out, not what it computes."""
TRAINER_OPTIONS = (
    "accumulate", "checkpoint_every", "clip_norm", "device", "optimizer", "patience", "precision",
    "scheduler", "warmup", "weight_decay",
)  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """A registered name with arguments: a method, an architecture, an encoder."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    """Hash of the code, of what the user registered: another version makes other runs."""

    @property
    def label(self) -> str:
        """`cagrad (c=0.4)`: what the user chose, without our defaults."""
        shown = ", ".join(f"{key}={_flow(value)}" for key, value in self.arguments.items())
        return f"{self.name} ({shown})" if shown else self.name

    def plain(self) -> Any:
        """The form of a YAML file: a bare name, or `{name: {argument: value}}`."""
        return {self.name: dict(self.arguments)} if self.arguments else self.name

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        own = {"source": self.source} if self.source else {}
        return {"name": self.name, "arguments": dict(self.arguments), **own}


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a study's runs compute. All of it is JSON."""

    name: str
    tasks: dict[str, dict[str, Any]]
    """Task -> {"kind", "role", "metric", "direction"}; the order is the order everywhere.

    Those that a recipe makes have "constructed" as well, and come last.
    """
    fingerprint: str
    """Hash of the data set: runs on other data are other runs."""
    methods: tuple[Choice, ...]
    architectures: tuple[Choice, ...]
    encoder: Choice
    seeds: int = 5
    epochs: int = 20
    batch_size: int = 256
    lr: tuple[float, ...] = DEFAULT_RATES
    split: str = "random"
    test_fraction: float = 0.15
    val_fraction: float = 0.15
    select: str = "mean_gain"
    statistic: str | None = None
    boosting: bool = False
    parameters: int | None = None
    """What every network has, those of single tasks together included; None: as they come."""
    auxiliary: tuple[Choice, ...] = ()
    """Recipes of the helper tasks that are among `tasks` as "constructed"."""
    distill: dict[str, Any] | None = None
    """Options of the distillation that is tried beside every candidate; None: none is."""
    mixed: Mixed | None = None
    """How data sets of their own for each task are mixed; None: there is one for all tasks."""
    trainer: dict[str, Any] = field(default_factory=dict)
    plugins: tuple[dict[str, str], ...] = ()
    """Where the user's own architectures are, see `polytask.plugins.origin`."""

    def __post_init__(self) -> None:
        if self.statistic not in (None, *STATISTICS):
            raise unknown("statistic", self.statistic, STATISTICS)

    @property
    def counted(self) -> tuple[str, ...]:
        """The tasks that Δm averages over: the main ones, or the one of `select="main:NAME"`."""
        if self.select.startswith("main:"):
            return (self.select.removeprefix("main:"),)
        return tuple(t for t, facts in self.tasks.items() if facts["role"] == "main")

    @property
    def middle_rate(self) -> float:
        """The middle one of the learning rates; of an even number, the upper."""
        return self.lr[len(self.lr) // 2]

    @property
    def own(self) -> tuple[str, ...]:
        """The tasks of the data set. Constructed ones have no network of their own."""
        return tuple(t for t, facts in self.tasks.items() if not facts.get("constructed"))

    @property
    def judged(self) -> tuple[str, ...]:
        """The tasks that the verdict speaks of; auxiliary ones only train along."""
        return tuple(t for t in self.tasks if self.tasks[t]["role"] == "main" or t in self.counted)

    def method(self, choice: Choice) -> dict[str, Any]:
        """A method as it is built: one scale for all, and the study's statistic where it fits."""
        entry = registry.find("method", choice.name)
        common: dict[str, Any] = {}
        if "scale" in entry.arguments:
            common["scale"] = "sum"
        if self.statistic is not None and reads_gradients(entry):
            common["statistic"] = self.statistic
        return {"name": choice.name, "arguments": {**common, **choice.arguments}}


def reads_gradients(entry: registry.Entry) -> bool:
    """Whether `statistic=` means something to a method."""
    return entry.constants.get("statistic_kind", "losses") not in ("losses", "row")


def choose(kind: str, raw: object) -> Choice:
    """Read `"cagrad"` or `{"cagrad": {"c": 0.4}}` and check it against the registry.

    Raises `UserError` for an unknown name or argument, with the nearest right word.
    """
    if isinstance(raw, Choice):
        name, arguments = raw.name, raw.arguments
    elif isinstance(raw, str):
        name, arguments = raw, {}
    elif isinstance(raw, Mapping) and len(raw) == 1:
        name, arguments = next(iter(raw.items()))
        arguments = {} if arguments is None else arguments
    else:
        raise UserError(
            f"{kind}: expected a name or {{name: {{argument: value}}}}, found {raw!r}. Write the "
            "name: a study hands its settings to other processes as text."
        )
    if not isinstance(arguments, Mapping):
        raise UserError(
            f"{kind} {name}: expected its arguments as {{argument: value}}, found {arguments!r}. "
            "Write the argument's name, too."
        )
    entry = registry.find(kind, str(name))
    registry.check_arguments(kind, entry, dict(arguments))
    return Choice(entry.name, dict(arguments), plugins.source(entry))


def choose_methods(raw: Iterable[object] | str) -> tuple[Choice, ...]:
    """The methods asked for, without repeats, after the baselines that are always there.

    A baseline with arguments of the user's own is one more candidate beside the plain one.
    """
    asked = [choose("method", item) for item in listed(raw)]
    plain = [Choice(name) for name in BASELINES]
    found = distinct([*plain, *asked])
    # Equal weights first: ties are decided for the simplest candidate.
    return tuple(found)


def choose_auxiliary(raw: Iterable[object] | str | Mapping[str, Any]) -> tuple[Choice, ...]:
    """The recipes of helper tasks, without repeats; a mapping is several names with arguments."""
    rows: Iterable[object] = (
        [{k: v} for k, v in raw.items()] if isinstance(raw, Mapping) else listed(raw)
    )
    return tuple(distinct([choose("auxiliary", item) for item in rows]))


def choose_distill(raw: object) -> dict[str, Any] | None:
    """Read `"single_task"` or `{"from": "single_task", "form": "soft", ...}`; None is none.

    Raises `UserError` for other teachers, an unknown option or form.
    """
    if raw is None:
        return None
    given = {"from": raw} if isinstance(raw, str) else raw
    if not isinstance(given, Mapping) or "from" not in given:
        raise UserError(
            f"distill: expected {{from: {ALONE}}}, with options such as form beside it; found "
            f"{raw!r}. Say whom to learn from."
        )
    if given["from"] != ALONE:
        raise UserError(
            f"distill: expected from: {ALONE}, the study's own networks of single tasks, found "
            f"{given['from']!r}. For teachers of your own use Trainer(distill=...)."
        )
    options = {str(word): value for word, value in given.items() if word != "from"}
    for word in options:
        if word not in DISTILL_OPTIONS:
            raise unknown("option of distill:", word, ("from", *DISTILL_OPTIONS))
    if (form := options.get("form", DISTILL_FORMS[0])) not in DISTILL_FORMS:
        raise unknown("form of distillation", form, DISTILL_FORMS)
    return options


def choose_architectures(raw: Iterable[object] | str) -> tuple[Choice, ...]:
    """The ways of sharing to compare, without repeats.

    `single_task` may be named and is left out: it is in every study, as the yardstick.
    """
    found = [choose("architecture", item) for item in listed(raw)]
    if not found:
        raise UserError("architectures: expected at least one, found none; try 'hard_sharing'.")
    for choice in found:
        if choice.name == ALONE and choice.arguments:
            instead = "Name it without arguments, or leave it out."
            if "regularize" in choice.arguments:
                instead += " Networks apart with terms are soft_sharing: {strength: 0, regularize: "
                instead += f"{choice.arguments['regularize']}}}."
            raise UserError(
                "architectures: 'single_task' is in every study as the yardstick, with its "
                f"defaults; found {choice.label}. {instead}"
            )
    sharing = [choice for choice in found if choice.name != ALONE]
    if not sharing:
        raise UserError(
            "architectures: 'single_task' is in every study as the yardstick; name a way of "
            "sharing too, such as 'hard_sharing'."
        )
    return tuple(distinct(sharing))


def distinct(found: Sequence[Choice]) -> list[Choice]:
    """Choices without repeats; arguments are dicts, so no set can do it."""
    kept: list[Choice] = []
    for choice in found:
        if choice not in kept:
            kept.append(choice)
    return kept


def listed(raw: Iterable[object] | str | Mapping[str, Any]) -> list[object]:
    """One item or several, as a list. Raises `UserError` for what is neither."""
    if isinstance(raw, str | Mapping | Choice) or not isinstance(raw, Iterable):
        return [raw]
    return list(raw)


def rates(raw: float | Iterable[float]) -> tuple[float, ...]:
    """The learning rates of the search, smallest first."""
    values: list[Any] = [raw]
    if isinstance(raw, Iterable) and not isinstance(raw, str):
        values = list(raw)
    if not values:
        raise UserError("lr: expected at least one learning rate, found none; try [3e-4, 1e-3].")
    for value in values:
        positive(value, "lr")
    return tuple(sorted({float(value) for value in values}))


def positive(value: Any, word: str, whole: bool = False, least: float = 0) -> Any:
    """`value` if it is a number above `least`; else the `UserError` that says so."""
    kinds: tuple[type, ...] = (int,) if whole else (int, float)
    right = isinstance(value, kinds) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or value <= least:
        what = "a whole number" if whole else "a number"
        remedy = ""
        if word == "seeds" and isinstance(value, list | tuple | range):
            remedy = f" Write how many, seeds={len(value)}: they are 0, 1, 2, ..."
        elif isinstance(value, str):
            remedy = (
                " Give it as a number, in seconds." if word == "max_time" else " Give a number."
            )
        raise UserError(f"{word}: expected {what} above {least:g}, found {value!r}.{remedy}")
    return value


def check_select(select: str, tasks: Iterable[str]) -> str:
    """The rule that chooses epochs; `main:NAME` must name a task."""
    rule, _, task = select.partition(":")
    if rule == "main":
        if task not in tasks:
            raise unknown("task in select='main:...':", task, tasks)
    elif select not in ("mean_gain", "mean_rank", "loss"):
        raise unknown("select rule", select, ("mean_gain", "mean_rank", "loss", "main:TASK"))
    return select


def check_tasks(tasks: Collection[str]) -> None:
    """Raise `UserError` unless there are tasks that could share."""
    if len(tasks) < 2:
        raise UserError(
            f"a study asks whether tasks should share, and found one task: {', '.join(tasks)}. "
            "Name at least two targets, or fit one model with MultiTaskEstimator or polytask train."
        )


def check_folder(out: Path) -> Path:
    """A folder for a study: one that can be made, an empty one, or a study's. Else `UserError`."""
    check_place(out)
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    others = [name for name in names if not name.startswith(".")]
    marks = ("study.yaml", "fingerprint.json", "runs", "data/dataset.json")
    if others and not any((out / mark).exists() for mark in marks):
        raise UserError(
            f"out: {out} holds other files ({some(others, 60)}); expected a folder that is new, "
            "empty or a study's. Name another one."
        )
    return out


def check_trainer_options(
    options: Mapping[str, Any], words: Iterable[str] = (), who: str = "compare"
) -> dict[str, Any]:
    """Options handed to every Trainer; an unknown word, or one that is no JSON, is an error.

    `words` are the further words of the function `who` that could have been meant.
    """
    for word, value in options.items():
        if word not in TRAINER_OPTIONS:
            raise unknown(f"option of {who}", word, [*TRAINER_OPTIONS, *words])
        if not isinstance(value, int | float | str | bool | None):
            raise UserError(
                f"{word}: expected a plain value, found {type(value).__name__}. Use a word or a "
                "number: a study hands its settings to other processes as text."
            )
    return {word: value for word, value in options.items() if value is not None}


def _flow(value: Any) -> str:
    """A value as one would write it in YAML on one line, as in `{mrn: {every: 10}}`."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inside)}" for key, inside in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)
