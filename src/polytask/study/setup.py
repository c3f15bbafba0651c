"""What happens between the words of a study and its first run: open, check, write down."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

import polytask
from polytask.data import Dataset
from polytask.data.preprocess import is_molecule, is_sequence
from polytask.data.sources import tasks_of
from polytask.errors import UserError
from polytask.files import make_folder, write_text
from polytask.study.data_sets import key_of
from polytask.study.facts import check_splits, facts, fingerprint
from polytask.study.helpers import check_helpers, helper_tasks, task_fact
from polytask.study.maker import checked_maker
from polytask.study.mixing import maps_tasks
from polytask.study.settings import SHARED, Choice, Settings, choose
from polytask.study.source import card_of, open_data

if TYPE_CHECKING:
    from polytask.study.plan import Plan
    from polytask.study.unit import EncoderMaker

__all__ = [
    "card_of", "check", "describe_encoder", "encoder_maker", "fingerprint",
    "heading", "is_object", "is_table", "open_data", "plain_data", "plain_targets", "save",
    "shared_size", "storable", "task_facts", "write_report", "write_yaml",
]  # fmt: skip


def encoder_maker(encoder: Any) -> EncoderMaker | None:
    """A function that makes the encoder, for one that is given as an object; else None."""
    if isinstance(encoder, nn.Module):
        return lambda spec: copy.deepcopy(encoder)
    return checked_maker(encoder) if callable(encoder) else None


def describe_encoder(encoder: Any, dataset: Dataset) -> Choice:
    """The encoder as a choice; an object is described by its code, so that changes are seen."""
    if encoder is None:
        if "image" in dataset.inputs:
            return Choice("resnet")
        if is_table(dataset):
            return Choice("mlp")
        if is_sequence(dataset):
            return Choice("transformer")
        if is_molecule(dataset):
            return Choice("molecule")
        raise UserError(
            f"encoder: none fits the inputs {sorted(dataset.inputs)} by itself; in Python, pass a "
            "callable (spec) -> nn.Module that reads a dictionary of these tensors."
        )
    if not callable(encoder):
        return choose("encoder", encoder)
    if isinstance(encoder, nn.Module):
        found = hashlib.sha256(repr(encoder).encode())
        for value in encoder.state_dict().values():
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        return Choice(type(encoder).__name__, {"weights": found.hexdigest()[:16]})
    name = getattr(encoder, "__qualname__", type(encoder).__name__)
    try:
        source = inspect.getsource(encoder)
    except (OSError, TypeError):
        source = name
    return Choice(name, {"source": hashlib.sha256(source.encode()).hexdigest()[:16]})


def is_table(dataset: Dataset) -> bool:
    """Whether all inputs are columns, which trees can read too."""
    return set(dataset.inputs) <= {"numeric", "categorical"}


def task_facts(dataset: Dataset, auxiliary: Sequence[Choice] = ()) -> dict[str, dict[str, Any]]:
    """What the plan and the analysis need to know of the tasks, those of recipes behind.

    Raises `UserError` for a recipe that the data set does not fit.
    """
    own = {name: task_fact(task) for name, task in dataset.tasks.items()}
    made = helper_tasks(auxiliary, dataset)
    return own | {name: {**task_fact(task), "constructed": True} for name, task in made.items()}


def storable(dataset: Dataset) -> bool:
    """Whether the tasks can be written to a file."""
    try:
        for task in dataset.tasks.values():
            task.to_dict()
    except UserError:
        return False
    return True


def check(
    plan: Plan,
    dataset: Dataset,
    make_encoder: EncoderMaker | None,
    card: Mapping[str, Any],
    ended: Collection[str],
) -> dict[str, Any]:
    """Everything that can be wrong without training: splits, tasks, networks, methods, options.

    A network whose cost has been measured (its hash is in `ended`) is known to work. Returns
    the facts of the data for the analysis. Raises `UserError`.
    """
    from polytask.study.unit import build, make_trainer, prepare, rehearse
    from polytask.training import build_method

    settings = plan.settings
    if not settings.counted:
        raise UserError(
            "every task is auxiliary, so there is nothing to judge by; give one the role 'main', "
            "or use select='main:TASK'."
        )
    splits = check_splits(
        dataset, settings.seeds, settings.split, settings.test_fraction, settings.val_fraction
    )
    helpers = helper_tasks(settings.auxiliary, dataset)
    for contender in plan.candidates:
        # Arguments first: they cost nothing, and a rehearsal of the candidate before may.
        chosen = plan.probe(contender).config["method"]
        build_method(chosen["name"], {**dataset.tasks, **helpers}, **chosen["arguments"])
    made, factor = check_helpers(settings, dataset, splits) if helpers else ({}, 1.0)
    prepared = None
    for contender in plan.candidates:
        probe = plan.probe(contender)
        if probe.hash in ended:
            continue
        config = probe.config
        prepared = prepared or prepare(config, dataset)
        try:
            model = build(config, prepared, make_encoder)
            make_trainer(config, prepared, model, select=settings.select)
            rehearse(config, prepared, model, make_encoder)
        except UserError as error:
            if not plan.several and not plan.scheduled:
                raise
            pair = f"{contender.architecture.label} with {contender.method.label}"
            if contender.schedule is not None:
                pair += f" by {contender.schedule.label}"
            raise UserError(f"{pair}: {error}") from error
    alone = plan.probe(plan.singles[0])
    if settings.parameters is not None and alone.hash not in ended:
        # Of a given size the separate networks may be too small to exist; they are all alike.
        build(alone.config, prepare(alone.config, dataset), make_encoder)
    known = facts(dataset, splits, card)
    if settings.mixed is not None:
        for each in known["dataset"]["sets"]:
            each["batch_size"] = settings.mixed.batch_size[each["name"]]
    if made:
        known["tasks"] |= made
        known["dataset"]["rows_with_helpers"] = factor
    return known


def shared_size(settings: Settings, dataset: Dataset) -> int:
    """Parameters of hard sharing on the encoder of the settings."""
    from polytask.study.matching import scaled
    from polytask.study.unit import build, prepare

    encoder = settings.encoder.to_dict()
    scaled(encoder, 1.0)  # refuses an encoder whose widths are not known
    config = {
        "architecture": {"name": SHARED, "arguments": {}},
        "encoder": encoder,
        "tasks": list(settings.tasks),
        "split": settings.split,
        "test_fraction": settings.test_fraction,
        "val_fraction": settings.val_fraction,
        "seed": 0,
        "auxiliary": [choice.to_dict() for choice in settings.auxiliary],
    }
    return sum(p.numel() for p in build(config, prepare(config, dataset)).parameters())


def save(dataset: Dataset, out: Path) -> None:
    """Write the data set where the runs find it; one that no file can hold stays in memory."""
    make_folder(out)
    if storable(dataset):
        dataset.save(out / "data")


def heading(settings: Settings, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `results.json` that says which study this is."""
    from polytask.training import environment

    return {
        "polytask": polytask.__version__,
        "name": settings.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(arguments),
        "environment": environment(),
    }


