"""NYUv2: indoor scenes with segmentation, depth and surface normals, from your own copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.sets._folder import check_memory, given_folder, numbered
from polytask.data.sets._parts import places, take
from polytask.errors import UserError
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "NYU depth v2, prepared for three tasks",
    "kind": "dense",
    "rows": 1449,
    "inputs": "images of 3 x 288 x 384, values as in the files",
    "tasks": {
        "segmentation": "multiclass at every pixel: 13 classes",
        "depth": "regression at every pixel: metres",
        "normal": "regression at every pixel: unit vector of 3",
    },
    "split": "published: 795 training rows and 654 test rows (the folder val)",
    "address": "https://github.com/lorenmt/mtan",
    "source": "N. Silberman, D. Hoiem, P. Kohli, R. Fergus, Indoor Segmentation and Support "
    "Inference from RGBD Images, ECCV 2012; as prepared by S. Liu, E. Johns, A. Davison, "
    "End-to-End Multi-Task Learning with Attention, CVPR 2019",
    "licence": "for research; the publishers name no licence",
    "carriers": [],
    "provided": "Download nyuv2.zip by the link at https://github.com/lorenmt/mtan, unpack it and "
    "pass its folder, which must hold train and val, each with image, label, depth and normal, "
    "each with 0.npy, 1.npy and so on.",
    "notes": [
        "the folder val is the official test part of NYUv2 and is the test part here; choose "
        "models on validation rows drawn from train",
        "label -1, depth 0 and the normal (0, 0, 0) are missing labels",
        "no augmentation; scores compare with papers that use none and the same 13 classes",
    ],
}
CLASSES = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects"),
    *("picture", "sofa", "table", "tv", "wall", "window"),
)
PUBLISHED = {"train": 795, "test": 654}
FOLDERS = {"train": "train", "test": "val"}
CHANNELS = {"image": 3, "label": 0, "depth": 1, "normal": 3}
"""Of the files in each folder: [H, W] or [H, W, channels]."""
BYTES = 36
"""Per pixel as arrays: image and normal 12, label 8, depth 4."""


def nyuv2(folder: str | Path = "", rows: int | None = None, stride: int = 1) -> Dataset:
    """NYUv2 from your own folder: 1,449 indoor scenes; 13-class segmentation, depth, normals.

    All rows take 5.8 GB as arrays, and training about twice as much again; `stride=2` takes a
    quarter of it.

    Args:
        folder: with train and val, each with image, label, depth and normal, each with 0.npy,
            1.npy and so on: float [H, W, 3], whole numbers [H, W], float [H, W, 1] (or [H, W])
            and float [H, W, 3]; 288 x 384 in the published copy.
        rows: how many rows altogether, the first of each part in proportion; None for all.
        stride: keep every pixel, every second, ...

    Raises:
        UserError: the folder is not laid out so, a file has another shape or values out of
            range, or the rows do not fit into this machine's memory.
    """
    from polytask.data.dataset import Dataset

    root = given_folder("nyuv2", folder, CARD["provided"])
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise UserError(f"nyuv2: stride is {stride!r}; expected a whole number from 1.")
    sizes = {part: _count(root / name) for part, name in FOLDERS.items()}
    taken = take("nyuv2", rows, sizes)
    height, width = _size(root / "train" / "image" / "0.npy")
    small = (-(-height // stride), -(-width // stride))
    total = sum(taken.values())
    check_memory(
        "nyuv2", total * small[0] * small[1] * BYTES, "Pass rows= for fewer rows, or stride=2."
    )
    image = np.empty((total, 3, *small), np.float32)
    label = np.empty((total, *small), np.int64)
    depth = np.empty((total, *small), np.float32)
    normal = np.empty((total, 3, *small), np.float32)
    split = places(taken)
    for part, place in split.items():
        for i, row in enumerate(place):
            maps = {
                kind: _read(root / FOLDERS[part] / kind / f"{i}.npy", (height, width), channels)
                for kind, channels in CHANNELS.items()
            }
            maps = {kind: array[::stride, ::stride] for kind, array in maps.items()}
            image[row] = maps["image"].transpose(2, 0, 1)
            label[row] = np.where(maps["label"] < 0, -100, maps["label"])
            depth[row] = np.where(maps["depth"] > 0, maps["depth"], np.nan)
            known = (maps["normal"] != 0).any(axis=2, keepdims=True)
            normal[row] = np.where(known, maps["normal"], np.nan).transpose(2, 0, 1)
    notes = [
        f"inputs: images of 3 x {small[0]} x {small[1]}, values as in the files",
        *CARD["notes"],
    ]
    if sizes != PUBLISHED:
        notes.append(
            f"this copy has {sizes['train']} training and {sizes['test']} test rows; the "
            "published one has 795 and 654"
        )
    tasks = [
        Task("segmentation", "multiclass", classes=CLASSES, metrics=("mean_iou", "accuracy")),
        Task("depth", "regression", metrics=("mae", "rmse", "r2"), loss_function="l1"),
        Task("normal", "regression", size=3, metrics=("mean_angle", "rmse")),
    ]
    return Dataset(
        name="nyuv2",
        inputs={"image": image},
        targets={"segmentation": label, "depth": depth, "normal": normal},
        tasks={task.name: task for task in tasks},
        fixed_split=split,
        notes=notes,
    )


def _count(folder: Path) -> int:
    """The number of scenes in a part, the same in its four folders."""
    counts = {kind: numbered("nyuv2", folder / kind, ".npy") for kind in CHANNELS}
    for kind, count in counts.items():
        if count != counts["image"]:
            raise UserError(
                f"nyuv2: {folder / kind} holds {count} files and {folder / 'image'} "
                f"{counts['image']}; expected the same scenes in each."
            )
    return counts["image"]


def _size(path: Path) -> tuple[int, int]:
    """Height and width of the scenes, as their first picture has them."""
    array = _load(path)
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise UserError(f"nyuv2: {path} has shape {list(array.shape)}; expected [H, W, 3].")
    return array.shape[0], array.shape[1]


def _read(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """One map of one scene, its shape and values checked; depth comes back as [H, W]."""
    array = np.asarray(_load(path))
    kind = path.parent.name
    if kind == "depth" and array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    wanted = (*size, channels) if channels > 1 else size
    if array.shape != wanted:
        raise UserError(
            f"nyuv2: {path} has shape {list(array.shape)}; expected {list(wanted)} as the images."
        )
    if kind == "label":
        fits, wish = (array == np.round(array)) & (array >= -1) & (array <= 12), "-1 to 12"
    elif kind == "depth":
        fits, wish = ~((array < 0) | np.isinf(array)), "metres, or 0 where missing,"
    else:
        fits, wish = ~np.isinf(array), "finite numbers"
    if kind == "image":
        fits &= ~np.isnan(array)
    if not fits.all():
        raise UserError(
            f"nyuv2: {path} holds the value {array[~fits][0]:g}; expected {wish} everywhere."
        )
    return array


def _load(path: Path) -> np.ndarray:
    """The array in a .npy file, read from the disk when it is used."""
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"nyuv2: {path} is not a whole .npy file ({error}).") from error
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise UserError(f"nyuv2: {path} holds {array.dtype}; expected numbers.")
    return array
