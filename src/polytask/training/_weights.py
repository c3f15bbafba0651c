"""Weights as files: safetensors with a hash of their content, which is checked on reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from polytask.data._digest import digest
from polytask.errors import UserError
from polytask.files import write_bytes

Weights = dict[str, Tensor]
KEY = "polytask"
"""The one key of a file's metadata: with several, the library writes them in any order, and the
same weights would not give the same file."""


def snapshot(model: nn.Module) -> Weights:
    """A copy of a model's weights and buffers on the CPU.

    Raises `UserError` when the state holds something other than tensors, which could only be
    saved as a pickle.
    """
    weights = {}
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"the model's state {name!r} is a {type(value).__name__}, and only tensors can "
                "be saved. Keep it in a buffer, or leave it out of the state."
            )
        weights[name] = value.detach().to("cpu", copy=True).contiguous()
    return weights


def save_weights(
    path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> str:
    """Write tensors (and short texts) as safetensors, atomically; the hash of the tensors.

    Raises `UserError` when the disk refuses; an earlier file is then untouched.
    """
    from safetensors.torch import save

    found = digest(weights)
    texts = json.dumps({**(metadata or {}), "sha256": found})
    write_bytes(path, save(dict(weights), metadata={KEY: texts}))
    return found


def load_weights(path: Path) -> Weights:
    """Read what `save_weights` wrote. Raises `UserError` for a damaged file."""
    return load_with_texts(path)[0]


def load_with_texts(path: Path) -> tuple[Weights, dict[str, str]]:
    """The tensors and the texts of a file. Raises `UserError` for a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            loaded = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            texts: dict[str, str] = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path} is not a complete safetensors file: {error}.") from error
    if "sha256" in texts and digest(loaded) != texts["sha256"]:
        raise UserError(
            f"{path} is damaged: its content does not have the hash it was written with. "
            "Delete it and train again, or restore a copy."
        )
    return loaded, texts


def put(model: nn.Module, weights: Weights, source: object) -> None:
    """Load weights into a model. Raises `UserError` when they belong to another model."""
    try:
        with torch.no_grad():
            model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{source} does not fit this model: {error}. Build the model as it was when saved."
        ) from error
