"""NYUv2 and CelebA from folders that the user brings: small ones in the published formats."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polytask.data import Dataset, dataset_card, load_dataset, make_splits
from polytask.data.sets._earth_maps import build
from polytask.data.sets._folder import check_memory
from polytask.errors import MissingExtraError, UserError

HEIGHT, WIDTH = 6, 8
SCENES = {"train": 5, "val": 3}
ATTRIBUTES = ("Eyeglasses", "Male", "Smiling")
PARTITION = (0, 0, 0, 0, 1, 1, 2, 2)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A folder as MTAN publishes it: float64 images and maps, float labels, 6 x 8 pixels."""
    generator = np.random.default_rng(0)
    root = tmp_path / "nyuv2"
    for part, count in SCENES.items():
        for kind in ("image", "label", "depth", "normal"):
            (root / part / kind).mkdir(parents=True)
        for i in range(count):
            normal = generator.normal(size=(HEIGHT, WIDTH, 3))
            normal /= np.linalg.norm(normal, axis=2, keepdims=True)
            normal[0, 0] = 0
            depth = generator.uniform(0.5, 9, (HEIGHT, WIDTH, 1))
            depth[1, 1] = 0
            label = generator.integers(-1, 13, (HEIGHT, WIDTH)).astype(np.float64)
            label[2, 2] = -1
            image = generator.random((HEIGHT, WIDTH, 3))
            folder = root / part
            np.save(folder / "image" / f"{i}.npy", image)
            np.save(folder / "label" / f"{i}.npy", label)
            np.save(folder / "depth" / f"{i}.npy", depth)
            np.save(folder / "normal" / f"{i}.npy", normal.astype(np.float32))
    return root


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder as CelebA's authors publish it: 8 pictures of 218 x 178, three attributes."""
    generator = np.random.default_rng(0)
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    rows, parts = [], []
    for i, part in enumerate(PARTITION):
        name = f"{i + 1:06}.jpg"
        grey = np.full((218, 178, 3), 30 * i, np.uint8)
        Image.fromarray(grey).save(root / "img_align_celeba" / name, quality=95)
        rows.append(f"{name} {' '.join(f'{v:2}' for v in generator.choice([-1, 1], 3))}")
        parts.append(f"{name} {part}")
    lines = ["8", " ".join(ATTRIBUTES) + " ", *rows]
    (root / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


def test_scenes_are_read_as_published(scenes: Path) -> None:
    data = load_dataset("nyuv2", folder=str(scenes))
    card = dataset_card("nyuv2")
    assert list(data.tasks) == list(card["tasks"])
    assert data.n == 8
    assert data.inputs["image"].shape == (8, 3, HEIGHT, WIDTH)
    assert data.targets["normal"].shape == (8, 3, HEIGHT, WIDTH)
    parts = make_splits(data)
    assert parts["test"].tolist() == [5, 6, 7]
    assert len(parts["train"]) + len(parts["val"]) == 5
    for row, file in ((0, "train/{}/0.npy"), (4, "train/{}/4.npy"), (7, "val/{}/2.npy")):
        image = np.load(scenes / file.format("image"))
        label = np.load(scenes / file.format("label"))
        depth = np.load(scenes / file.format("depth"))[..., 0]
        normal = np.load(scenes / file.format("normal"))
        np.testing.assert_allclose(data.inputs["image"][row], np.moveaxis(image, -1, 0), rtol=1e-6)
        y = {task: target[row] for task, target in data.targets.items()}
        assert (y["segmentation"] == np.where(label < 0, -100, label)).all()
        assert y["segmentation"][2, 2] == -100
        assert np.isnan(y["depth"][1, 1])
        np.testing.assert_allclose(np.nan_to_num(y["depth"]), depth, rtol=1e-6)
        assert np.isnan(y["normal"][:, 0, 0]).all()
        assert np.isnan(y["normal"]).sum() == 3
        np.testing.assert_allclose(np.nan_to_num(y["normal"]), np.moveaxis(normal, -1, 0))
    assert data.tasks["normal"].primary.name == "mean_angle"
    assert any("5 training and 3 test rows; the published one has 795" in n for n in data.notes)


def test_fewer_scenes_and_pixels(scenes: Path, tmp_path: Path) -> None:
    whole = load_dataset("nyuv2", folder=str(scenes))
    small = load_dataset("nyuv2", folder=str(scenes), rows=4, stride=2)
    assert small.inputs["image"].shape == (4, 3, 3, 4)
    assert (small.fixed_split or {})["test"].tolist() == [3]
    rows = [0, 1, 2, 5]
    np.testing.assert_array_equal(small.inputs["image"], whole.inputs["image"][rows][..., ::2, ::2])
    for task, target in whole.targets.items():
        np.testing.assert_array_equal(small.targets[task], target[rows][..., ::2, ::2])
    back = Dataset.load(small.save(tmp_path / "saved"))
    assert back.tasks == small.tasks
    np.testing.assert_array_equal(back.targets["normal"], small.targets["normal"])


def broken_scene(scenes: Path, how: str) -> None:
    """Spoil one thing in a folder of scenes."""
    if how == "no val":
        (scenes / "val").rename(scenes / "validation")
    elif how == "missing number":
        (scenes / "train" / "depth" / "2.npy").rename(scenes / "train" / "depth" / "two.npy")
    elif how == "fewer normals":
        (scenes / "val" / "normal" / "2.npy").unlink()
    elif how == "cut off":
        file = scenes / "train" / "image" / "3.npy"
        file.write_bytes(file.read_bytes()[:300])
    elif how == "pickled":
        np.save(scenes / "val" / "label" / "0.npy", np.array([{}]), allow_pickle=True)
    elif how == "channels first":
        np.save(scenes / "train" / "image" / "0.npy", np.zeros((3, HEIGHT, WIDTH)))
    elif how == "other size":
        np.save(scenes / "train" / "depth" / "1.npy", np.ones((HEIGHT, WIDTH + 1)))
    elif how == "40 classes":
        np.save(scenes / "train" / "label" / "1.npy", np.full((HEIGHT, WIDTH), 39))
    elif how == "negative depth":
        np.save(scenes / "val" / "depth" / "1.npy", np.full((HEIGHT, WIDTH), -1.5))
    elif how == "text":
        np.save(scenes / "val" / "normal" / "1.npy", np.full((HEIGHT, WIDTH, 3), "x"))
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no val", r"expected the folder .*/val/image with 0\.npy"),
        ("missing number", r"train/depth holds 5 .*; 2\.npy is missing and two\.npy is there"),
        ("fewer normals", r"val/normal holds 2 files and .*val/image 3"),
        ("cut off", r"train/image/3\.npy is not a whole \.npy file"),
        ("pickled", r"val/label/0\.npy is not a whole \.npy file"),
        ("channels first", r"train/image/0\.npy has shape \[3, 6, 8\]; expected \[H, W, 3\]"),
        ("other size", r"train/depth/1\.npy has shape \[6, 9\]; expected \[6, 8\]"),
        ("40 classes", r"train/label/1\.npy holds the value 39; expected -1 to 12"),
        ("negative depth", r"val/depth/1\.npy holds the value -1\.5; expected metres"),
        ("text", r"val/normal/1\.npy holds <U1; expected numbers"),
    ],
)
def test_malformed_scenes_are_named(scenes: Path, how: str, said: str) -> None:
    broken_scene(scenes, how)
    with pytest.raises(UserError, match=said):
        load_dataset("nyuv2", folder=str(scenes))


