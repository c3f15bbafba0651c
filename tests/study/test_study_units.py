"""Single runs in this process: determinism, pairing, judged once, and boosting by hand."""

import json

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from study_simulation import TARGETS

from polytask.data import Dataset, make_splits, table_dataset
from polytask.errors import UserError
from polytask.study.boosting import EVERY, boost, features
from polytask.study.plan import Unit
from polytask.study.probe import _per_cycle
from polytask.study.unit import build, prepare, rehearse, run_folder
from polytask.tasks import Task

SPLIT = {"split": "random", "test_fraction": 0.15, "val_fraction": 0.15}
BASE = {
    **SPLIT,
    "kind": "train",
    "architecture": {"name": "hard_sharing", "arguments": {}},
    "encoder": {"name": "mlp", "arguments": {"hidden": [16]}},
    "method": {"name": "pcgrad", "arguments": {"scale": "sum"}},
    "tasks": ["progression", "high"],
    "batch_size": 64,
    "trainer": {},
    "seed": 0,
    "lr": 3e-3,
    "epochs": 3,
    "select": "mean_gain",
    "reference": {"progression": 60.0, "high": 0.7},
    "equal_time": 2,
}
TIMES = (
    "seconds", "step_seconds", "evaluation_seconds", "inference_seconds", "peak_memory_mb", "load",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(patients):
    return table_dataset(patients, TARGETS)


def carry_out(folder, config, dataset, **options):
    unit = Unit("it", config, "data")
    folder.mkdir(parents=True)
    (folder / "unit.json").write_text(json.dumps(unit.to_dict()))
    run_folder(folder, dataset, **options)
    found = [folder / name for name in ("result.json", "error.json") if (folder / name).exists()]
    assert len(found) == 1
    return json.loads(found[0].read_text())


def test_the_same_run_gives_the_same_numbers(tmp_path, dataset):
    first = carry_out(tmp_path / "a", BASE, dataset)
    second = carry_out(tmp_path / "b", BASE, dataset)
    assert {k: v for k, v in first.items() if k not in TIMES} == {
        k: v for k, v in second.items() if k not in TIMES
    }
    other = carry_out(tmp_path / "c", BASE | {"seed": 1}, dataset)
    assert other["selected"] != first["selected"]


def test_a_result_holds_what_the_analysis_reads(tmp_path, dataset):
    result = carry_out(tmp_path / "a", BASE, dataset)
    best = result["selected"]["epoch"]
    assert result["selected"]["val"]["high"] == result["curves"]["high"][best - 1]
    assert result["selected"]["test"]["high"] == result["metrics"]["test"]["high"]["auroc"]
    assert result["equal_time"]["epoch"] <= 2
    assert len(result["curves"]["high"]) == len(result["weights"]["high"]) == 3
    for name in ("config.yaml", "metrics.jsonl", "model.safetensors", "environment.json"):
        assert (tmp_path / "a" / name).exists()


def test_recording_conflict_changes_no_number(tmp_path, dataset):
    plain = carry_out(tmp_path / "a", BASE, dataset)
    config = BASE | {"conflict": "tail"}
    recorded = carry_out(tmp_path / "b", config, dataset)
    record = recorded.pop("conflict")
    ignored = (*TIMES, "hash")
    assert {k: v for k, v in recorded.items() if k not in ignored} == {
        k: v for k, v in plain.items() if k not in ignored
    }
    assert "conflict" not in plain
    assert record["tasks"] == BASE["tasks"]
    assert len(record["products"]) == 15  # 3 epochs of 5 batches
    assert record == json.loads((tmp_path / "b" / "conflict.json").read_text())


def test_the_equal_time_checkpoint_is_another_epoch_of_the_same_run(tmp_path, dataset):
    # Trained so slowly that later epochs are better: the cut at epoch 1 must be epoch 1.
    config = BASE | {"lr": 1e-4, "epochs": 4, "equal_time": 1}
    result = carry_out(tmp_path / "a", config, dataset)
    assert result["equal_time"]["epoch"] == 1
    assert result["selected"]["epoch"] > 1
    one = carry_out(tmp_path / "b", config | {"epochs": 1}, dataset)
    assert one["selected"]["test"] == result["equal_time"]["test"]


def test_networks_of_one_and_of_many_tasks_start_alike(dataset):
    shared = build(BASE, prepare(BASE, dataset))
    alone_config = BASE | {"tasks": ["high"]}
    alone = build(alone_config, prepare(alone_config, dataset))
    theirs = dict(shared.named_parameters())
    ours = dict(alone.named_parameters())
    assert len(ours) >= 4
    for name, value in ours.items():
        assert torch.equal(value, theirs[name])
    other = build(BASE | {"seed": 1}, prepare(BASE, dataset))
    assert not torch.equal(
        dict(other.named_parameters())["encoder.stages.0.0.weight"],
        theirs["encoder.stages.0.0.weight"],
    )


def test_building_leaves_the_caller_s_random_numbers_alone(dataset):
    prepared = prepare(BASE, dataset)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(BASE, prepared)
    assert torch.equal(torch.rand(3), expected)


def test_an_error_is_recorded_with_its_cause(tmp_path, dataset):
    broken = Dataset(
        "broken",
        {"numeric": np.random.default_rng(0).normal(size=(60, 2)).astype("float32")},
        {"y": np.full(60, 3.0, "float32")},
        {"y": Task("y", "regression")},
    )
    error = carry_out(tmp_path / "a", BASE | {"tasks": ["y"], "reference": None}, broken)
    assert error["user"]
    assert "y" in error["error"]
    assert "Traceback" in error["traceback"]
    bad = carry_out(tmp_path / "b", BASE | {"optimizer": 1, "tasks": ["nothing"]}, dataset)
    assert bad["error"].startswith("KeyError")


def test_a_probe_measures_steps_and_memory(tmp_path, dataset):
    config = {k: v for k, v in BASE.items() if k not in ("lr", "epochs", "select", "reference")}
    result = carry_out(tmp_path / "a", config | {"kind": "probe"}, dataset)
    assert 0 < result["step_seconds"] < 5
    assert result["steps_measured"] >= 15
    assert result["steps_per_epoch"] == -(-len(make_splits(dataset)["train"]) // 64)
    assert result["parameters"] == 10 * 16 + 16 + 2 * (16 + 1)
    assert result["peak_memory_mb"] >= 0
    method = {"name": "pcgrad", "arguments": {"scale": "sum"}}
    paired = carry_out(tmp_path / "b", config | {"kind": "probe", "method": method}, dataset)
    assert 0 < paired["reference_seconds"] < 5
    single = config | {"kind": "probe", "tasks": config["tasks"][:1]}
    assert carry_out(tmp_path / "c", single, dataset)["reference_seconds"] is None


@pytest.mark.parametrize("seed", [0, 1])
def test_boosting_equals_scikit_learn_by_hand(dataset, patients, seed):
    config = SPLIT | {"kind": "boosting", "tasks": ["progression"], "seed": seed}
    result = boost(config, dataset)
    splits = make_splits(dataset, seed=seed)
    x = dataset.inputs["numeric"].astype("float64")
    np.testing.assert_allclose(x, patients.drop(columns=["progression", "high"]), rtol=1e-6)
    y = patients["progression"].to_numpy()
    rows = {p: r[~np.isnan(y[r])] for p, r in splits.items()}
    trees = result["selected"]["trees"]
    model = HistGradientBoostingRegressor(max_iter=trees, early_stopping=False, random_state=0)
    model.fit(x[rows["train"]], y[rows["train"]])
    rmse = root_mean_squared_error(y[rows["test"]], model.predict(x[rows["test"]]))
    assert result["selected"]["test"]["progression"] == pytest.approx(rmse, rel=1e-4)
    # the number of trees is the best on validation
    curve = [
        root_mean_squared_error(y[rows["val"]], p)
        for i, p in enumerate(model.staged_predict(x[rows["val"]]), 1)
        if i % EVERY == 0
    ]
    assert min(curve) == pytest.approx(curve[-1])


def test_boosting_reads_categories_and_every_kind_of_target(patients):
    from sklearn.datasets import load_iris

    frame = load_iris(as_frame=True).frame
    frame["size"] = np.where(frame["petal width (cm)"] > 1, "large", "small")
    frame.loc[::7, "target"] = None
    frame.loc[::5, "size"] = None
    data = table_dataset(frame, ["target:multiclass", "sepal length (cm):regression"])
    assert data.inputs["categorical"].shape[1] == 1
    result = boost(SPLIT | {"kind": "boosting", "tasks": ["target"], "seed": 0}, data)
    assert result["selected"]["test"]["target"] > 0.8
    splits = make_splits(data, seed=0)
    x, categorical = features(data, splits["train"])
    assert categorical == [x.shape[1] - 1]
    y = data.targets["target"]
    rows = splits["train"][y[splits["train"]] >= 0]
    model = HistGradientBoostingClassifier(
        max_iter=result["selected"]["trees"],
        early_stopping=False,
        categorical_features=categorical,
        random_state=0,
    ).fit(x[rows], y[rows])
    test = splits["test"][y[splits["test"]] >= 0]
    assert result["selected"]["test"]["target"] == pytest.approx(model.score(x[test], y[test]))
    labels = np.stack([y == k for k in range(3)], axis=1).astype("float32")
    labels[y < 0] = np.nan
    labels[:, 2] = 0.0  # one label that never occurs
    several = Dataset(
        "several",
        data.inputs,
        {"kinds": labels, "sizes": frame.iloc[:, :2].to_numpy("float32")},
        {
            "kinds": Task("kinds", "multilabel", classes=("a", "b", "c")),
            "sizes": Task("sizes", "regression", size=2),
        },
    )
    for name, low in (("kinds", 0.8), ("sizes", 0.0)):
        found = boost(SPLIT | {"kind": "boosting", "tasks": [name], "seed": 0}, several)
        assert found["selected"]["test"][name] > low


def probe_config(**changes):
    config = {k: v for k, v in BASE.items() if k not in ("lr", "epochs", "select", "reference")}
    return config | {"kind": "probe"} | changes


def test_a_probe_finds_the_labels_of_a_rare_task(tmp_path, patients):
    frame = patients.assign(rare=patients["progression"])
    train = make_splits(table_dataset(frame, TARGETS))["train"]
    frame.loc[train[:-20], "rare"] = np.nan
    config = probe_config(tasks=["rare"], batch_size=4)
    result = carry_out(tmp_path / "a", config, table_dataset(frame, ["rare", "high"]))
    assert result["step_seconds"] > 0


def test_a_method_that_learns_from_held_out_rows_is_rehearsed_and_probed(tmp_path, dataset):
    config = probe_config(method={"name": "auto_lambda", "arguments": {"scale": "sum"}})
    prepared = prepare(config, dataset)
    rehearse(config, prepared, build(config, prepared))
    assert carry_out(tmp_path / "a", config, dataset)["step_seconds"] > 0


def test_a_method_of_several_batches_is_charged_for_all_of_them(tmp_path, dataset):
    assert _per_cycle([1, 1, 4, 1, 1, 4, 1], 3) == [2, 2]
    assert _per_cycle([1, 3], 3) == [2]
    config = probe_config(method={"name": "modo", "arguments": {"scale": "sum"}}, batch_size=256)
    prepared = prepare(config, dataset)
    with pytest.raises(UserError, match="smaller batch_size"):
        rehearse(config, prepared, build(config, prepared))
    config["batch_size"] = 32
    assert carry_out(tmp_path / "a", config, dataset)["step_seconds"] > 0


def test_an_auxiliary_task_alone_is_what_its_network_is_about(tmp_path, patients):
    dataset = table_dataset(patients, ["progression:regression:auxiliary", "high"])
    alone = {"tasks": ["progression"], "reference": None, "select": "loss"}
    assert carry_out(tmp_path / "a", BASE | alone, dataset)["selected"]["epoch"] >= 1
    assert carry_out(tmp_path / "b", probe_config(tasks=["progression"]), dataset)["parameters"]
