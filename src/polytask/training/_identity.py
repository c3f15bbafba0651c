"""Which training a saved state belongs to: it is taken up by the same one only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any

from torch import nn

from polytask.data import InTurn, Mixture
from polytask.errors import UserError, some
from polytask.optimization.base import Balancer
from polytask.training.history import plain

if TYPE_CHECKING:
    from polytask.training.trainer import Trainer

FORMAT = 1
"""Raised when a saved state no longer means what it did."""
HOW = ("checkpoint_every",)
"""Settings that say how a training is carried out, not what it computes."""
DATA = {"train": "training", "val": "validation"}
PLAIN = (str, bool, int, float, type(None), tuple, list)


def identity(trainer: Trainer, train: Any, val: Any) -> dict[str, Any]:
    """What decides the numbers of a fit, as JSON: settings, the model's shapes, the data.

    `Batches` are told apart by their content. Of other batches only the type, the number and
    the batch size are known, and of a model only its parameters: code that changed is not seen.
    """
    resolved = trainer.settings.resolved(trainer.tasks, trainer.balancer, trainer.device)
    settings = {k: v for k, v in resolved["trainer"].items() if k not in HOW}
    settings["method"] = _balancer(trainer.balancer)
    known = {
        "format": FORMAT,
        "tasks": resolved["tasks"],
        "settings": settings,
        "model": _shapes(trainer.model),
        "train": _data(train),
        "val": None if val is None else _data(val),
    }
    known |= {k: v for k, v in _interventions(trainer).items() if v}
    if trainer.distill is not None and trainer.teachers is not None:
        known["distillation"] = {**trainer.distill.describe(), "of": trainer.teachers.identity()}
    if trainer.popart is not None:
        known["popart"] = trainer.popart.describe()
    # Through JSON at once, so that it equals what is read back from a file.
    read: dict[str, Any] = json.loads(json.dumps(plain(known), default=repr))
    return read


def compare(saved: Mapping[str, Any], now: Mapping[str, Any], folder: object) -> str | None:
    """None when both are the same training; else what differs, in words.

    Raises `UserError` when nothing differs but the data: then it is likelier that a file changed
    unseen than that a new training is wanted.
    """
    if saved.get("format") != now["format"]:
        return "another version of polytask"
    differs = [
        f"{name} {old!r}, now {new!r}"
        for name in now["settings"]
        if (old := saved["settings"].get(name)) != (new := now["settings"][name])
    ]
    parts = ("tasks", "model", "callbacks", "paused", "distillation", "popart")
    differs += [part for part in parts if saved.get(part) != now.get(part)]
    differs += [
        f"how the {DATA[part]} data are mixed"
        for part in DATA
        if _known(saved[part], "how") != _known(now[part], "how")
    ]
    if differs:
        return "; ".join(differs)
    changed = [part for part in DATA if saved[part] != now[part]]
    if changed:
        which = " and ".join(DATA[part] for part in changed)
        sets = [name for part in changed for name in _changed_sets(saved[part], now[part])]
        of = f" (those of {some(map(repr, dict.fromkeys(sets)), 80)})" if sets else ""
        raise UserError(
            f"{folder} holds an unfinished training with the same settings but other {which} "
            f"data{of}. Bring back the data it began with, or start anew with resume=False."
        )
    return None


def _known(data: Any, word: str) -> Any:
    """What the identity of some data says under a word; None where it says nothing."""
    return data.get(word) if isinstance(data, Mapping) else None


def _changed_sets(saved: Any, now: Any) -> list[str]:
    """The data sets of a mixture whose content is not what it was."""
    one, other = _known(saved, "sets") or {}, _known(now, "sets") or {}
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _interventions(trainer: Trainer) -> dict[str, Any]:
    """What changes a training beside its settings: callbacks that do, and pauses to begin with."""
    return {"callbacks": trainer.callbacks.changes(), "paused": sorted(trainer.paused)}


def _balancer(balancer: Balancer) -> dict[str, Any]:
    """The class of a balancer and its plain settings."""
    words = {k: v for k, v in vars(balancer).items() if not k.startswith("_") and k != "training"}
    return {
        "class": type(balancer).__qualname__,
        **{k: v for k, v in words.items() if isinstance(v, PLAIN)},
    }


def _shapes(model: nn.Module) -> str:
    """A hash of the names, shapes and types in a model's state."""
    lines = [
        f"{name} {tuple(getattr(value, 'shape', ()))} {getattr(value, 'dtype', '')}"
        for name, value in model.state_dict().items()
    ]
    lines += [f"{name} learns" for name, p in model.named_parameters() if p.requires_grad]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _data(batches: Iterable[Any]) -> dict[str, Any]:
    if isinstance(batches, Mixture | InTurn):
        return {"sets": batches.fingerprints(), "how": batches.how()}
    fingerprint = getattr(batches, "fingerprint", None)
    if callable(fingerprint):
        return {"content": fingerprint()}
    return {
        "type": type(batches).__qualname__,
        "batches": len(batches) if isinstance(batches, Sized) else None,
        "batch_size": getattr(batches, "batch_size", None),
    }
