"""CelebA: forty yes-or-no attributes of a face, from your own copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.sets._folder import check_memory, given_folder
from polytask.data.sets._parts import places, take
from polytask.errors import UserError, need, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "CelebFaces attributes, aligned and cropped",
    "kind": "image",
    "rows": 202599,
    "inputs": "images of 3 x 64 x 64, 0 to 1",
    "tasks": {"5_o_Clock_Shadow to Young": "binary: the face has the attribute; 40 of them"},
    "split": "published: 162,770 training, 19,867 validation and 19,962 test rows",
    "address": "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    "source": "Z. Liu, P. Luo, X. Wang, X. Tang, Deep Learning Face Attributes in the Wild, "
    "ICCV 2015",
    "licence": "non-commercial research only; no redistribution (agreement at the address)",
    "carriers": [],
    "provided": "Download it from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and pass the "
    "folder, which must hold img_align_celeba with the .jpg files, list_attr_celeba.txt and "
    "list_eval_partition.txt.",
    "notes": [
        "annotators disagree on many attributes, and several are judgements of taste: treat them "
        "as a benchmark of many related labels, not as facts about people",
    ],
}
PICTURES, LABELS, PARTITION = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
PARTS = ("train", "val", "test")
"""By the numbers 0, 1 and 2 of the partition file."""


def celeba(
    folder: str | Path = "",
    size: int = 64,
    rows: int | None = None,
    attributes: Sequence[str] | None = None,
) -> Dataset:
    """CelebA from your own folder: 202,599 faces, 40 yes-or-no attributes.

    All rows at size 64 take 10 GB as arrays, and training about twice as much again; reading
    them takes minutes, so save the result with `Dataset.save` when you need it again.

    Args:
        folder: with img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt.
        size: height and width in pixels that the aligned pictures (218 x 178) are brought to,
            without cropping.
        rows: how many rows altogether, the first of each part in proportion; None for all.
        attributes: names of the attributes to predict, in that order; None for all 40.

    Raises:
        UserError: a file is missing or not as published, an attribute is unknown, or the rows
            do not fit into this machine's memory.
        MissingExtraError: Pillow is not installed.
    """
    from polytask.data.dataset import Dataset

    root = given_folder("celeba", folder, CARD["provided"])
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UserError(f"celeba: size is {size!r}; expected a number of pixels from 1.")
    names, labels = _labels(root / LABELS)
    if isinstance(attributes, str):
        attributes = [attributes]
    chosen = names if attributes is None else list(attributes)
    for name in chosen:
        if name not in names:
            raise unknown("attribute of celeba:", name, names)
    partition = _partition(root / PARTITION)
    if set(partition) != set(labels):
        odd = sorted(set(partition) ^ set(labels))[0]
        where, other = (PARTITION, LABELS) if odd in partition else (LABELS, PARTITION)
        raise UserError(f"celeba: {odd} is in {where} and not in {other}; expected it in both.")
    files = {part: [f for f, p in partition.items() if p == part] for part in PARTS}
    files = {part: members for part, members in files.items() if members}
    taken = take("celeba", rows, {part: len(members) for part, members in files.items()})
    kept = [file for part, number in taken.items() for file in files[part][:number]]
    check_memory(
        "celeba", len(kept) * 3 * size * size * 4.0, "Pass rows= for fewer rows or a smaller size=."
    )
    columns = [names.index(name) for name in chosen]
    target = np.stack([labels[file] for file in kept])[:, columns]
    return Dataset(
        name="celeba",
        inputs={"image": _pictures(root / PICTURES, kept, size)},
        targets={name: target[:, i] for i, name in enumerate(chosen)},
        tasks={name: Task(name, "binary", classes=("no", "yes")) for name in chosen},
        fixed_split=places(taken),
        notes=[f"inputs: images of 3 x {size} x {size}, 0 to 1", *CARD["notes"]],
    )


def _lines(path: Path) -> list[str]:
    """The lines of a text file."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"celeba: expected the text file {path}; {error}.") from error


def _labels(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """Attribute names, and file name -> int64 [attributes] of 0 and 1.

    The file has a line with the number of pictures, one with the names, and one per picture: its
    name and -1 or 1 for each attribute.
    """
    lines = _lines(path)
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        raise UserError(
            f"celeba: {path} should begin with the number of pictures and the names of the "
            f"attributes; found {(lines or ['nothing'])[0][:60]!r}."
        )
    names, found = lines[1].split(), {}
    for number, line in enumerate(lines[2:], start=3):
        file, *values = line.split() or [""]
        if len(values) != len(names) or not set(values) <= {"-1", "1"}:
            raise UserError(
                f"celeba: line {number} of {path} should be a file name and {len(names)} times "
                f"-1 or 1; found {line[:60]!r}."
            )
        found[file] = (np.array(values) == "1").astype(np.int64)
    if len(found) != int(lines[0]):
        raise UserError(
            f"celeba: {path} declares {int(lines[0])} pictures and lists {len(found)}; was it cut "
            "off?"
        )
    return names, found


def _partition(path: Path) -> dict[str, str]:
    """File name -> train, val or test, in the file's order."""
    found = {}
    for number, line in enumerate(_lines(path), start=1):
        file, *rest = line.split() or [""]
        if len(rest) != 1 or rest[0] not in ("0", "1", "2"):
            raise UserError(
                f"celeba: line {number} of {path} should be a file name and 0, 1 or 2; "
                f"found {line[:60]!r}."
            )
        found[file] = PARTS[int(rest[0])]
    return found


def _pictures(folder: Path, files: list[str], size: int) -> np.ndarray:
    """The pictures as float32 [n, 3, size, size]; several are decoded at a time."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise need("Pillow", "data", "reading celeba") from error
    if not folder.is_dir():
        raise UserError(f"celeba: expected the folder {folder} with {files[0]} and others.")
    out = np.empty((len(files), 3, size, size), np.float32)

    def read(row: int) -> None:
        path = folder / files[row]
        try:
            with Image.open(path) as picture:
                small = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        except FileNotFoundError as error:
            raise UserError(f"celeba: expected the picture {path}; it is not there.") from error
        except (OSError, UnidentifiedImageError) as error:
            raise UserError(f"celeba: {path} is not a whole picture ({error}).") from error
        np.divide(np.asarray(small).transpose(2, 0, 1), np.float32(255), out=out[row])

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for _ in pool.map(read, range(len(files))):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
    return out
