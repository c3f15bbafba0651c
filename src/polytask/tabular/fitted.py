"""A fitted model with everything that predicting for new rows needs, in memory and on disk.

    FOLDER/polytask.json      tasks, columns, preprocessing, how the network is built, versions
    FOLDER/model.safetensors  the weights; their hash is in polytask.json

No pickle: a saved model can be opened without running code from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polytask import __version__, registry
from polytask.architectures import Architecture, create_architecture, create_encoder
from polytask.data import InputSpec, Preprocessor
from polytask.errors import PolytaskError, UserError
from polytask.files import make_folder, sha256, write_text
from polytask.tasks import Task
from polytask.training._rows import judging_rows
from polytask.training._weights import load_weights, put, save_weights, snapshot

FORMAT = 1
CARD = "polytask.json"
WEIGHTS = "model.safetensors"

Named = tuple[str, dict[str, Any]]
"""A registered name and the arguments chosen for it."""


@dataclass
class Fitted:
    """A trained network, its tasks, and how raw inputs become what it reads."""

    tasks: dict[str, Task]
    preprocessor: Preprocessor
    network: nn.Module
    encoder: Named
    architecture: Named
    columns: dict[str, Any] = field(default_factory=dict)
    """Where table inputs come from (`polytask.data.transform_frame`); {} for other data."""
    settings: dict[str, Any] = field(default_factory=dict)
    """How it was trained, for the reader; predicting does not need it."""
    helpers: dict[str, Task] = field(default_factory=dict)
    """Helper tasks that were constructed and trained along. The network keeps their parts, which
    in some architectures other tasks read; they are not predicted."""

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """What the network answers for raw inputs, by task, on the CPU in float32.

        Raises `UserError` when an input of training is missing or has another width.
        """
        prepared = self.preprocessor.transform(inputs)
        rows = len(next(iter(prepared.values())))
        step = judging_rows(self.tasks)
        device = next(self.network.parameters()).device
        was_training = self.network.training
        self.network.eval()
        parts: dict[str, list[Tensor]] = {name: [] for name in self.tasks}
        # What only helpers need is not computed.
        which = {"tasks": tuple(self.tasks)} if self.helpers else {}
        try:
            with torch.inference_mode():
                for low in range(0, rows, step):
                    batch = {k: v[low : low + step].to(device) for k, v in prepared.items()}
                    for name, output in self.network(batch, **which).items():
                        parts[name].append(output.float().cpu())
        finally:
            self.network.train(was_training)
        return {name: torch.cat(part) for name, part in parts.items()}

    def save(self, folder: str | Path) -> Path:
        """Write the model into a folder; each file whole or not at all.

        The card, which holds the hash of the weights, is written last: after a crash between
        the two files `load` says so instead of pairing an old one with a new one.
        Raises `UserError` for a task with a loss function of its own, or when the disk refuses.
        """
        path = make_folder(Path(folder))
        card = {
            "format": FORMAT,
            "polytask": __version__,
            "tasks": {name: task.to_dict() for name, task in self.tasks.items()},
            "columns": self.columns,
            "preprocessor": self.preprocessor.to_dict(),
            "encoder": {"name": self.encoder[0], "arguments": self.encoder[1]},
            "architecture": {"name": self.architecture[0], "arguments": self.architecture[1]},
            "settings": self.settings,
        }
        if self.helpers:
            card["helpers"] = {name: task.to_dict() for name, task in self.helpers.items()}
        try:
            json.dumps(card)
        except TypeError as error:
            raise UserError(
                f"this model cannot be saved: {error}. Save models whose settings are plain "
                "values (names, numbers, lists)."
            ) from error
        save_weights(path / WEIGHTS, snapshot(self.network))
        card["sha256"] = sha256(path / WEIGHTS)
        write_text(path / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Fitted:
        """Read what `save` wrote. Raises `UserError` when it is missing, damaged or newer."""
        path = Path(folder)
        card = _read_card(path)
        if not (path / WEIGHTS).is_file():
            raise UserError(f"{path} has no {WEIGHTS}; the model was not copied whole.")
        if sha256(path / WEIGHTS) != card["sha256"]:
            raise UserError(
                f"{path / WEIGHTS} is not the file that {CARD} was saved with: it is damaged, or "
                "saving was interrupted. Save the model again."
            )
        try:
            tasks, helpers = (
                {name: Task.from_dict(task) for name, task in card.get(part, {}).items()}
                for part in ("tasks", "helpers")
            )
            preprocessor = Preprocessor.from_dict(card["preprocessor"])
            encoder, architecture = (
                (card[part]["name"], card[part]["arguments"])
                for part in ("encoder", "architecture")
            )
            every = {**tasks, **helpers}
            network = build_network(preprocessor.spec, every, encoder, architecture)
            put(network, load_weights(path / WEIGHTS), path / WEIGHTS)
            return cls(
                tasks,
                preprocessor,
                network,
                encoder,
                architecture,
                card["columns"],
                card["settings"],
                helpers,
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, PolytaskError):
                raise
            raise UserError(
                f"{path / CARD} is damaged: {error!r}. Save the model again."
            ) from error


def build_network(
    spec: InputSpec, tasks: Mapping[str, Task], encoder: Named, architecture: Named
) -> Architecture:
    """An untrained network for inputs of these widths; drawn from torch's generator.

    An architecture that looks at an example gets two rows of zeros: only their shapes count.
    """
    name, arguments = encoder
    body = create_encoder(name, spec, **arguments)
    chosen, options = architecture
    if "example" in registry.find("architecture", chosen).arguments:
        options = {"example": blank(spec), **options}
    return create_architecture(chosen, body, tasks, **options)


def blank(spec: InputSpec, rows: int = 2) -> dict[str, Tensor]:
    """Prepared inputs that are all zero, as `Preprocessor.transform` shapes them."""
    found: dict[str, Tensor] = {}
    if spec.numeric:
        found["numeric"] = torch.zeros(rows, spec.numeric)
    if spec.categorical:
        found["categorical"] = torch.zeros(rows, len(spec.categorical), dtype=torch.int64)
    if spec.image is not None:
        found["image"] = torch.zeros(rows, *spec.image)
    codes = {name for name, *_ in getattr(spec, "tokens", ())}
    for name, shape in spec.other:
        dtype = torch.int64 if name in codes else torch.float32
        found[name] = torch.zeros(rows, *shape, dtype=dtype)
    return found


def _read_card(folder: Path) -> dict[str, Any]:
    file = folder / CARD
    if not file.is_file():
        what = "there is no folder" if not folder.exists() else f"there is no {CARD} in"
        raise UserError(
            f"{what} {folder}; expected a model saved by MultiTaskEstimator.save or "
            "'polytask train --out'."
        )
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is damaged: {error}. Save the model again.") from error
    if not isinstance(card, dict) or "format" not in card or "sha256" not in card:
        raise UserError(f"{file} does not describe a model that polytask saved.")
    if card["format"] != FORMAT:
        raise UserError(
            f"{file} has format {card['format']}, this polytask ({__version__}) reads {FORMAT}; "
            f"it was saved by polytask {card.get('polytask')}: use that version."
        )
    return card
