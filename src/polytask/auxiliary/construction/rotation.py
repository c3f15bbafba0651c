"""Rotation: by which quarter turn a picture was turned."""

from __future__ import annotations

import numpy as np

from polytask.auxiliary._base import Addition, Construction, drawn, without_label
from polytask.data import Dataset
from polytask.errors import UserError
from polytask.tasks import Task


class Rotation(Construction):
    """By which quarter turn (0, 90, 180, 270 degrees) a picture was turned.

    S. Gidaris, P. Singh & N. Komodakis, "Unsupervised Representation Learning by Predicting
    Image Rotations", ICLR 2018, https://arxiv.org/abs/1803.07728; beside a supervised task
    X. Zhai et al., "S4L", ICCV 2019, https://arxiv.org/abs/1905.03670. Every copied picture is
    added three times, turned counter-clockwise by 90, 180 and 270 degrees, so with share=1 the
    four classes are equal. The papers put the four turns of a picture into one batch; here they
    are rows like others, shuffled with them. The copies have no label of any other task (S4L
    also learns the class of turned pictures).

    All training rows have label 0. Other rows have none: they are upright, and a score on one
    class says nothing, so this task is never scored.

    Args:
        share: part of the training rows that is copied, above 0 and at most 1.
        name: of the task.

    Cost: an epoch has 1 + 3 share times the rows.

    """

    paper = "Gidaris 2018"
    makes = "by how many quarter turns a picture was turned"
    requires = "square images"

    def __init__(self, share: float = 1.0, name: str = "rotation") -> None:
        if not 0 < share <= 1:
            raise UserError(
                f"rotation: share should be above 0 and at most 1 (of the training rows), "
                f"found {share}."
            )
        self.share = share
        self.name = name

    def tasks(self, dataset: Dataset) -> tuple[Task, ...]:
        """One task of four classes, in degrees."""
        shape = dataset.inputs["image"].shape if "image" in dataset.inputs else ()
        if len(shape) != 4 or shape[2] != shape[3]:
            found = f"images of {shape[2]} x {shape[3]}" if len(shape) == 4 else "no images"
            raise UserError(
                f"rotation: expected square images, found {found} in {dataset.name!r}. Cut or pad "
                "them, or take another helper."
            )
        return (Task(self.name, "multiclass", role="auxiliary", classes=(0, 90, 180, 270)),)

    def extend(self, dataset: Dataset, train: np.ndarray, seed: int = 0) -> Addition:
        """Turned copies of training rows, drawn by `seed` where not all are copied."""
        few = max(1, round(self.share * len(train)))
        rows = np.sort(drawn(seed, self.name).permutation(train)[:few])
        old = without_label((dataset.n,), train)
        old[train] = 0
        inputs = {name: np.concatenate([v[rows]] * 3) for name, v in dataset.inputs.items()}
        pictures = dataset.inputs["image"][rows]
        inputs["image"] = np.concatenate([np.rot90(pictures, k, axes=(2, 3)) for k in (1, 2, 3)])
        return Addition({self.name: np.concatenate([old, np.repeat([1, 2, 3], len(rows))])}, inputs)
