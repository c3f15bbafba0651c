"""Studies of several architectures, and of architectures of the user's own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from study_simulation import TARGETS, facts, settings, simulate

from polytask import plugins, registry
from polytask.architectures import HardSharing, register_architecture
from polytask.errors import UserError
from polytask.report.results import read
from polytask.study import compare
from polytask.study.analysis import analyse
from polytask.study.plan import Plan
from polytask.study.settings import Choice, choose_architectures

SIX = ("hard_sharing", "mmoe", "ple", "cross_stitch", "mtan", "adapters")
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_architecture.py"
QUICK = {
    "targets": TARGETS,
    "methods": ["linear"],
    "encoder": {"mlp": {"hidden": [8]}},
    "seeds": 1,
    "epochs": 1,
    "lr": 1e-2,
    "progress": False,
}


@pytest.fixture(autouse=True)
def names():
    """The registry as it was, afterwards."""
    entries = registry.entries("architecture")
    before = dict(entries)
    yield entries
    entries.clear()
    entries.update(before)


def several(*names, methods=("linear", "rlw")):
    return settings(architectures=tuple(map(Choice, names)), methods=tuple(map(Choice, methods)))


def scores(better):
    """Every seed has its noise; an architecture's networks are better by some percent."""

    def score(unit, task, part):
        name = unit.config["architecture"]["name"]
        seed, single = unit.config["seed"], len(unit.config["tasks"]) == 1
        gain = 0.0 if single else better.get(name, 0.0)
        gain += 0.1 * ((7 * seed + 3 * len(name) + len(unit.config["method"]["name"])) % 5)
        base, sign = (2.0, -1) if task == "price" else (0.8, 1)
        return base * (1 + sign * gain / 100)

    return score


def study(better, *names, **changes):
    plan = Plan(several(*names, **changes))
    outcomes, _ = simulate(plan, scores(better))
    results = analyse(plan, facts(plan), outcomes)
    json.dumps(results, allow_nan=False)
    return results


def test_single_task_may_be_named_and_is_left_out():
    plain = (Choice("hard_sharing"),)
    assert choose_architectures(["single_task", "hard_sharing"]) == plain
    assert choose_architectures(["hard_sharing", "SingleTask", "hard_sharing"]) == plain
    with pytest.raises(UserError, match="yardstick; name a way of sharing too"):
        choose_architectures(["single_task"])
    with pytest.raises(UserError, match=r"found single_task \(fresh=False\)"):
        choose_architectures(["hard_sharing", {"single_task": {"fresh": False}}])


def test_every_method_meets_every_architecture_behind_the_baseline():
    # Random weights alone stay with hard sharing.
    plan = Plan(several("mmoe", "hard_sharing", methods=("linear", "rlw", "pcgrad")))
    assert [c.id for c in plan.candidates] == [
        "hard_sharing-linear",
        "mmoe-linear", "mmoe-pcgrad",
        "hard_sharing-rlw", "hard_sharing-pcgrad",
    ]  # fmt: skip
    assert plan.unit_of_cost.id == "hard_sharing-linear"


def test_equal_weights_under_hard_sharing_take_part_unasked():
    plan = Plan(several("mmoe"))
    assert [c.id for c in plan.candidates] == ["hard_sharing-linear", "mmoe-linear", "mmoe-rlw"]
    assert [c.id for c in plan.candidates if c.baseline] == ["hard_sharing-linear"]
    # With options of the user's own it is one more candidate: the yardstick has none either.
    own = Choice("hard_sharing", {"head_hidden": [8]})
    plan = Plan(settings(architectures=(own,)))
    assert [c.id for c in plan.candidates][:2] == [
        "hard_sharing-linear", plan.candidates[1].id
    ]  # fmt: skip
    assert plan.candidates[1].architecture == own
    assert not plan.candidates[1].baseline
    outcomes, _ = simulate(plan, scores({}), cost=lambda u: 0.02 if "head_hidden" in u.id else 0.01)
    assert plan.relative_cost(plan.candidates[1], outcomes) == pytest.approx(2.0)


def test_six_architectures_read_as_six_names():
    results = study({"ple": 4.0, "mtan": -4.0}, *SIX)
    page = read(results)
    assert {c.label for c in page.candidates} == {*SIX, "hard_sharing · rlw"}
    assert {c["name"] for c in results["candidates"]} == {c.label for c in page.candidates}
    # Only what is always there is drawn as a baseline.
    assert {c.label for c in page.candidates if c.baseline} == {
        "hard_sharing", "hard_sharing · rlw",
    }  # fmt: skip
    assert len({c.style for c in page.candidates}) == 7
    assert page.chosen is not None
    assert page.chosen.label.startswith("ple")
    sentence = results["verdict"]["sentence"]
    assert f"one network (with {page.chosen.label}, chosen on validation)" in sentence
    assert "]) beats hard sharing with tuned equal weights (linear) beyond noise" in sentence
    assert " ple (+4.0 points" in sentence
    assert "one of hard sharing with equal weights" in sentence


def test_everything_is_compared_with_the_baseline():
    results = study({"mmoe": 3.0}, "mmoe")
    by_id = {c["id"]: c for c in results["candidates"]}
    assert by_id["hard_sharing-linear"]["versus_linear"] is None
    assert by_id["mmoe-linear"]["versus_linear"]["mean"] == pytest.approx(3.0, abs=0.3)
    assert by_id["mmoe-rlw"]["versus_linear"]["mean"] == pytest.approx(3.0, abs=0.3)
    nothing = study({}, *SIX)["verdict"]["sentence"]
    assert (
        "No way of sharing or balancing beats hard sharing with tuned equal weights (linear)"
        in nothing
    )


