"""Fitting one model to one data set: preprocessing, network, method and Trainer put together.

Used by `MultiTaskEstimator` and by `polytask train`, so both train in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from polytask import registry
from polytask.auxiliary import construct, create_auxiliary
from polytask.data import Batches, Dataset, Preprocessor
from polytask.data.preprocess import is_molecule, is_sequence
from polytask.errors import UserError
from polytask.optimization.base import Balancer
from polytask.tabular.fitted import Fitted, Named, build_network
from polytask.tabular.saved_teachers import Lesson, described, rows_seen, saved_distillation
from polytask.tasks import Task
from polytask.training import Distillation, History, Trainer, build_method

Choice = str | Mapping[str, Mapping[str, Any] | None]
"""A registered name, or one name with its arguments: `{"cagrad": {"c": 0.4}}`."""


@dataclass(frozen=True)
class FitSettings:
    """How one model is trained. The words are those of the Trainer, the CLI and YAML."""

    method: Choice = "linear"
    architecture: Choice = "hard_sharing"
    encoder: Choice | None = None
    """None: `mlp` for tables, `resnet` for images, `transformer` for sequences."""
    epochs: int = 100
    batch_size: int = 128
    lr: float = 1e-3
    patience: int | None = 20
    select: str = "mean_gain"
    seed: int = 0
    auxiliary: Choice | Sequence[Choice] = ()
    """Recipes of helper tasks, made from the training rows: trained along, never predicted."""
    distill: Mapping[str, Any] | None = None
    """Saved models to learn from: `{"from": FOLDER}` or `{"from": {TASK: FOLDER}}`, with options of
    `polytask.training.Distillation` beside it."""
    options: dict[str, Any] = field(default_factory=dict)
    """Any further argument of the Trainer: optimizer, weight_decay, scheduler, ..."""


def fit_dataset(
    dataset: Dataset,
    splits: Mapping[str, np.ndarray],
    settings: FitSettings,
    *,
    progress: bool = False,
    out: Path | None = None,
    resume: bool | str = True,
) -> tuple[Fitted, History]:
    """Train on rows `splits["train"]`, choosing the epoch on `splits["val"]` when it has rows.

    Everything random follows `settings.seed`; the global generators are left as they were.
    `out` and `resume` are the Trainer's: a run folder, and what to do with an earlier fit in it.

    Raises:
        UserError: a target that cannot be learned, an unknown name, a setting out of range, a
            teacher that does not fit.
        NonFiniteError: training diverged; the message says in which task, step and batch.
    """
    train, val = splits["train"], splits.get("val", np.empty(0, np.int64))
    given = dataset
    own = {name: task.fitted(dataset.targets[name][train]) for name, task in dataset.tasks.items()}
    recipes = [named("auxiliary", choice) for choice in several(settings.auxiliary)]
    rows = train
    if recipes:
        made = [create_auxiliary(name, **arguments) for name, arguments in recipes]
        dataset, rows = construct(made, dataset, train, settings.seed)
    helpers = {
        name: task.fitted(dataset.targets[name][rows])
        for name, task in dataset.tasks.items()
        if name not in own
    }
    tasks = {**own, **helpers}
    # From the rows that were there, not from copies that helpers add.
    preprocessor = Preprocessor.fit(dataset, train)
    distill: Distillation | None = None
    remarks: list[str] = []
    if settings.distill is not None:
        lesson = Lesson(own, given, preprocessor, splits)
        distill, remarks = saved_distillation(settings.distill, lesson)
    network, history = train_network(
        dataset,
        preprocessor,
        tasks,
        settings,
        batches(dataset, preprocessor, rows, settings, shuffle=True),
        batches(dataset, preprocessor, val, settings) if len(val) else None,
        progress=progress,
        out=out,
        resume=resume,
        distill=distill,
    )
    history.remarks += remarks
    record = recorded(dataset, splits, settings, history) | {"seen": rows_seen(given, splits)}
    if recipes:
        record["auxiliary"] = [plain(recipe) for recipe in recipes]
    fitted = Fitted(
        own,
        preprocessor,
        network,
        encoder_of(dataset, settings),
        named("architecture", settings.architecture),
        dataset.columns,
        record,
        helpers,
    )
    return fitted, history


def train_network(
    dataset: Dataset,
    preprocessor: Preprocessor,
    tasks: Mapping[str, Task],
    settings: FitSettings,
    train: Any,
    val: Any,
    *,
    progress: bool,
    out: Path | None,
    resume: bool | str,
    config: Mapping[str, Any] | None = None,
    distill: Distillation | None = None,
) -> tuple[nn.Module, History]:
    """Build the network for what the preprocessor gives, and train it; it ends in `eval`.

    `train` and `val` are what `Trainer.fit` takes; `config` is written into `config.yaml`.
    """
    with _seeded(settings.seed):
        network = build_network(
            preprocessor.spec,
            tasks,
            encoder_of(dataset, settings),
            named("architecture", settings.architecture),
        )
        trainer = Trainer(
            network,
            tasks,
            method=make_balancer(settings.method, tasks),
            lr=settings.lr,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            patience=settings.patience if val is not None else None,
            select=settings.select,
            seed=settings.seed,
            progress=progress,
            out=out,
            resume=resume,
            config=config,
            distill=distill,
            **settings.options,
        )
        history = trainer.fit(train, val)
    network.eval()
    return network, history


def recorded(
    dataset: Dataset,
    splits: Mapping[str, np.ndarray],
    settings: FitSettings,
    history: History,
) -> dict[str, Any]:
    """How a model was trained, for the reader of its card."""
    return {
        "data": dataset.name,
        "rows": {part: len(rows) for part, rows in splits.items()},
        "method": plain(named("method", settings.method)),
        "architecture": plain(named("architecture", settings.architecture)),
        "encoder": plain(encoder_of(dataset, settings)),
        "epochs": settings.epochs,
        "best_epoch": history.best_epoch,
        "batch_size": settings.batch_size,
        "lr": settings.lr,
        "patience": settings.patience,
        "select": settings.select,
        "seed": settings.seed,
        **({"distill": described(settings.distill)} if settings.distill else {}),
        **settings.options,
    }


def encoder_of(dataset: Dataset, settings: FitSettings) -> Named:
    """The encoder chosen, or the usual one for such inputs."""
    return named("encoder", settings.encoder or default_encoder(dataset))


def batches(
    dataset: Dataset,
    preprocessor: Preprocessor,
    rows: np.ndarray,
    settings: FitSettings,
    *,
    shuffle: bool = False,
) -> Batches:
    """Rows of a data set as batches of prepared tensors."""
    inputs = preprocessor.transform({name: array[rows] for name, array in dataset.inputs.items()})
    targets = {name: torch.from_numpy(array[rows]) for name, array in dataset.targets.items()}
    return Batches(inputs, targets, settings.batch_size, shuffle=shuffle, seed=settings.seed)


def make_balancer(choice: Choice, tasks: Mapping[str, Task]) -> Balancer:
    """The method by name, with the arguments chosen for it, told of the tasks."""
    name, arguments = named("method", choice)
    return build_method(name, tasks, **arguments)


def default_encoder(dataset: Dataset) -> str:
    """The encoder for images, molecules or sequences of codes; `mlp` for all else."""
    if "image" in dataset.inputs:
        return "resnet"
    if is_molecule(dataset):
        return "molecule"
    return "transformer" if is_sequence(dataset) else "mlp"


def named(kind: str, choice: Choice) -> Named:
    """A choice as its registered name and arguments, checked without importing anything.

    Raises `UserError` for an unknown name or argument, and for another form.
    """
    if isinstance(choice, str):
        name, arguments = choice, {}
    elif isinstance(choice, Mapping) and len(choice) == 1:
        name, given = next(iter(choice.items()))
        if given is not None and not isinstance(given, Mapping):
            raise UserError(
                f"the arguments of {kind} {name!r} should be a mapping, found {given!r}; write "
                f"{{{name!r}: {{'argument': {given!r}}}}}, with the argument's name."
            )
        arguments = dict(given or {})
    else:
        example = {"method": "pcgrad", "encoder": "mlp"}.get(kind, registry.names(kind)[0])
        raise UserError(
            f"{kind} should be a name or one name with its arguments, found {choice!r}; write "
            f"{example!r} or {{{example!r}: {{argument: value}}}}."
        )
    entry = registry.find(kind, name)
    registry.check_arguments(kind, entry, arguments)
    return entry.name, arguments


def several(choices: Choice | Sequence[Choice]) -> list[Choice]:
    """One choice or many, as a list; a mapping is as many as it has names."""
    if isinstance(choices, str):
        return [choices]
    if isinstance(choices, Mapping):
        return [{name: arguments} for name, arguments in choices.items()]
    return list(choices)


def plain(choice: Named) -> Any:
    """The form of a YAML file: a bare name, or `{name: {argument: value}}`."""
    name, arguments = choice
    return {name: arguments} if arguments else name


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator seeded inside, as it was afterwards."""
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
