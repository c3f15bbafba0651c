"""Chemistry A-levels of 1997: the grade of students, one task for each local authority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._rdata import lazy_object, plain
from polytask.data.fetch import fetch
from polytask.data.sets._own_rows import own_rows
from polytask.data.table import table_dataset
from polytask.errors import unknown

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Chemistry A-levels of 1997",
    "kind": "table",
    "rows": 31022,
    "inputs": "mean GCSE score, age in months, gender",
    "tasks": {
        "lea_1 to lea_131": "regression: points in A-level chemistry (0, 2, 4, 6, 8 or 10) of the "
        "students of one local education authority; 131 tasks"
    },
    "split": "drawn by seed; split='stratified' gives every authority its share of each part, "
    "split='group:school' keeps the students of a school together",
    "address": "https://www.bristol.ac.uk/cmm/learning/mmsoftware/data-rev.html",
    "source": "A. Fielding, M. Yang and H. Goldstein, Multilevel ordinal models for examination "
    "grades, Statistical Modelling 3, 2003; in the R package mlmRev",
    "licence": "GPL-2.0-or-later (the carrying package, which is never imported)",
    "carriers": [
        {
            "client": "apt",
            "package": "r-cran-mlmrev",
            "version": "1.0-8-2",
            "members": [
                "usr/lib/R/site-library/mlmRev/data/Rdata.rdb",
                "usr/lib/R/site-library/mlmRev/data/Rdata.rdx",
            ],
            "sha256": "6180e7c6928ba9c0fc1eba043e67bc980a8b04ac93be265d693530c5d0655a4f",
            "megabytes": 1.8,
        }
    ],
    "notes": [
        "authorities have 10 to 969 students, the 2,410 schools 1 to 188",
        "age is in months from 18 years and 6 months; gcsecnt is left out: it repeats gcsescore",
    ],
}
INPUTS = ["gcsescore", "age", "gender"]
TASKS = ("lea", "school", "pooled")


def chem97(tasks: str = "lea", min_rows: int = 10) -> Dataset:
    """Chemistry A-levels of 1997: 31,022 students; the points, one task an authority (131).

    Args:
        tasks: `lea` for a task an authority or `school` for a task a school (1,091 with the
            default min_rows), where each row is labelled for its own task alone; `pooled` for one
            task, `score`. Schools are the groups of `lea` and `pooled`.
        min_rows: authorities or schools with fewer students are left out; the smallest authority
            has 10.

    Raises:
        UserError: an unknown or impossible option, or the data cannot be fetched.
        MissingExtraError: rdata or pandas is not installed.
    """
    if tasks not in TASKS:
        raise unknown("tasks of chem97:", tasks, TASKS)
    raw = plain(lazy_object(fetch(CARD).values(), "Chem97"))
    # Held-out schools would be tasks without a training row when schools are the tasks.
    group = None if tasks == "school" else "school"
    frame = raw[[*INPUTS, "score", *([group] if group else [])]]
    dataset = table_dataset(frame, ["score:regression"], group=group, name="chem97")
    if tasks != "pooled":
        dataset = own_rows(dataset, raw[tasks].to_numpy().astype(np.int64), tasks, min_rows)
    dataset.notes += CARD["notes"]
    return dataset
