"""One run, from its folder alone: data, split, network, training, one judgement on test.

`run_folder` is what a child process calls; everything it needs is in the folder's `unit.json`
and in the data set that the study saved beside the runs.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from polytask import registry
from polytask.architectures import create_architecture, create_encoder
from polytask.data import Batches, Dataset, InputSpec, Mixture
from polytask.plugins import bring
from polytask.study.distillation import distillation
from polytask.study.executor import record
from polytask.study.folder import read_json, write_json
from polytask.study.joined import Joined, is_joined
from polytask.study.matching import matched
from polytask.study.prepared import Prepared, prepare
from polytask.training import (
    AffinityRecorder,
    Callback,
    ConflictRecorder,
    Trainer,
    build_method,
)
from polytask.training._fit import check_batches
from polytask.training.history import plain

__all__ = ["EncoderMaker", "Prepared", "build", "make_trainer", "prepare", "rehearse", "run_folder"]

REHEARSED_ROWS = 64
SAFE_RATE = 1e-5
"""For steps whose outcome does not matter: it costs what any other does and cannot diverge."""

EncoderMaker = Callable[[InputSpec], nn.Module]
EQUAL_TIME = "equal_time"

RECORDS = {"conflict": ConflictRecorder.file, "affinity": AffinityRecorder.file}
"""What a run may record: the key in its configuration and its result, and the file."""

Kind = Callable[[Mapping[str, Any], Dataset, Path, EncoderMaker | None], dict[str, Any]]
KINDS = {
    "boosting": "polytask.study.boosting:boost",
    "probe": "polytask.study.probe:probe",
    "represent": "polytask.study.relations.runs.represent:represent",
    "surrogate": "polytask.study.relations.runs.surrogate:surrogate",
    "train": "polytask.study.unit:train",
    "transfer": "polytask.study.relations.runs.transfer:transfer",
    "trial": "polytask.study.selection.trial:trial",
}
"""What carries out a run, by the kind in its configuration; imported when it is needed."""


def run_folder(
    folder: Path, dataset: Dataset | None = None, make_encoder: EncoderMaker | None = None
) -> None:
    """Carry out the run described in `folder/unit.json`; writes `result.json` or `error.json`.

    `dataset` and `make_encoder` are given when the study runs in one process because they
    cannot be written to a file; otherwise the data set is read from the study's folder and
    the encoder is made by name.
    """
    unit = read_json(folder / "unit.json")
    began = time.perf_counter()
    try:
        if dataset is None:
            torch.set_num_threads(1)
            for found in unit.get("plugins", ()):
                bring(found)
            dataset = load_data(folder.parents[1] / "data")
        config = {**unit["config"], "how": unit.get("how", {})}
        result = _carry_out(config, dataset, folder, make_encoder)
    except Exception as error:
        # Whatever a run raises is this run's result; the study goes on with the others.
        record(folder, unit, error)
        return
    head = {"schema": 1, "id": unit["id"], "hash": unit["hash"], "kind": unit["config"]["kind"]}
    seconds = time.perf_counter() - began
    write_json(folder / "result.json", plain({**head, **result, "seconds": seconds}))


def _carry_out(
    config: Mapping[str, Any], dataset: Dataset, folder: Path, make_encoder: EncoderMaker | None
) -> dict[str, Any]:
    """Dispatch on the kind of run, see `KINDS`."""
    module, _, function = KINDS[config["kind"]].partition(":")
    carry_out: Kind = getattr(importlib.import_module(module), function)
    return carry_out(config, dataset, folder, make_encoder)


@lru_cache(maxsize=1)
def load_data(folder: Path) -> Dataset:
    """The study's data set, or those that it has for its tasks."""
    return Joined.load(folder) if is_joined(folder) else Dataset.load(folder)


def build(
    config: Mapping[str, Any], prepared: Prepared, make_encoder: EncoderMaker | None = None
) -> nn.Module:
    """The network of a run, its weights drawn by the run's seed.

    Under one seed the encoder and the head of a task start the same in every network, alone
    or with other tasks, so runs are paired by initialisation too. A configuration with
    "parameters" gets its encoder scaled until the network has about as many.
    """
    if "parameters" in config:

        def count(encoder: Mapping[str, Any]) -> int:
            tried = {**config, "encoder": encoder}
            return sum(p.numel() for p in _network(tried, prepared, None).parameters())

        config = {**config, "encoder": matched(config["encoder"], config["parameters"], count)}
    return _network(config, prepared, make_encoder)


