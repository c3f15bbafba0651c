"""The folder of one training run: settings before, one line per epoch during, weights after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from polytask.data._digest import digest
from polytask.errors import UserError
from polytask.files import check_place, clear_leftovers, write_text
from polytask.training._weights import Weights, load_weights, save_weights
from polytask.training.history import RUN, History, plain, read_run

FILES = {"best": "model.safetensors"}


def weights_file(name: str) -> str:
    """The file of a checkpoint: `model.safetensors` for "best", else `model_NAME.safetensors`."""
    return FILES.get(name, f"model_{name}.safetensors")


class RunFolder:
    """Writes `config.yaml`, `environment.json`, `metrics.jsonl`, `model*.safetensors`, `run.json`.

    Every write is atomic: whoever reads the folder during a run, or after a kill, finds whole
    files. `metrics.jsonl` is rewritten as a whole each epoch, which stays cheap up to
    thousands of epochs. `run.json` comes last and names the weights by their hashes, so weights
    are never taken for those of another run; the weights of an earlier run stay until then.
    Raises `UserError` when the folder cannot be written to.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = check_place(Path(path))

    def start(
        self, config: Mapping[str, Any], environment: Mapping[str, Any], *, anew: bool = True
    ) -> None:
        """Write what the run is and runs on; called before anything is trained."""
        import yaml

        clear_leftovers(self.path)
        (self.path / RUN).unlink(missing_ok=True)
        if anew:
            (self.path / "metrics.jsonl").unlink(missing_ok=True)
        text = yaml.safe_dump(plain(dict(config)), sort_keys=False, allow_unicode=True)
        write_text(self.path / "config.yaml", text)
        write_text(self.path / "environment.json", json.dumps(plain(environment), indent=2) + "\n")

    def record(self, history: History) -> None:
        """Write the epochs so far."""
        write_text(self.path / "metrics.jsonl", history.to_jsonl())

    def save(self, name: str, weights: Weights) -> str:
        """Write the weights of a checkpoint; their hash."""
        return save_weights(self.path / weights_file(name), weights)

    def finish(self, history: History, files: Mapping[str, str], mark: Mapping[str, Any]) -> None:
        """Write `run.json`: what was chosen, the hashes of the weights, and `mark`."""
        content = {
            "chosen": history.chosen,
            "remarks": history.remarks,
            "stopped_early": history.stopped_early,
            "weights": dict(files),
            **mark,
        }
        write_text(self.path / RUN, json.dumps(plain(content), indent=1) + "\n")
        self._tidy(files)

    def _tidy(self, files: Iterable[str]) -> None:
        """Remove weights that are not of the finished run, and what cut-off writes left."""
        clear_leftovers(self.path)
        for stale in self.path.glob("model*.safetensors"):
            if stale.name not in {weights_file(name) for name in files}:
                stale.unlink(missing_ok=True)

    def finished(self, mark: Mapping[str, Any]) -> History | None:
        """The record of a run that has ended here with this `mark`; None when there is none."""
        run = read_run(self.path)
        if run is None or any(run.get(key) != value for key, value in mark.items()):
            return None
        try:
            for name in run["weights"]:
                self.load(name)
            self._tidy(run["weights"])
            return History.read(self.path)
        except UserError:
            return None  # a file is damaged or gone: the run is done again

    def load(self, name: str) -> Weights:
        """Read the weights of a checkpoint. Raises `UserError` when there are none."""
        path, run = self.path / weights_file(name), read_run(self.path)
        if run is None:
            raise UserError(
                f"the training in {self.path} has not ended (there is no whole {RUN}), so no "
                "checkpoint has been chosen. Run it to its end."
            )
        if name not in run["weights"] or not path.exists():
            raise UserError(
                f"no checkpoint {name!r} in {self.path}: expected {path.name}, "
                f"found {', '.join(sorted(map(weights_file, run['weights'])))}."
            )
        weights = load_weights(path)
        if digest(weights) != run["weights"][name]:
            raise UserError(
                f"{path} does not belong to the run that {RUN} describes: the training was "
                "interrupted while it wrote its results. Run it again."
            )
        return weights