def test_faces_are_read_as_published(faces: Path, tmp_path: Path) -> None:
    data = load_dataset("celeba", folder=str(faces))
    assert list(data.tasks) == list(ATTRIBUTES)
    assert data.inputs["image"].shape == (8, 3, 64, 64)
    split = data.fixed_split or {}
    assert {part: rows.tolist() for part, rows in split.items()} == {
        "train": [0, 1, 2, 3],
        "val": [4, 5],
        "test": [6, 7],
    }
    assert {part: len(rows) for part, rows in make_splits(data).items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    # Grey 0, 30, 60, ... in every pixel, to a step of the JPEG.
    means = data.inputs["image"].mean(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(means, 30 * np.arange(8), atol=1.5)
    lines = (faces / "list_attr_celeba.txt").read_text().splitlines()[2:]
    for row, line in enumerate(lines):
        expected = [max(int(v), 0) for v in line.split()[1:]]
        assert [int(data.targets[a][row]) for a in ATTRIBUTES] == expected
    back = Dataset.load(data.save(tmp_path / "saved"))
    np.testing.assert_array_equal(back.inputs["image"], data.inputs["image"])
    assert make_splits(back)["val"].tolist() == [4, 5]


def test_pictures_keep_their_orientation_and_colours(faces: Path) -> None:
    """Red above, blue below, green at the right side of both."""
    picture = np.zeros((218, 178, 3), np.uint8)
    picture[:109, :, 0] = 255
    picture[109:, :, 2] = 255
    picture[:, 89:, 1] = 255
    Image.fromarray(picture).save(faces / "img_align_celeba" / "000001.jpg", quality=95)
    image = load_dataset("celeba", folder=str(faces), size=16, rows=8).inputs["image"][0]
    assert image.shape == (3, 16, 16)
    red, green, blue = image.round()
    assert red[:7].all()
    assert not red[9:].any()
    assert blue[9:].all()
    assert not blue[:7].any()
    assert green[:, 9:].all()
    assert not green[:, :7].any()


def test_fewer_faces_and_attributes(faces: Path) -> None:
    whole = load_dataset("celeba", folder=str(faces))
    few = load_dataset("celeba", folder=str(faces), rows=4, attributes=["Smiling", "Male"])
    assert list(few.tasks) == ["Smiling", "Male"]
    kept = [0, 1, 4, 6]
    np.testing.assert_array_equal(few.inputs["image"], whole.inputs["image"][kept])
    for task in few.tasks:
        np.testing.assert_array_equal(few.targets[task], whole.targets[task][kept])
    with pytest.raises(UserError, match="'Smilling'; did you mean 'Smiling'"):
        load_dataset("celeba", folder=str(faces), attributes=["Smilling"])
    with pytest.raises(UserError, match=r"celeba: rows is 2; expected a whole number from 3"):
        load_dataset("celeba", folder=str(faces), rows=2)


def broken_faces(faces: Path, how: str) -> None:
    """Spoil one thing in a folder of faces."""
    labels, partition = faces / "list_attr_celeba.txt", faces / "list_eval_partition.txt"
    picture = faces / "img_align_celeba" / "000002.jpg"
    if how == "no labels":
        labels.unlink()
    elif how == "comma separated":
        labels.write_text(labels.read_text().replace(" ", ","))
    elif how == "cut off labels":
        labels.write_text("\n".join(labels.read_text().splitlines()[:-1]))
    elif how == "zero and one":
        labels.write_text(labels.read_text().replace("-1", " 0"))
    elif how == "fourth part":
        partition.write_text(partition.read_text().replace("000008.jpg 2", "000008.jpg 3"))
    elif how == "not in partition":
        partition.write_text("\n".join(partition.read_text().splitlines()[:-1]))
    elif how == "no pictures":
        (faces / "img_align_celeba").rename(faces / "images")
    elif how == "missing picture":
        picture.unlink()
    elif how == "half a picture":
        picture.write_bytes(picture.read_bytes()[:600])
    elif how == "no picture":
        picture.write_text("<html>quota exceeded</html>")
    else:
        raise AssertionError(how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no labels", r"expected the text file .*list_attr_celeba\.txt; .*No such file"),
        ("comma separated", r"line 3 of .*list_attr_celeba\.txt should be a file name and"),
        ("cut off labels", r"list_attr_celeba\.txt declares 8 pictures and lists 7"),
        ("zero and one", r"line \d of .* and 3 times -1 or 1; found '0000"),
        ("fourth part", r"line 8 of .*list_eval_partition\.txt .* found '000008\.jpg 3'"),
        ("not in partition", r"000008\.jpg is in list_attr_celeba\.txt and not in list_eval"),
        ("no pictures", r"expected the folder .*img_align_celeba with 000001\.jpg"),
        ("missing picture", r"expected the picture .*000002\.jpg; it is not there"),
        ("half a picture", r"000002\.jpg is not a whole picture"),
        ("no picture", r"000002\.jpg is not a whole picture"),
    ],
)
def test_malformed_faces_are_named(faces: Path, how: str, said: str) -> None:
    broken_faces(faces, how)
    with pytest.raises(UserError, match=said):
        load_dataset("celeba", folder=str(faces))


@pytest.mark.parametrize("name", ["nyuv2", "celeba"])
def test_a_folder_is_asked_for(name: str, tmp_path: Path) -> None:
    card = dataset_card(name)
    assert card["carriers"] == []
    for folder in ({}, {"folder": str(tmp_path / "nowhere")}, {"folder": __file__}):
        with pytest.raises(UserError, match="which must hold") as caught:
            load_dataset(name, **folder)
        assert card["provided"] in str(caught.value)


def test_rows_that_cannot_fit_are_refused_before_reading(faces: Path) -> None:
    for file in (faces / "img_align_celeba").iterdir():
        file.write_bytes(b"")  # nothing of them is read
    with pytest.raises(UserError, match=r"need 960\d*\.\d GB .* Pass rows= .* smaller size="):
        load_dataset("celeba", folder=str(faces), size=100_000)
    with pytest.raises(UserError, match=r"x: these rows need 1000000000\.0 GB"):
        check_memory("x", 1e18, "Buy more.")
    check_memory("x", 1e3, "")


def test_without_pillow_the_extra_is_named(faces: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"reading celeba needs .* 'polytask\[data\]'"):
        load_dataset("celeba", folder=str(faces))
    with pytest.raises(MissingExtraError, match=r"reading earth_dense needs the package 'Pillow'"):
        build({})
