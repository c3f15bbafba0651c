"""The folder of one training run: settings before, one line per epoch during, weights after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polytask.errors import UserError
from polytask.files import make_folder, write_text
from polytask.training.checkpoints import Weights, load_weights, save_weights
from polytask.training.history import History, plain

FILES = {"best": "model.safetensors"}


def weights_file(name: str) -> str:
    """The file of a checkpoint: `model.safetensors` for "best", else `model_NAME.safetensors`."""
    return FILES.get(name, f"model_{name}.safetensors")


class RunFolder:
    """Writes `config.yaml`, `environment.json`, `metrics.jsonl` and `model*.safetensors`.

    Every write is atomic: whoever reads the folder during a run, or after a kill, finds whole
    files. `metrics.jsonl` is rewritten as a whole each epoch, which stays cheap up to
    thousands of epochs. Results of an earlier run in the same folder are removed at `start`.
    Raises `UserError` when the folder cannot be written to.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = make_folder(Path(path))

    def start(self, config: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write what the run is and runs on; called before anything is trained."""
        import yaml

        # `.*.part`: what a kill in the middle of a write leaves beside the whole files.
        for pattern in ("model*.safetensors", "metrics.jsonl", ".*.part"):
            for stale in self.path.glob(pattern):
                stale.unlink(missing_ok=True)
        text = yaml.safe_dump(plain(dict(config)), sort_keys=False, allow_unicode=True)
        write_text(self.path / "config.yaml", text)
        write_text(self.path / "environment.json", json.dumps(plain(environment), indent=2) + "\n")

    def record(self, history: History) -> None:
        """Write the epochs so far."""
        write_text(self.path / "metrics.jsonl", history.to_jsonl())

    def save(self, name: str, weights: Weights) -> None:
        """Write the weights of a checkpoint."""
        save_weights(self.path / weights_file(name), weights)

    def load(self, name: str) -> Weights:
        """Read the weights of a checkpoint. Raises `UserError` when there are none."""
        path = self.path / weights_file(name)
        if not path.exists():
            there = sorted(file.name for file in self.path.glob("model*.safetensors"))
            raise UserError(
                f"no checkpoint {name!r} in {self.path}: expected {path.name}, "
                f"found {', '.join(there) or 'no weights'}."
            )
        return load_weights(path)
