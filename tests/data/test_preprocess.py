"""Preprocessing learns from training rows only, and treats new rows the same."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.preprocessing import StandardScaler

from polytask.data import Dataset, Preprocessor, load_dataset, table_dataset
from polytask.errors import UserError
from polytask.tasks import Task

wild = st.floats(width=32, allow_nan=True, allow_infinity=True)


def dataset(**inputs: np.ndarray) -> Dataset:
    n = len(next(iter(inputs.values())))
    return Dataset("t", inputs, {"y": np.arange(n)}, {"y": Task("y", "regression")})


def test_standardising_matches_scikit_learn(diabetes: pd.DataFrame) -> None:
    data = table_dataset(diabetes, ["progression"])
    rows = np.arange(0, data.n, 2)
    got = Preprocessor.fit(data, rows).transform(data.inputs)["numeric"]
    wide = data.inputs["numeric"].astype(np.float64)
    expected = StandardScaler().fit(wide[rows]).transform(wide)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-6)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=2), elements=wild))
def test_rows_outside_training_change_nothing(values: np.ndarray) -> None:
    rows = np.arange(len(values) // 2 + 1)
    other = values.copy()
    other[len(rows) :] = np.where(other[len(rows) :] > 0, -7, 5)
    codes = np.nan_to_num(values, nan=-1, posinf=5, neginf=-1).clip(-1, 5).astype(np.int64)
    changed = codes.copy()
    changed[len(rows) :] = 99
    one = Preprocessor.fit(dataset(numeric=values, categorical=codes), rows)
    two = Preprocessor.fit(dataset(numeric=other, categorical=changed), rows)
    assert one.to_dict() == two.to_dict()


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1), elements=wild))
def test_output_is_finite_bounded_and_as_wide_as_said(values: np.ndarray) -> None:
    fitted = Preprocessor.fit(dataset(numeric=values), np.arange(len(values)))
    out = fitted.transform({"numeric": values})["numeric"]
    assert out.shape == (len(values), fitted.spec.numeric)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert out.abs().max() <= 10


def test_missing_values_take_the_median_and_get_an_indicator() -> None:
    values = np.asarray([[1, 0], [np.nan, 1], [3, 2], [100, 3]], np.float32)
    fitted = Preprocessor.fit(dataset(numeric=values), np.arange(4))
    assert fitted.spec.numeric == 3
    out = fitted.transform({"numeric": np.asarray([[np.nan, np.nan], [3, 5]], np.float32)})
    mean, sd = np.mean([1, 3, 100]), np.std([1, 3, 100])
    np.testing.assert_allclose(out["numeric"][:, 0], [(3 - mean) / sd] * 2, rtol=1e-5)
    assert out["numeric"][:, 2].tolist() == [1, 0]
    # The second column was complete in training: its later gap is filled, without an indicator.
    assert out["numeric"][0, 1] == 0


def test_constant_and_empty_columns_stay_zero() -> None:
    values = np.asarray([[0.1, np.nan]] * 7, np.float32)
    fitted = Preprocessor.fit(dataset(numeric=values), np.arange(7))
    out = fitted.transform({"numeric": np.asarray([[5.0, 5.0]], np.float32)})["numeric"]
    assert out.tolist() == [[0, 0]]
    assert fitted.spec.numeric == 2


def test_far_values_are_clipped() -> None:
    fitted = Preprocessor.fit(dataset(numeric=np.asarray([[0.0], [1.0]])), np.arange(2))
    out = fitted.transform({"numeric": np.asarray([[1e30], [-1e30]], np.float32)})
    assert out["numeric"].flatten().tolist() == [10, -10]


def test_codes_seen_in_training_are_numbered_from_one() -> None:
    codes = np.asarray([[4, 0], [7, -1], [4, 0], [2, 5]])
    fitted = Preprocessor.fit(dataset(categorical=codes), np.arange(3))
    assert fitted.spec.categorical == (3, 2)
    out = fitted.transform({"categorical": np.asarray([[4, 0], [7, 5], [2, -1], [9, 0]])})
    assert out["categorical"].tolist() == [[1, 1], [2, 0], [0, 0], [0, 1]]
    nothing = Preprocessor.fit(dataset(categorical=np.full((3, 1), -1)), np.arange(3))
    assert nothing.transform({"categorical": codes[:, :1]})["categorical"].tolist() == [[0]] * 4


def test_real_images_are_standardised_per_channel_on_training_rows() -> None:
    data = load_dataset("digits")
    rows = np.arange(1000)
    fitted = Preprocessor.fit(data, rows)
    assert fitted.spec.image == (1, 8, 8)
    out = fitted.transform(data.inputs)["image"]
    assert out[:1000].mean().item() == pytest.approx(0, abs=1e-5)
    assert out[:1000].std().item() == pytest.approx(1, abs=1e-3)
    assert out[1000:].mean().item() != pytest.approx(0, abs=1e-5)


def test_other_inputs_pass_through() -> None:
    graph = np.arange(12, dtype=np.int64).reshape(4, 3)
    fitted = Preprocessor.fit(dataset(tokens=graph), np.arange(4))
    assert fitted.spec.other == (("tokens", (3,)),)
    assert fitted.transform({"tokens": graph})["tokens"].tolist() == graph.tolist()


def test_json_round_trip_is_exact(diabetes: pd.DataFrame) -> None:
    frame = diabetes.assign(group=np.where(diabetes["bmi"] > 25, "high", "low"))
    frame.loc[::5, "bmi"] = np.nan
    data = table_dataset(frame, ["progression"])
    fitted = Preprocessor.fit(data, np.arange(300))
    again = Preprocessor.from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    assert again.spec == fitted.spec
    for name, tensor in fitted.transform(data.inputs).items():
        assert torch.equal(tensor, again.transform(data.inputs)[name])


def test_wrong_inputs_are_refused() -> None:
    fitted = Preprocessor.fit(dataset(numeric=np.eye(3)), np.arange(3))
    with pytest.raises(UserError, match="the input 'numeric' is missing"):
        fitted.transform({"numbers": np.eye(3)})
    with pytest.raises(UserError, match=r"rows of shape \(2,\); expected \(3,\)"):
        fitted.transform({"numeric": np.eye(2)})
    with pytest.raises(UserError, match="no training rows"):
        Preprocessor.fit(dataset(numeric=np.eye(3)), np.arange(0))
    with pytest.raises(UserError, match=r"expected \[rows, channels, h, w\]"):
        Preprocessor.fit(dataset(image=np.ones((3, 8, 8))), np.arange(3))
