"""Inner-London exam: the examination score of pupils, one task for each of their schools."""

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
    "title": "Inner-London exam scores",
    "kind": "table",
    "rows": 4049,
    "inputs": "of the pupil: reading test at 11, verbal reasoning band, sex; of the school: mean "
    "reading test, its class, whether mixed, boys' or girls'",
    "tasks": {
        "school_1 to school_65": "regression: exam score at 16, standardised over all pupils, of "
        "the pupils of one school; 63 tasks, without schools 48 and 54 (2 and 8 pupils), which "
        "min_rows=1 keeps"
    },
    "split": "drawn by seed; split='stratified' gives every school its share of each part",
    "address": "https://www.bristol.ac.uk/cmm/learning/mmsoftware/data-rev.html",
    "source": "H. Goldstein et al., A multilevel analysis of school examination results, Oxford "
    "Review of Education 19, 1993; 4,059 pupils of 65 schools, in the R package mlmRev",
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
        "a smaller relative of the School data of multi-task papers (15,362 pupils, 139 schools)",
        "the labels of intake are the wrong way round in the file: its 'top 25%' are the lowest "
        "scores; they are mended here",
        "vr is the class of the school's mean reading test, not of the pupil",
        "the school's mean reading test includes its test pupils: it is known before the exam",
        "type is left out: it follows from schgend",
    ],
}
INPUTS = ["standLRT", "schavg", "sex", "intake", "schgend", "vr"]
MENDED = {"bottom 25%": "top 25%", "mid 50%": "mid 50%", "top 25%": "bottom 25%"}
TASKS = ("school", "pooled")


def exam(tasks: str = "school", min_rows: int = 10) -> Dataset:
    """Inner-London exam: 4,049 pupils of 63 schools; the score at 16, one task a school.

    Args:
        tasks: `school` for a task a school, where each row is labelled for its own school alone;
            `pooled` for one task, `score`, over all 4,059 pupils, with schools as groups.
        min_rows: schools with fewer pupils are left out: of less than 10 a test part holds one.

    Raises:
        UserError: an unknown or impossible option, or the data cannot be fetched.
        MissingExtraError: rdata or pandas is not installed.
    """
    if tasks not in TASKS:
        raise unknown("tasks of exam:", tasks, TASKS)
    raw = plain(lazy_object(fetch(CARD).values(), "Exam"))
    # Held-out schools would be tasks without a training row when schools are the tasks.
    group = "school" if tasks == "pooled" else None
    frame = raw[[*INPUTS, *([group] if group else [])]]
    frame = frame.assign(intake=raw["intake"].map(MENDED), score=raw["normexam"])
    dataset = table_dataset(frame, ["score:regression"], group=group, name="exam")
    if tasks == "school":
        dataset = own_rows(dataset, raw["school"].to_numpy().astype(np.int64), "school", min_rows)
    dataset.notes += CARD["notes"]
    return dataset
