"""Kill a study at random moments, give the same command again, until it ends; then compare.

`python tests/kills/study_kills.py FOLDER --kills 50` prints one line a kill. Every kill is
SIGKILL, to the command, to the process that forks its runs, to one run, or to all at once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

COMMAND = [
    sys.executable, "-m", "polytask", "compare", "--data", "patients.csv",
    "--targets", "progress:regression", "high:binary", "--methods", "pcgrad",
    "--encoder", "mlp:hidden=[8]", "--seeds", "2", "--epochs", "4", "--batch-size", "64",
    "--lr", "3e-3", "--workers", "2", "--checkpoint-every", "0", "--no-progress",
]  # fmt: skip
TIMED = {
    "seconds", "created", "cost", "equal_time", "step_seconds", "reference_seconds", "load",
    "evaluation_seconds", "inference_seconds", "peak_memory_mb", "config", "command",
}  # fmt: skip
"""What depends on the clock: equal-time limits follow from measured costs."""
OF_TIME = re.compile("[\\d.]+\N{MULTIPLICATION SIGN}|The machine was busy .*? are rough\\.")
"""The same in sentences: "a step of pcgrad costs 1.6 times one with equal weights"."""


def write_table(path: Path) -> None:
    """scikit-learn's diabetes patients with two targets, some labels missing."""
    import numpy as np
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame.iloc[:200]
    frame = frame.rename(columns={"target": "progress"})
    frame["high"] = np.where(frame["progress"] > frame["progress"].median(), "yes", "no")
    frame.loc[np.random.default_rng(0).random(len(frame)) < 0.2, "high"] = None
    frame.to_csv(path, index=False)


def start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """The command, its output in a file."""
    log = (folder / f"{out}.log").open("ab")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, "--out", out], cwd=folder, stdout=log, stderr=log, env=environment
    )


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it ended meanwhile
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def strike(parent: subprocess.Popen[bytes], chance: random.Random) -> str:
    """Kill something of a running study; what was killed, in words."""
    servers = children(parent.pid)
    runs = [run for server in servers for run in children(server)]
    aims = {"command": [parent.pid], "all": [parent.pid, *servers, *runs]}
    if servers:
        aims["server"] = servers
    if runs:
        aims["run"] = [chance.choice(runs)]
    word = chance.choice(sorted(aims))
    for pid in aims[word]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it had just ended
    return word


def without_times(value: Any) -> Any:
    """JSON without what depends on the clock."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in TIMED}
    if isinstance(value, list):
        return [kept for v in value if (kept := without_times(v)) != ""]
    if isinstance(value, str):
        return OF_TIME.sub("", value).strip()
    return value


def record(out: Path) -> dict[str, Any]:
    """Everything that must be the same: results, every run's result, the bytes of weights."""
    found: dict[str, Any] = {
        "results": without_times(json.loads((out / "results.json").read_text()))
    }
    for run in sorted((out / "runs").iterdir()):
        result = without_times(json.loads((run / "result.json").read_text()))
        result.pop("hash")  # covers the equal-time limit
        if run.name.startswith("probe"):
            result.pop("steps_measured")
        found[run.name] = result
        for weights in ("model.safetensors", "model_last.safetensors"):
            if (run / weights).exists():
                found[f"{run.name}/{weights}"] = (run / weights).read_bytes()
    return found


def finished(out: Path) -> bool:
    """Whether a study has nothing left to do."""
    try:
        results = json.loads((out / "results.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(results["complete"]) and not list(out.glob("runs/*/error.json"))


def whole_files(out: Path) -> None:
    """Whatever has a final name can be read at any moment."""
    for file in [*out.rglob("*.json"), *out.rglob("*.jsonl")]:
        for text in (
            file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]
        ):
            json.loads(text)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    folder, chance = given.folder, random.Random(given.seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "patients.csv")
    began = time.monotonic()
    assert start(folder, "whole").wait() == 0, (folder / "whole.log").read_text()
    span = time.monotonic() - began
    expected = record(folder / "whole")
    print(
        f"an undisturbed study: {span:.1f} s, {len(list((folder / 'whole/runs').iterdir()))} runs"
    )
    kills, rounds, tries = 0, 0, 0
    out = folder / "killed"
    while kills < given.kills or tries:
        study = start(folder, "killed")
        tries += 1
        wait = chance.uniform(0.2, span) if kills < given.kills else 10 * span
        try:
            code = study.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            done = len(list(out.glob("runs/*/result.json")))
            states = len(list(out.glob("runs/*/state.safetensors")))
            word = strike(study, chance)
            kills += 1
            print(
                f"kill {kills:3d} after {wait:5.1f} s: {word:7s} "
                f"({done} runs finished, {states} under way)",
                flush=True,
            )
            if word == "run":
                continue_at = time.monotonic() + span  # the study goes on with the others
                while study.poll() is None and time.monotonic() < continue_at:
                    time.sleep(0.1)
            else:
                time.sleep(0.05)
            if study.poll() is None:
                os.kill(study.pid, signal.SIGKILL)
            study.wait()
            whole_files(out)
            continue
        if code != 0 or not finished(out):
            print(f"         ended with code {code}, not complete: again")
            continue
        rounds += 1
        found = record(out)
        assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
        different = [key for key in expected if found[key] != expected[key]]
        assert not different, f"after {kills} kills these differ: {different}"
        assert not list(out.rglob("*.part")), list(out.rglob("*.part"))
        print(f"study {rounds} complete after {tries} starts: identical to the undisturbed one")
        tries = 0
        shutil.rmtree(out)
    print(f"{kills} kills, {rounds} studies, nothing lost, every end identical")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
