"""How much an estimator changes from seed to seed: the same measuring, other splits and weights."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from polytask.auxiliary import label_affinity
from polytask.data import Dataset, make_splits
from polytask.relationships import Affinity, estimate, lookahead
from polytask.study.unit import run_folder

SEEDS = 3
RECORDED = ("lookahead", "gradient_cosine")
DEARER = ("rsa", "cka", "projected_gradients", "transfer")
Json = dict[str, Any]


def stability(study: Path, results: Json) -> dict[str, float | None]:
    """Mean Spearman's correlation between the affinities of two seeds, by estimator.

    The training of all tasks is repeated under other seeds, in the study's folder, with the
    recorders that the study gave it; pairs are read from the runs that the study made.
    """
    dataset = Dataset.load(study / "data")
    runs = [together(study, seed, dataset) for seed in range(SEEDS)]
    known = [run for run in runs if "error" not in run]
    tables = {
        "lookahead": [lookahead([run["affinity"]]) for run in known],
        "gradient_cosine": [estimate([run["conflict"]]).to_affinity() for run in known],
        "labels": [labels(study, seed, dataset) for seed in range(SEEDS)],
        "pairwise": pairs(study, results),
    }
    return {name: alike(found) for name, found in tables.items()}


def together(study: Path, seed: int, dataset: Dataset) -> Json:
    """The study's training of all tasks, under another seed; kept like its own runs."""
    first = next((study / "runs").glob("together-*-s0"))
    if seed == 0:
        return read(first)
    folder = study / "again" / f"together-s{seed}"
    if not (folder / "result.json").exists():
        unit = json.loads((first / "unit.json").read_text(encoding="utf-8"))
        unit["id"], unit["config"]["seed"] = folder.name, seed
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "unit.json").write_text(json.dumps(unit), encoding="utf-8")
        run_folder(folder, dataset)
    return read(folder)


def read(folder: Path) -> Json:
    """A run's result, or that it failed."""
    found = folder / "result.json"
    return json.loads(found.read_text(encoding="utf-8")) if found.exists() else {"error": "failed"}


def labels(study: Path, seed: int, dataset: Dataset) -> Affinity:
    """The association of labels on another seed's training rows."""
    first = next((study / "runs").glob("together-*-s0"))
    config = json.loads((first / "unit.json").read_text(encoding="utf-8"))["config"]
    names = ("split", "test_fraction", "val_fraction")
    splits = make_splits(dataset, seed=seed, **{name: config[name] for name in names})
    return label_affinity(dataset.tasks, dataset.targets, splits["train"], seed=seed)


def pairs(study: Path, results: Json) -> list[Affinity]:
    """Pairwise gains on validation, one table a seed, from the study's own runs."""
    tasks = tuple(results["tasks"])
    scores: dict[tuple[int, tuple[str, ...]], Json] = {}
    for folder in sorted((study / "runs").iterdir()):
        if not (folder / "result.json").exists():
            continue
        config = json.loads((folder / "unit.json").read_text(encoding="utf-8"))["config"]
        if config["kind"] == "train" and len(config["tasks"]) <= 2:
            scores[config["seed"], tuple(config["tasks"])] = read(folder)["selected"]["val"]
    found = []
    for seed in sorted({seed for seed, _ in scores}):
        values = np.full((len(tasks), len(tasks)), np.nan)
        for (i, one), (j, other) in itertools.permutations(enumerate(tasks), 2):
            group = tuple(task for task in tasks if task in (one, other))
            both, alone = scores.get((seed, group), {}), scores.get((seed, (one,)), {})
            ours, theirs = both.get(one), alone.get(one)
            if isinstance(ours, float) and isinstance(theirs, float) and theirs:
                sign = 1 if results["tasks"][one]["direction"] == "max" else -1
                values[i, j] = 100 * sign * (ours - theirs) / abs(theirs)
        found.append(Affinity(tasks, values))
    return found


def alike(tables: list[Affinity]) -> float | None:
    """The mean over pairs of tables, off the diagonal, of what both know."""
    found = []
    for one, other in itertools.combinations(tables, 2):
        known = np.isfinite(one.values) & np.isfinite(other.values)
        known &= ~np.eye(len(one.tasks), dtype=bool)
        if known.sum() > 2:
            value = float(spearmanr(one.values[known], other.values[known]).statistic)
            found += [value] if np.isfinite(value) else []
    return sum(found) / len(found) if found else None