def _network(
    config: Mapping[str, Any], prepared: Prepared, make_encoder: EncoderMaker | None
) -> nn.Module:
    """The network of a configuration, its encoder as it stands there."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        if make_encoder is not None:
            encoder = make_encoder(prepared.spec)
        else:
            wanted = config["encoder"]
            encoder = create_encoder(wanted["name"], prepared.spec, **wanted["arguments"])
        chosen = config["architecture"]
        arguments = dict(chosen["arguments"])
        if "example" in registry.find("architecture", chosen["name"]).arguments:
            arguments["example"] = {k: v[:2] for k, v in prepared.parts["train"][0].items()}
        return create_architecture(chosen["name"], encoder, prepared.tasks, **arguments)


def train(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """Train, choose the epoch on validation, judge it on test once."""
    prepared = prepare(config, dataset)
    model = build(config, prepared, make_encoder)
    limit = config.get("equal_time")
    trainer = make_trainer(
        config,
        prepared,
        model,
        epochs=prepared.epochs(config["epochs"]),
        lr=config["lr"],
        select=config["select"],
        reference=config.get("reference"),
        checkpoints={EQUAL_TIME: limit} if limit else None,
        callbacks=_recorders(config),
        distill=distillation(config, prepared, make_encoder, folder.parent),
        out=folder,
        # A kill after the training, before its result is written, does not repeat it.
        resume="finished",
        config={"unit": folder.name},
        **config.get("how", {}),
    )
    size = config["batch_size"]
    history = trainer.fit(prepared.train(config), prepared.judging("val", size))
    primary = {name: task.primary.name for name, task in prepared.tasks.items()}

    def validation(epoch: int) -> dict[str, Any]:
        return {t: history.epochs[epoch - 1][f"val/{t}/{m}"] for t, m in primary.items()}

    def judge(checkpoint: str) -> dict[str, Any]:
        trainer.load_checkpoint(checkpoint)
        return trainer.evaluate(prepared.judging("test", size), "test")

    best = history.chosen["best"]
    tested = judge("best")
    result: dict[str, Any] = {
        "selected": {"epoch": best, "val": validation(best), "test": _of(tested, primary)},
        "metrics": {"val": _all(history.epochs[best - 1], "val"), "test": _all(tested, "test")},
        "curves": {t: history.series(f"val/{t}/{m}") for t, m in primary.items()},
        "weights": {t: history.series(f"weight/{t}") for t in primary},
        "parameters": sum(p.numel() for p in model.parameters()),
        "remarks": history.remarks,
    }
    for word, file in RECORDS.items():
        if word in config:
            # From the file: a finished training that is only read again records nothing.
            result[word] = read_json(folder / file)
    if "mixture" in config:
        from polytask.tabular.mixed import examples_seen

        result["mixture"] = {"examples": examples_seen(history), "passes": prepared.passes}
    terms: dict[str, Any] = getattr(model, "regularization", dict)()
    if terms:
        result["regularization"] = terms
    if limit:
        epoch = history.chosen[EQUAL_TIME]
        scores = tested if epoch == best else judge(EQUAL_TIME)
        result[EQUAL_TIME] = {
            "epoch": epoch,
            "max_epoch": limit,
            "val": validation(epoch),
            "test": _of(scores, primary),
        }
    return result


def _recorders(config: Mapping[str, Any]) -> list[Callback]:
    """What a run is to record beside its scores."""
    found: list[Callback] = []
    if "conflict" in config:
        found.append(ConflictRecorder(statistic=config["conflict"]))
    if "affinity" in config:
        found.append(AffinityRecorder(**config["affinity"]))
    return found


def make_trainer(
    run: Mapping[str, Any], prepared: Prepared, model: nn.Module, /, **options: Any
) -> Trainer:
    """A trainer with the method and the options of a run's configuration."""
    chosen = run["method"]
    method = build_method(chosen["name"], prepared.tasks, **chosen["arguments"])
    return Trainer(
        model,
        prepared.tasks,
        method=method,
        batch_size=run["batch_size"],
        seed=run["seed"],
        progress=False,
        **{**_in_passes(run["trainer"], prepared), **options},
    )


def _in_passes(options: Mapping[str, Any], prepared: Prepared) -> dict[str, Any]:
    """Options of a trainer whose epochs are passes over a data set of its own."""
    patience = options.get("patience")
    known = {} if patience is None else {"patience": prepared.epochs(patience)}
    return {**options, **known}


def rehearse(
    config: Mapping[str, Any],
    prepared: Prepared,
    model: nn.Module,
    make_encoder: EncoderMaker | None = None,
) -> None:
    """One step on a few rows with a network that is thrown away: shows what cannot work.

    Finds what only a step can tell: inputs that the encoder cannot read, a statistic that the
    method does not know, a network that shares nothing, teachers that do not fit.
    """
    few = prepared.labelled(REHEARSED_ROWS)
    trainer = make_trainer(
        config,
        prepared,
        model,
        epochs=1,
        lr=SAFE_RATE,
        patience=None,
        select="loss",
        reference=stand_in(prepared),
        distill=distillation(config, prepared, make_encoder),
    )
    check_batches(trainer.balancer, len(prepared.train(config)))
    train = few.rehearsal(config, REHEARSED_ROWS, trainer.balancer.batches)
    trainer.fit(train, held_out(trainer, prepared, REHEARSED_ROWS, train))


def stand_in(prepared: Prepared) -> dict[str, float]:
    """Scores in place of those of separate networks, which are not known yet."""
    return dict.fromkeys(prepared.tasks, 1.0)


def held_out(trainer: Trainer, prepared: Prepared, size: int, train: Any) -> Batches | None:
    """Validation batches for methods and schedules that go by them; None for all others."""
    needs = train.schedule.needs if isinstance(train, Mixture) else ()
    wanted = "validation" in trainer.balancer.needs or "scores" in needs
    return prepared.batches("val", size) if wanted else None


def _of(flat: Mapping[str, Any], primary: Mapping[str, str]) -> dict[str, Any]:
    """The primary test score of every task."""
    return {t: flat[f"test/{t}/{m}"] for t, m in primary.items()}


def _all(flat: Mapping[str, Any], part: str) -> dict[str, dict[str, Any]]:
    """`{"val/price/rmse": x}` as `{"price": {"rmse": x}}`."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        if key.startswith(f"{part}/"):
            _, task, metric = key.split("/")
            found.setdefault(task, {})[metric] = value
    return found
