"""What runs remark, on the page and in the terminal of a study: a line a kind, not a line a run."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from study_simulation import facts, settings, simulate
from torch import Tensor, nn

from polytask.data import Dataset
from polytask.report import print_verdict, write_report
from polytask.report.results import read
from polytask.report.words import MOST_REMARKS, remarks
from polytask.study import compare
from polytask.study.analysis import analyse
from polytask.study.plan import Plan
from polytask.study.run_remarks import merged
from polytask.study.settings import Choice
from polytask.tasks import Task

LARGE = "the gradient of 'price' was {:,} times that of 'sold'. Weigh the losses."


def remarked(said: Callable[[str, int], list[str]], stop: int = 10**9, **changes: Any) -> Any:
    """The analysis of a study whose run of a network and a seed said these remarks."""
    plan = Plan(settings(**changes))
    outcomes, _ = simulate(plan, lambda unit, task, part: 1.0, stop=stop)
    for contender in plan.contenders:
        for lr in plan.settings.lr:
            for seed in range(plan.settings.seeds):
                unit = plan.unit(contender, lr, seed, outcomes)
                if unit is not None and unit.hash in outcomes:
                    outcomes[unit.hash]["remarks"] = said(contender.id, seed)
    results = analyse(plan, facts(plan), outcomes)
    json.dumps(results, allow_nan=False)
    return results


def lines(results: Any) -> list[str]:
    """What the page and the terminal say of runs."""
    return [said for said in remarks(read(results)) if " seed" in said or " runs" in said]


def test_a_remark_of_every_seed_is_one_line_with_the_range_of_its_numbers() -> None:
    results = remarked(
        lambda network, seed: [LARGE.format(900 + 100 * seed)] if "linear" in network else []
    )
    (entry,) = results["run_remarks"]
    assert entry == {
        "remark": "the gradient of 'price' was 900 to 1,300 times that of 'sold'. Weigh the "
        "losses.",
        "networks": [
            {
                "id": "hard_sharing-linear",
                "name": "linear",
                "seeds": [0, 1, 2, 3, 4],
                "finished": 5,
            }
        ],
    }
    assert lines(results)[-1] == f"linear in 5 of 5 seeds: {entry['remark']}"
    assert not any("Weigh the losses" in said for said in results["remarks"])


def test_networks_that_say_the_same_share_a_line_and_other_seeds_are_not_counted() -> None:
    def said(network: str, seed: int) -> list[str]:
        if network.startswith("single"):
            return ["3 batches had no label and were skipped."] if seed == 2 else []
        return [LARGE.format(500)] if seed < 3 or "pcgrad" in network else []

    results = remarked(said)
    first, second = results["run_remarks"]
    assert [n["seeds"] for n in first["networks"]] == [[0, 1, 2], [0, 1, 2], [0, 1, 2, 3, 4]]
    assert "linear in 3 of 5 seeds; rlw in 3 of 5 seeds; pcgrad in 5 of 5 seeds: the" in "".join(
        lines(results)
    )
    assert [n["name"] for n in second["networks"]] == ["price alone", "sold alone"]
    assert any("price alone in 1 of 5 seeds; sold alone in 1 of 5 seeds: 3" in x
               for x in lines(results))  # fmt: skip


def test_each_separate_network_stops_early_by_its_own_rule_which_is_one_remark() -> None:
    def said(network: str, seed: int) -> list[str]:
        rule = f"main:{network.removeprefix('single-')}"
        if not network.startswith("single"):
            return []
        return [f"ended after epoch {7 + seed} of 20: no better epoch by {rule!r} for 5 epochs."]

    (entry,) = remarked(said)["run_remarks"]
    assert entry["remark"] == (
        "ended after epoch 7 to 11 of 20: no better epoch by its score for 5 epochs."
    )
    assert len(entry["networks"]) == 2


def test_numbers_in_names_tell_remarks_apart() -> None:
    def said(network: str, seed: int) -> list[str]:
        return [
            f"the gradient of 'assay {seed}' was 200 times that of 'assay 9'.",
            f"{seed}: none.",
        ]

    assert len(remarked(said, seeds=2)["run_remarks"]) == 4
    assert merged(["4 of 20: a", "11 of 20: a"]) == "4 to 11 of 20: a"


def test_a_large_study_is_no_flood() -> None:
    """Twelve methods over five seeds: 60 runs with three remarks each, and rare ones beside."""
    methods = tuple(map(Choice, ("linear", "rlw", "mgda", "pcgrad", "cagrad", "imtl_g", "dwa",
                                 "upgrad", "famo", "gls", "fairgrad", "stch")))  # fmt: skip

    def said(network: str, seed: int) -> list[str]:
        common = [LARGE.format(300 + seed), f"{seed} batches had no label and were skipped."]
        return [*common, f"{network} is slow."]

    results = remarked(said, methods=methods)
    assert len(results["run_remarks"]) == 2 + 12 + 2
    shown = lines(results)
    assert any(said.startswith("14 networks in 70 of 70 runs: the gradient") for said in shown)
    about = [s for s in shown if "slow" in s or "labe" in s or "gradient of" in s]
    assert len(about) == MOST_REMARKS
    assert any("10 more remarks of runs: run_remarks in results.json" in said for said in shown)


@pytest.mark.parametrize("stop", [0, 3, 12])
def test_a_study_cut_short_counts_the_runs_there_are(stop: int) -> None:
    results = remarked(lambda network, seed: [LARGE.format(200)], stop=stop)
    for entry in results["run_remarks"]:
        for network in entry["networks"]:
            assert 0 < len(network["seeds"]) == network["finished"] < 5
    assert bool(results["run_remarks"]) == (stop > 0)


def test_results_without_remarks_of_runs_say_nothing() -> None:
    results = remarked(lambda network, seed: [])
    assert results["run_remarks"] == []
    without = remarks(read(results))
    del results["run_remarks"]  # as in files of before
    assert remarks(read(results)) == without


def squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().mean(1)


def patients(factor: float) -> Dataset:
    """Two measurements of patients, the second one times `factor`, neither standardised."""
    x, y = load_diabetes(return_X_y=True)
    table = (x / x.std(0)).astype(np.float32)
    progression = ((y - y.mean()) / y.std()).astype(np.float32)
    targets = {"progression": progression[:, None], "sugar": factor * table[:, 9:]}
    tasks = {name: Task(name, "custom", loss_function=squared) for name in targets}
    return Dataset("patients", {"signal": table[:, :9]}, targets, tasks)


def encoder(spec: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(9, 16), nn.ReLU())


def studied(factor: float, out: Any) -> Any:
    return compare(
        patients(factor), methods=["linear"], encoder=encoder, seeds=2, epochs=2,
        lr=1e-3, batch_size=64, progress=False, out=out,
    )  # fmt: skip


@pytest.mark.slow
def test_a_target_a_thousand_times_too_large_is_said_by_a_real_study(tmp_path: Any) -> None:
    study = studied(1000.0, tmp_path / "patients")
    (entry,) = study.results["run_remarks"]
    networks = {network["name"]: network["seeds"] for network in entry["networks"]}
    assert networks["linear"] == [0, 1]
    assert not any("alone" in name for name in networks)
    assert "the gradient of 'sugar' on the shared parameters was" in entry["remark"]
    assert study.results == json.loads((study.folder / "results.json").read_text("utf-8"))
    terminal = io.StringIO()
    print_verdict(study.results, terminal)
    for text in (terminal.getvalue(), study.report.read_text("utf-8")):
        plain = " ".join(text.split())
        assert "linear in 2 of 2 seeds" in plain
        assert "times that of" in plain
        assert plain.count("which hardly counts beside it") == 1


@pytest.mark.slow
def test_a_study_with_losses_of_one_size_has_nothing_to_say(tmp_path: Any) -> None:
    study = studied(1.0, tmp_path / "patients")
    assert study.results["run_remarks"] == []
    page = write_report(study.results, tmp_path / "page.html").read_text("utf-8")
    assert "hardly counts beside it" not in page
