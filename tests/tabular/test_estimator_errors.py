"""What a person gets wrong with tables and saved models: said before training, by name."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.errors import UserError
from polytask.tabular import MultiTaskEstimator

Table = tuple[pd.DataFrame, pd.DataFrame]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda X, Y: (X.to_numpy(), Y), "X should be a pandas DataFrame, found ndarray"),
        (lambda X, Y: (X, Y.to_numpy()), "Y should be a pandas DataFrame"),
        (lambda X, Y: (X[:0], Y[:0]), "X is empty"),
        (lambda X, Y: (X, Y[:-1]), "rows of X .178. and Y .177. do not go together"),
        (lambda X, Y: (X, Y[::-1]), "their indexes differ"),
        (lambda X, Y: (X.assign(dark=1), Y), "'dark' are in X and in Y"),
        (lambda X, Y: (X, Y.dark.rename(None)), "Series without a name"),
        (lambda X, Y: (X, Y.assign(flat=1)), "'flat' is constant"),
        (lambda X, Y: (X, Y.assign(none=np.nan)), "'none' has no labels"),
        (lambda X, Y: (pd.concat([X, X.iloc[:, :1]], axis=1), Y), "two columns called"),
        (lambda X, Y: (X, None), "needs the targets"),
    ],
)
def test_tables_that_do_not_fit(wine: Table, change: object, says: str) -> None:
    X, Y = change(*wine)  # type: ignore[operator]
    with pytest.raises(UserError, match=says):
        MultiTaskEstimator(epochs=1).fit(X, Y)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"method": "pcgrd"}, "did you mean 'pcgrad'"),
        ({"method": {"linear": {"wieghts": 1}}}, "did you mean 'weights'"),
        ({"method": 3}, "method should be a name"),
        ({"architecture": "hard"}, "did you mean 'hard_sharing'"),
        ({"encoder": "mpl"}, "did you mean 'mlp'"),
        ({"encoder": "resnet"}, "resnet"),
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"lr": -1}, "lr must be a number above 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"val_fraction": 1.5}, "val_fraction is 1.5"),
        ({"select": "main:price"}, "price"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"precision": "fp16"}, "CUDA"),
    ],
)
def test_settings_that_cannot_be(wine: Table, settings: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        MultiTaskEstimator(**settings).fit(*wine)  # type: ignore[arg-type]


def test_a_wrong_target_is_named(wine: Table) -> None:
    with pytest.raises(UserError, match="did you mean 'alcohol'"):
        MultiTaskEstimator().fit(*wine, targets=["alcool"])
    with pytest.raises(UserError, match="did you mean 'regression'"):
        MultiTaskEstimator().fit(*wine, targets=["alcohol:regresion"])


@pytest.fixture
def model(linnerud: Table, tmp_path: Path) -> Path:
    return MultiTaskEstimator(epochs=1).fit(*linnerud).save(tmp_path / "model")


def test_no_model_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        MultiTaskEstimator.load(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"there is no polytask\.json in"):
        MultiTaskEstimator.load(tmp_path)


def test_weights_of_another_save_are_refused(model: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="is not the file"):
        MultiTaskEstimator.load(model)
    weights.unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        MultiTaskEstimator.load(model)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 99}, "has format 99"),
        ({"tasks": {"Waist": {"kind": "regression"}}}, "needs 'name'"),
        ({"encoder": {"name": "mpl", "arguments": {}}}, "did you mean 'mlp'"),
        ({"preprocessor": {}}, "damaged"),
    ],
)
def test_a_changed_card_is_refused(model: Path, change: dict[str, object], says: str) -> None:
    card = json.loads((model / "polytask.json").read_text())
    (model / "polytask.json").write_text(json.dumps(card | change))
    with pytest.raises(UserError, match=says):
        MultiTaskEstimator.load(model)


def test_a_truncated_card_is_refused(model: Path) -> None:
    text = (model / "polytask.json").read_text()
    (model / "polytask.json").write_text(text[:100])
    with pytest.raises(UserError, match="is damaged"):
        MultiTaskEstimator.load(model)