def test_one_architecture_reads_as_before():
    results = study({}, "hard_sharing", methods=("linear", "rlw", "pcgrad"))
    assert [c["name"] for c in results["candidates"]] == ["linear", "rlw", "pcgrad"]
    sentence = results["verdict"]["sentence"]
    assert "No way of balancing beats tuned equal weights (linear)" in sentence
    assert "hard sharing" not in sentence


CODE = """
    import polytask
    from polytask.architectures import HardSharing

    @polytask.register_architecture
    class Mine(HardSharing):
        "Version {}."
        shares = "all"
"""


def test_a_change_in_its_file_makes_new_runs_of_it_and_of_nothing_else(tmp_path, names):
    file = tmp_path / "mine.py"

    def hashes(version):
        file.write_text(dedent(CODE.format(version)))
        plugins.load(file)
        chosen = choose_architectures(["mine", "mmoe"])
        found = plugins.origin(names["mine"])
        plan = Plan(settings(architectures=chosen, plugins=(found,)))
        units = [plan.probe(c) for c in plan.candidates]
        for unit in units:
            mine = unit.config["architecture"]["name"] == "mine"
            assert [p["file"] for p in unit.to_dict()["plugins"]] == [str(file)] * mine
        return {unit.id: unit.hash for unit in units}

    first, second = hashes(1), hashes(2)
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {name for name in first if "mine" in name}
    assert hashes(1) == first
    # Where the file lies decides no number.
    moved = tmp_path / "elsewhere.py"
    names.pop("mine")
    file.rename(moved)
    plugins.load(moved)
    choice = choose_architectures(["mine"])[0]
    plan = Plan(settings(architectures=(choice,), plugins=(plugins.origin(names["mine"]),)))
    assert plan.probe(plan.candidates[1]).hash == first["probe-mine-linear"]


class NoFeatures(HardSharing):
    """Shares an encoder and says that it has no representation."""

    shares = "the encoder"
    no_features = "every task reads the encoder in a way of its own."

    def compute(self, x, tasks):
        return super().compute(x, tasks)[0], None


def test_a_statistic_that_an_architecture_cannot_give_is_refused_with_its_reason(
    patients, tmp_path
):
    register_architecture(NoFeatures)
    words = QUICK | {"methods": ["pcgrad"], "statistic": "features", "out": tmp_path / "out"}
    with pytest.raises(
        UserError,
        match=r"no_features with pcgrad: statistic='features' needs .* NoFeatures has none: every "
        r"task reads the encoder in a way of its own\. Use statistic='tail' or 'exact'",
    ):
        compare(patients, **words, architectures=["no_features"])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_architecture_in_a_file_is_compared_in_processes_of_their_own(patients, tmp_path):
    patients.to_csv(tmp_path / "patients.csv", index=False)
    words = [
        "--data", "patients.csv", "--targets", *TARGETS, "--seeds", "1", "--epochs", "1",
        "--methods", "linear", "--lr", "1e-2", "--encoder", "mlp:hidden=[8]", "--out", "out",
        "--plugins", EXAMPLE,
        "--architectures", "single_task", "hard_sharing", "gated_correction:hidden=4",
    ]  # fmt: skip

    def polytask(*more):
        done = subprocess.run(
            [sys.executable, "-m", "polytask", "compare", *map(str, more)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = polytask(*words)
    assert code == 0, said
    assert "gated_correction (hidden=4)" in said
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    assert results["plugins"] == [str(EXAMPLE)]
    assert not list(out.glob("runs/*/error.json"))
    again = f"polytask compare out/study.yaml --plugins {EXAMPLE}"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert again in page
    assert f"--plugins {EXAMPLE} --architectures" in page
    settings = (out / "study.yaml").read_text()
    assert settings.startswith(f"# Needs the flag: --plugins {EXAMPLE}\n")
    assert "plugins:" not in settings
    before = {f: f.stat().st_mtime_ns for f in out.glob("runs/*/result.json")}
    # Two alone, two under hard sharing (one of them random weights), one's own: probe and run.
    assert len(before) == (2 + 3) * 2 + 2  # and boosting
    code, said = polytask(*again.split()[2:])
    assert code == 0, said
    assert {f: f.stat().st_mtime_ns for f in out.glob("runs/*/result.json")} == before
    code, said = polytask("out/study.yaml")
    assert code == 2
    assert "unknown architecture 'gated_correction'" in said


@pytest.mark.slow
def test_a_script_that_defines_one_runs_its_study_in_its_own_process(patients, tmp_path):
    patients.to_csv(tmp_path / "patients.csv", index=False)
    code = f"""
        import os
        import polytask
        from polytask.architectures import HardSharing

        print("the script runs")

        @polytask.register_architecture
        class Scripted(HardSharing):
            "Made here."

            def compute(self, x, tasks):
                with open("processes", "a") as file:
                    print(os.getpid(), file=file)
                return super().compute(x, tasks)

        result = polytask.compare(
            "patients.csv", **{ {k: v for k, v in QUICK.items() if k != "encoder"}!r},
            architectures=["scripted"], encoder={{"mlp": {{"hidden": [8]}}}}, out="out",
        )
        assert result.complete
        """
    (tmp_path / "script.py").write_text(dedent(code))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert told.count("the script runs") == 1
    assert set((tmp_path / "processes").read_text().split()) == {str(process.pid)}
