"""Made-up studies: the analysis of random scores, so that every number agrees with the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

METHODS = (
    "linear", "rlw", "pcgrad", "mgda", "uncertainty", "gls", "cagrad(c=0.4)", "imtl_g",
    "nash_mtl", "aligned_mtl", "fairgrad", "upgrad",
)  # fmt: skip
KINDS = (
    ("regression", "rmse", "min", 52_000.0),
    ("binary", "auroc", "max", 0.86),
    ("multiclass", "accuracy", "max", 0.71),
    ("regression", "mae", "min", 0.034),
)
REDRAWN = 0.15 / 0.70


def interval(values: list[float]) -> tuple[float, Any, Any]:
    """Mean and corrected 95 % t-interval; no interval from one value."""
    mean = float(np.mean(values))
    n = len(values)
    if n < 2:
        return mean, None, None
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) * math.sqrt(1 / n + REDRAWN)
    return mean, mean - float(half), mean + float(half)


def p_value(values: list[float]) -> Any:
    """Two-sided p of the same corrected t-statistic, so that it agrees with the interval."""
    n = len(values)
    if n < 2:
        return None
    t = np.mean(values) / (np.std(values, ddof=1) * math.sqrt(1 / n + REDRAWN))
    return float(2 * stats.t.sf(abs(t), n - 1))


def spread(values: list[float]) -> Any:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def curve(rng: np.random.Generator, start: float, end: float, epochs: int) -> list[float]:
    steps = np.arange(epochs)
    noise = rng.normal(0, abs(start - end) * 0.012, epochs)
    return [float(v) for v in end + (start - end) * np.exp(-steps / (epochs / 5)) + noise]


def make_study(
    names: tuple[str, ...] = ("price", "sold", "heating"),
    methods: tuple[str, ...] = METHODS[:5],
    seeds: int = 5,
    epochs: int = 20,
    boosting: bool = True,
    name: str = "houses",
) -> dict[str, Any]:
    """A complete `results.json` of schema 1 with scores drawn from a fixed generator."""
    rng = np.random.default_rng(7)
    kinds = {task: KINDS[i % len(KINDS)] for i, task in enumerate(names)}
    sign = {task: 1.0 if kind[2] == "max" else -1.0 for task, kind in kinds.items()}
    effect = {task: float(rng.normal(1.0, 2.5)) for task in names}
    base = {t: kinds[t][3] * (1 + 0.01 * rng.normal(size=seeds)) for t in names}
    single = {}
    for task in names:
        test = [float(v) for v in base[task]]
        single[task] = {
            "lr": 1e-3, "val": [v * 1.004 for v in test], "test": test,
            "mean": float(np.mean(test)), "sd": spread(test), "cost": 0.62,
            "step_seconds": 0.0025, "peak_memory_mb": 280.0, "parameters": 45_000, "failed": [],
        }  # fmt: skip
    candidates = []
    for index, method in enumerate(methods):
        shift = {t: effect[t] + float(rng.normal(0.25 * (index - 1), 0.8)) for t in names}
        entries, curves, weights = {}, {}, {}
        for task in names:
            percent = shift[task] + rng.normal(0, 0.9, seeds)
            test = [float(v) for v in base[task] * (1 + sign[task] * percent / 100)]
            mean = single[task]["mean"]
            gain = [sign[task] * (t - s) / abs(mean) * 100
                    for t, s in zip(test, single[task]["test"], strict=True)]  # fmt: skip
            centre, low, high = interval(gain)
            p = p_value(gain)
            entries[task] = {
                "val": [v * 1.003 for v in test], "test": test, "mean": float(np.mean(test)),
                "sd": spread(test), "gain": gain, "gain_mean": centre, "gain_low": low,
                "gain_high": high, "p": p, "p_holm": None if p is None else min(1.0, 2.5 * p),
            }  # fmt: skip
            start = mean * (0.72 if sign[task] > 0 else 1.9)
            curves[task] = {
                "epochs": list(range(1, epochs + 1)),
                "val": curve(rng, start, entries[task]["mean"], epochs),
            }
            pull = 0.0 if method == "linear" else float(rng.normal(0, 0.5))
            drift = curve(rng, 1.0, max(0.1, 1 + pull), epochs)
            weights[task] = [1.0] * epochs if method == "linear" else drift
        per_seed = [float(v) for v in np.mean([entries[t]["gain"] for t in names], axis=0)]
        centre, low, high = interval(per_seed)
        cost = 1.0 + 0.0 if index < 2 else 1.04 + 0.11 * index + (6.5 if index > 8 else 0)
        early = [v - 0.4 * (cost - 1) for v in per_seed]
        e_mean, e_low, e_high = interval(early)
        candidates.append({
            "id": f"hard_sharing-{method}", "label": method, "architecture": "hard_sharing",
            "method": method.split("(")[0], "arguments": {}, "lr": (3e-4, 1e-3, 3e-3)[index % 3],
            "baseline": index < 2, "tasks": entries,
            "delta_m": {"val": per_seed, "test": per_seed, "mean": centre, "low": low,
                        "high": high},
            "equal_time": {"max_epoch": max(1, int(epochs / cost)), "tasks": {},
                           "delta_m": {"mean": e_mean, "low": e_low, "high": e_high}},
            "cost": {"step_seconds": 0.004 * cost, "relative": cost,
                     "peak_memory_mb": 310 + 40.0 * index, "parameters": 48_211},
            "weights": weights, "curves": curves, "failed": [], "versus_linear": None,
        })  # fmt: skip
    for candidate in candidates[1:]:
        pairs = zip(candidate["delta_m"]["test"], candidates[0]["delta_m"]["test"], strict=True)
        differences = [ours - theirs for ours, theirs in pairs]
        centre, low, high = interval(differences)
        candidate["versus_linear"] = {
            "mean": centre, "low": low, "high": high, "p": p_value(differences),
            "p_holm": None if seeds < 2 else min(1.0, 3 * p_value(differences)),
            "differences": differences,
        }  # fmt: skip
    for task in names:
        start = single[task]["mean"] * (0.72 if sign[task] > 0 else 1.9)
        single[task]["curves"] = {
            "epochs": list(range(1, epochs + 1)),
            "val": curve(rng, start, single[task]["mean"], epochs),
        }
    for candidate in candidates:
        ranks = [
            1 + sum(o["tasks"][t]["gain_mean"] > candidate["tasks"][t]["gain_mean"]
                    for o in candidates) for t in names
        ]  # fmt: skip
        candidate["mean_rank"] = float(np.mean(ranks))
    boosted = {}
    for task in names:
        test = [float(v * (1 + sign[task] * 0.006)) for v in base[task]]
        boosted[task] = {"lr": None, "val": test, "test": test, "mean": float(np.mean(test)),
                         "sd": spread(test), "gain": [0.6] * seeds, "gain_mean": 0.6,
                         "gain_low": 0.2, "gain_high": 1.0}  # fmt: skip
    chosen = max(candidates[2:] or candidates, key=lambda c: c["delta_m"]["mean"])
    words = {t: verdict_word(chosen["tasks"][t], seeds) for t in names}
    return {
        "schema": 1, "polytask": "0.1.0", "name": name, "created": "2026-01-31T14:05:00+00:00",
        "config": {"data": "houses.csv", "targets": list(names), "methods": list(methods),
                   "seeds": seeds, "epochs": epochs, "lr": [3e-4, 1e-3, 3e-3],
                   "select": "mean_gain", "split": "random", "encoder": {"mlp": {"hidden": [256]}}},
        "dataset": {"name": name, "n": 21_613, "splits": {"train": 15_129, "val": 3_242,
                    "test": 3_242}, "labelled": dict.fromkeys(names, 0.7),
                    "notes": ["price: numbers with decimals, read as regression.",
                              "heating: whole numbers with 6 values, read as multiclass; write "
                              "heating:regression to change it.",
                              "id looks like a row number; it was dropped from the inputs."]},
        "tasks": {t: {"kind": kinds[t][0], "role": "main", "metric": kinds[t][1],
                      "direction": kinds[t][2],
                      "trivial": kinds[t][3] * (0.6 if sign[t] > 0 else 2.1)} for t in names},
        "single_task": single, "candidates": candidates, "boosting": boosted if boosting else None,
        "conflict": [make_conflict(names)] if len(names) > 1 else [],
        "chosen": chosen["id"],
        "verdict": {
            "sentence": f"Sharing helps {sum(w == 'helps' for w in words.values())} of "
                        f"{len(names)} tasks; {chosen['label']} balances them best. "
                        "A step costs 1.5 times one with equal weights.",
            "tasks": {t: {"word": w, "sentence": f"{t}: {chosen['label']}, seed by seed, {w}."}
                      for t, w in words.items()},
            "confidence_note": f"Judged on test over {seeds} seeds, Holm-corrected over "
                               f"{len(names)} tasks.",
        },
        "seeds": list(range(seeds)), "seconds": 214.6, "complete": True, "missing": [],
        "interval": {"test_redrawn": True},
        "environment": {"python": "3.11.9", "torch": "2.13.0", "numpy": "2.4.6"},
        "command": "polytask compare --data houses.csv --targets price:regression sold:binary "
                   "heating --drop id --seeds 5 --out runs/houses",
    }  # fmt: skip


def verdict_word(entry: dict[str, Any], seeds: int) -> str:
    if entry["p_holm"] is None or entry["p_holm"] >= 0.05:
        return "no evidence"
    word = "helps" if entry["gain_mean"] > 0 else "hurts"
    return word if seeds >= 5 else f"leans {word}"


def make_conflict(names: tuple[str, ...], architecture: str = "hard_sharing") -> dict[str, Any]:
    """Cosines as a study measures them: two camps that fight, some pairs within the null level."""
    rng = np.random.default_rng(len(names))
    camps = rng.normal(0, 1, (len(names), 2))
    noise = rng.normal(0, 1.2, (len(names), len(names)))
    cosine = np.tanh(0.35 * (camps @ camps.T + (noise + noise.T) / 2))
    null = rng.uniform(0.08, 0.2, (len(names), len(names)))
    null = (null + null.T) / 2
    error = null / 2.1
    for table, own in ((cosine, 1.0), (error, 0.0), (null, 0.0)):
        np.fill_diagonal(table, own)
    return {
        "architecture": architecture, "method": "linear", "statistic": "tail",
        "tasks": list(names), "cosine": cosine.tolist(), "standard_error": error.tolist(),
        "null": null.tolist(), "samples": 300, "seeds": 5, "blocks": 75,
    }  # fmt: skip


def fourteen() -> dict[str, Any]:
    names = (
        "metabolism", "energy", "transcription", "protein_synthesis",
        "cellular_transport_and_routes",
        "a_column_name_of_forty_characters_exactly", "größe <m²>", "価格", "cell_rescue",
        "ionic_homeostasis", "environment", "cell_fate", "growth & division", "transposable",
    )  # fmt: skip
    return make_study(names, METHODS[:6], seeds=6, epochs=12, boosting=False, name="yeast")


def one_seed() -> dict[str, Any]:
    return make_study(seeds=1, methods=METHODS[:4])


def two_seeds() -> dict[str, Any]:
    return make_study(seeds=3, methods=METHODS[:4])


def failed() -> dict[str, Any]:
    study = make_study()
    study["candidates"][3]["failed"] = [
        {"seed": 2, "cause": "loss of task 'price' became NaN in epoch 3, step 118"},
        {"seed": 4, "cause": "out of memory"},
    ]
    return study


def undefined() -> dict[str, Any]:
    """One task whose test part holds one class only: no score, no gain, no curve."""
    study = make_study()
    gone = {"undefined": "auroc: the test part holds one class only (sold = 0)"}
    keys = ("mean", "sd", "gain_mean", "gain_low", "gain_high", "p", "p_holm")
    nothing = dict.fromkeys(keys, gone)
    for candidate in study["candidates"]:
        entry = candidate["tasks"]["sold"]
        entry.update(nothing, test=[gone] * 5, gain=[gone] * 5)
        candidate["curves"]["sold"]["val"] = [gone] * 20
    study["single_task"]["sold"].update(mean=gone, sd=gone, test=[gone] * 5, val=[gone] * 5)
    study["boosting"]["sold"].update(nothing, test=[gone] * 5)
    study["tasks"]["sold"]["trivial"] = gone
    study["verdict"]["tasks"]["sold"] = {
        "word": "undefined", "sentence": "The metric is undefined on test; left out of Δm."
    }  # fmt: skip
    study["candidates"][4]["delta_m"].update(mean=float("nan"), low=None, high=None)
    silent = {"undefined": "the gradient of sold does not stand out from noise"}
    for key in ("cosine", "standard_error", "null"):
        table = study["conflict"][0][key]
        for other in (0, 2):
            table[1][other] = table[other][1] = silent
    return study


def incomplete() -> dict[str, Any]:
    """A study stopped early: holes wherever a study can have them."""
    study = make_study()
    study.update(complete=False, chosen=None, verdict={}, boosting=None, conflict=[])
    study["missing"] = ["hard_sharing-mgda-lr0.001-s3", {"id": "single-price", "seed": 4}]
    first, second = study["candidates"][0], study["candidates"][1]
    first.update(equal_time=None, cost=None, weights=None, curves=None, mean_rank=None)
    second.update(tasks={}, delta_m=None, failed=[{"seed": 0, "cause": "killed"}])
    del study["single_task"]["sold"]
    return study


def barely() -> dict[str, Any]:
    """The least a file can hold: nothing has finished."""
    return {
        "schema": 1,
        "tasks": {"price": {"metric": "rmse", "direction": "min"}},
        "single_task": {},
        "candidates": [],
        "complete": False,
    }


STUDIES: dict[str, Callable[[], dict[str, Any]]] = {
    "three tasks": make_study,
    "fourteen tasks": fourteen,
    "one seed": one_seed,
    "three seeds": two_seeds,
    "failed runs": failed,
    "undefined metric": undefined,
    "incomplete": incomplete,
    "barely begun": barely,
}