def write_yaml(path: Path, content: Mapping[str, Any], note: str = "") -> None:
    """Write settings as YAML, behind a line of comment where there is something to note."""
    import yaml

    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    write_text(path, f"# {note}\n{text}" if note else text)


def write_report(results: Mapping[str, Any], path: Path) -> Path:
    """The HTML report."""
    from polytask import report

    return report.write_report(dict(results), path)


def plain_data(data: Any, out: Path) -> Any:
    """How `study.yaml` names the data; an object is found where the study saved it."""
    if isinstance(data, Choice):
        return data.plain()
    if maps_tasks(data):
        if is_object(data):
            return str(out / "data")  # all of them, as the study saved them
        return {
            ", ".join(tasks_of(key_of(key))): plain_data(each, out) for key, each in data.items()
        }
    if isinstance(data, Mapping):
        return {str(name): dict(options or {}) for name, options in data.items()}
    return str(data) if isinstance(data, str | Path) else str(out / "data")


def is_object(data: Any) -> bool:
    """Whether data are given as they are, and not by a name, a file or a folder."""
    if maps_tasks(data):
        return any(map(is_object, data.values()))
    return not isinstance(data, str | Path | Choice | Mapping)


def plain_targets(targets: Any, tasks: Mapping[str, Mapping[str, Any]]) -> list[str] | None:
    """How `study.yaml` names the targets: with the kinds that were inferred."""
    if targets is None:
        return None
    roles = {"main": "", "auxiliary": ":auxiliary"}
    return [
        f"{name}:{facts['kind']}{roles[facts['role']]}"
        for name, facts in tasks.items()
        if not facts.get("constructed")
    ]
