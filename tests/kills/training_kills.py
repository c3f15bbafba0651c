"""Kill a training at random moments, start it again until it ends; then compare the bits.

`python tests/kills/training_kills.py FOLDER --kills 100` prints one line a kill. Children are
forked from this process, so that a start costs nothing and most kills fall into the training:
into its steps, its saves, its validation, its last writes.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import torch
from sklearn.datasets import load_digits

from polytask.data import Batches
from polytask.study.executor import PRELOAD
from polytask.tasks import Task
from polytask.training import Trainer, build_method

METHODS = ("pcgrad", "famo", "uncertainty", "rlw", "modo", "gradnorm")
PRECISE = ("model.safetensors", "model_last.safetensors")


def train(out: Path, method: str) -> None:
    """A short training of a small network with dropout on scikit-learn's digits."""
    torch.manual_seed(0)
    data = load_digits()
    x = torch.from_numpy(data.data[:600]).float() / 16
    digit = torch.from_numpy(data.target[:600])
    tasks = [
        Task("digit", "multiclass", classes=tuple(range(10))),
        Task("odd", "binary"),
        Task("ink", "regression"),
    ]
    targets = {"digit": digit, "odd": digit % 2, "ink": x.mean(1)}

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = torch.nn.Sequential(
                torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2)
            )
            sizes = {"digit": 10, "odd": 1, "ink": 1}
            self.heads = torch.nn.ModuleDict({k: torch.nn.Linear(32, n) for k, n in sizes.items()})

        def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            z = self.trunk(x["x"])
            return {name: head(z) for name, head in self.heads.items()}

    fitted = {t.name: t.fitted(targets[t.name][:400].numpy()) for t in tasks}
    cut = {k: v[400:] for k, v in targets.items()}
    Trainer(
        Net(),
        fitted,
        method=build_method(method, fitted),
        epochs=6,
        scheduler="cosine",
        select="mean_rank",
        out=out,
        resume="finished",
        checkpoint_every=0,
        progress=False,
    ).fit(
        Batches({"x": x[:400]}, {k: v[:400] for k, v in targets.items()}, 32, shuffle=True),
        Batches({"x": x[400:]}, cut, 200),
    )


def forked(out: Path, method: str) -> int:
    """Train in a child; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        train(out, method)
        code = 0
    finally:
        os._exit(code)


def ended(pid: int, seconds: float) -> int | None:
    """The exit code of a child that ends in time; None for one that still runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    return None


def record(out: Path) -> dict[str, object]:
    """The bytes of the weights, the choice, the epochs without their times."""
    found: dict[str, object] = {name: (out / name).read_bytes() for name in PRECISE}
    run = json.loads((out / "run.json").read_text())
    found["run"] = {key: run[key] for key in ("chosen", "remarks", "stopped_early", "weights")}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    found["epochs"] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    found["files"] = sorted(file.name for file in out.iterdir())
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    torch.set_num_threads(1)
    for module in PRELOAD:
        importlib.import_module(module)
    chance = random.Random(given.seed)
    kills = trainings = 0
    for method in itertools.cycle(METHODS):
        whole, out = given.folder / f"{method}-whole", given.folder / method
        if not whole.exists():
            began = time.monotonic()
            assert ended(forked(whole, method), 600) == 0
            span = time.monotonic() - began
            print(f"{method}: undisturbed in {span:.1f} s")
        tries = 0
        while True:
            tries += 1
            pid = forked(out, method)
            code = ended(pid, chance.uniform(0, 0.7 * span) if kills < given.kills else 600)
            if code is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                kills += 1
                state = "a state" if (out / "state.safetensors").exists() else "no state"
                print(f"kill {kills:3d}: {method}, {state} left", flush=True)
                continue
            assert code == 0, f"{method} ended with {code} after {kills} kills"
            break
        found, expected = record(out), record(whole)
        different = [key for key in expected if found[key] != expected[key]]
        assert not different, f"{method} after {tries} starts: {different} differ"
        print(f"{method} complete after {tries} starts: identical to the undisturbed one")
        trainings += 1
        shutil.rmtree(out)
        if kills >= given.kills:
            break
    print(f"{kills} kills, {trainings} trainings, nothing lost, every end identical")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
