"""The flags that verbs share, each with its group, its help and its default in words.

A flag that is not given is None, so that a YAML file or the library's own default decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

DATA = Group("Data", sort_key=1)
MODEL = Group("What is compared", sort_key=2)
FIT = Group("Training", sort_key=3)
RUNNING = Group("Running", sort_key=4)
OUTPUT = Group("Output", sort_key=5)
MANY = (1, None)

EXAMPLES = {
    "compare": """Example:
  polytask compare --data houses.csv --targets price:regression sold:binary \\
    --drop id --methods pcgrad mgda:depth=1 --seeds 3 --epochs 20 \\
    --out runs/houses
""",
    "auxiliary": """Example:
  polytask auxiliary --data yeast --main Class1 --finalists 2 --seeds 5 \\
    --out runs/helpers
""",
    "relate": """Example:
  polytask relate --data yeast --max-groups 3 --seeds 5 \\
    --estimators lookahead pairwise --out runs/groups
""",
    "pareto": """Example:
  polytask pareto --data yeast --targets Class1 Class2 --method epo \\
    --points 5 --seeds 5 --out runs/front
""",
    "train": """Example:
  polytask train --data houses.csv --targets price:regression sold:binary \\
    --method pcgrad --out models/houses
""",
    "predict": """Example:
  polytask predict --model models/houses --data new.csv --out preds.csv
""",
    "report": """Example:
  polytask report runs/adult runs/digits --out studies.html
""",
    "list": """Example:
  polytask list methods '*grad*'
  polytask list architectures --data digits
""",
    "data": """Example:
  polytask data fetch adult yeast
  POLYTASK_CACHE=/data/sets polytask data fetch --all
""",
    "env": """Example:
  polytask env --json
""",
}


def whole(_: Any, tokens: Sequence[Token]) -> int:
    """A whole number as written; cyclopts alone would round 2.5 to 2."""
    (token,) = tokens
    if not re.fullmatch(r"[-+]?\d+", token.value):
        raise ValueError(f"{token.keyword} should be a whole number, found {token.value!r}")
    return int(token.value)


Whole = Annotated[int | None, Parameter(converter=whole)]


def tried(which: str) -> Parameter:
    """Of `Rates`: which learning rates they are, by what they are tried with."""
    return Parameter(help=f"Learning rates {which}. [default: 3e-4 1e-3 3e-3]")


def rows_by_set(convert: Callable[[Any, Sequence[Token]], Any], default: int) -> Parameter:
    """Of `SeveralSizes`: how they are read, and what they are when nobody says."""
    return Parameter(
        converter=convert,
        help=f"Rows a step; of several data sets, one number or one each. [default: {default}]",
    )


def kept(default: str) -> Parameter:
    """Of the folder of a study: where it is when nobody says."""
    return Parameter(
        group=OUTPUT,
        metavar="FOLDER",
        help=f"Where runs and report.html go; what is finished is kept. [default: {default}]",
    )


Config = Annotated[
    Path | None,
    Parameter(help="A YAML file whose keys are the flags below; flags win over it."),
]
Data = Annotated[
    str | None,
    Parameter(
        group=DATA,
        metavar="NAME|FILE",
        help="A registered data set (polytask list datasets) or a CSV, TSV or Parquet file.",
    ),
]
SeveralData = Annotated[
    Data,
    Parameter(
        metavar="NAME|FILE|{TASK: NAME|FILE, ...}",
        help="A registered data set (polytask list datasets) or a CSV, TSV or Parquet file; or "
        "one for each task, as in '{ner: ner.csv, pos: pos.csv}'.",
    ),
]
"""Where a verb takes a data set for each task, too."""
Targets = Annotated[
    list[str] | None,
    Parameter(
        group=DATA,
        consume_multiple=MANY,
        metavar="COLUMN[:KIND][:ROLE]...",
        help=(
            "Columns to predict; KIND is regression, binary, multiclass or multilabel, inferred "
            "and shown when left out; ROLE auxiliary trains along and is not judged. Needed for a "
            "file; of a data set, the tasks to keep."
        ),
    ),
]
KINDS = (
    "KIND is regression, binary, multiclass or multilabel. Needed for a file; of a data set, the "
    "tasks to keep."
)
Judged = Annotated[
    list[str] | None,
    Parameter(
        group=DATA,
        consume_multiple=MANY,
        metavar="COLUMN[:KIND]...",
        help=f"Target columns; {KINDS}",
    ),
]
"""Targets where no role is to be said."""
Drop = Annotated[
    list[str] | None,
    Parameter(
        group=DATA,
        consume_multiple=MANY,
        metavar="COLUMN...",
        help="Columns that are neither inputs nor targets, such as an id.",
    ),
]
Split = Annotated[
    str | None,
    Parameter(
        group=DATA,
        metavar="HOW",
        help=(
            "random, stratified[:TARGET], group:COLUMN (no group in two parts), time:COLUMN "
            "(the last rows are the test) or spatial[:X,Y][:SIDE] (no square of the map in two "
            "parts; X and Y are columns). [default: random]"
        ),
    ),
]
Test = Annotated[
    Path | None,
    Parameter(group=DATA, metavar="FILE", help="Your own test table, instead of a split."),
]
TestFraction = Annotated[
    float | None,
    Parameter(
        group=DATA, metavar="FRACTION", help="Part of the rows for the test. [default: 0.15]"
    ),
]
ValFraction = Annotated[
    float | None,
    Parameter(
        group=DATA, metavar="FRACTION", help="Part of the rows for choosing. [default: 0.15]"
    ),
]
Named = Annotated[str | None, Parameter(group=MODEL, metavar="NAME[:ARG=VALUE,...]")]
"""A method or an architecture with its arguments; a verb adds what it is for."""
Names = Annotated[
    list[str] | None,
    Parameter(group=MODEL, consume_multiple=MANY, metavar="NAME[:ARG=VALUE,...]..."),
]
"""Several such; a verb adds what they are for."""
Auxiliary = Annotated[
    Names,
    Parameter(
        help="Helper tasks made from the data (polytask list auxiliary), trained along and not "
        "judged. [default: none]",
    ),
]
Distill = Annotated[
    list[str] | None,
    Parameter(
        group=MODEL,
        consume_multiple=MANY,
        metavar="from=single_task [OPTION=VALUE]...",
        help="Try everything that shares once more, taught by the networks of single tasks; form "
        "is annealed, soft, ensemble or features. [default: none]",
    ),
]
Encoder = Annotated[
    Named,
    Parameter(
        help="polytask list encoders. [default: mlp for tables, resnet for images, transformer for "
        "sequences]",
    ),
]
Statistic = Annotated[
    str | None,
    Parameter(
        group=MODEL,
        metavar="NAME",
        help="What gradient methods measure: features, tail or exact. [default: the method's own]",
    ),
]
REPEAT = "N times with new splits and starts. [default: 5]"
Seeds = Annotated[Whole, Parameter(group=FIT, metavar="N", help=f"Repeat everything {REPEAT}")]
Epochs = Annotated[
    Whole, Parameter(group=FIT, metavar="N", help="Passes over the rows. [default: 20]")
]
BatchSize = Annotated[Whole, Parameter(group=FIT, metavar="N", help="Rows a step. [default: 256]")]
TasksPerStep = Annotated[
    str | None,
    Parameter(
        group=FIT,
        metavar="N|all",
        help="How many of several data sets a step draws from. [default: one]",
    ),
]
StepsPerEpoch = Annotated[
    Whole,
    Parameter(
        group=FIT,
        metavar="N",
        help="Length of an epoch on several data sets. [default: one pass over all]",
    ),
]
SeveralSizes = Annotated[
    str | int | dict[str, int] | None, Parameter(group=FIT, metavar="N|TASK=N,...")
]
"""Rows a step where a verb takes a data set for each task; a verb adds `rows_by_set`."""
Rates = Annotated[list[float] | None, Parameter(group=FIT, consume_multiple=MANY, metavar="X...")]
"""The learning rates of a study; a verb adds `tried`, what they are tried with."""
Optimizer = Annotated[
    str | None,
    Parameter(
        group=FIT, metavar="NAME", help="adam, adamw, momentum, rmsprop, sgd. [default: adam]"
    ),
]
WeightDecay = Annotated[
    float | None, Parameter(group=FIT, metavar="X", help="Of the optimizer. [default: 0]")
]
Scheduler = Annotated[
    str | None, Parameter(group=FIT, metavar="NAME", help="constant or cosine. [default: constant]")
]
ClipNorm = Annotated[
    float | None, Parameter(group=FIT, metavar="X", help="Largest gradient norm. [default: none]")
]
Warmup = Annotated[
    float | None,
    Parameter(
        group=FIT,
        metavar="FRACTION",
        help="Part of the steps in which the rate rises. [default: 0]",
    ),
]
Accumulate = Annotated[
    Whole,
    Parameter(group=FIT, metavar="N", help="Batches averaged into one step. [default: 1]"),
]
Workers = Annotated[
    Whole,
    Parameter(
        group=RUNNING,
        metavar="N",
        help="Runs at the same time, one process each. [default: the number of CPUs]",
    ),
]
MaxTime = Annotated[
    str | None,
    Parameter(
        group=RUNNING,
        metavar="TIME",
        help="Start no run after this time (90, 10m, 2h) and report on what there is.",
    ),
]
DryRun = Annotated[
    bool | None,
    Parameter(
        group=RUNNING, negative=(), help="Only show the plan: the runs and the expected time."
    ),
]
Device = Annotated[
    str | None,
    Parameter(group=RUNNING, metavar="NAME", help="auto, cpu, cuda or cuda:1. [default: auto]"),
]
Patience = Annotated[
    Whole,
    Parameter(
        group=FIT, metavar="N", help="Stop after N epochs without a better one. [default: never]"
    ),
]
Precision = Annotated[
    str | None, Parameter(group=FIT, metavar="NAME", help="no, bf16 or fp16. [default: no]")
]
Select = Annotated[
    str | None,
    Parameter(
        group=FIT,
        metavar="RULE",
        help=(
            "How the epoch is chosen on validation: mean_gain, mean_rank, main:TASK or loss. "
            "[default: mean_gain]"
        ),
    ),
]
Resume = Annotated[
    bool | None,
    Parameter(
        group=OUTPUT,
        help="Go on with what an interrupted or finished training left in --out. [default: yes]",
    ),
]
CheckpointEvery = Annotated[
    float | None,
    Parameter(
        group=RUNNING,
        metavar="SECONDS",
        help="Save a running training so often; a kill loses no more than that. [default: 30]",
    ),
]
Progress = Annotated[
    bool | None,
    Parameter(group=OUTPUT, help="Show a progress bar. [default: when the screen is a terminal]"),
]
Json = Annotated[
    bool,
    Parameter(
        group=OUTPUT,
        negative=(),
        help="Print one JSON document on stdout, and nothing else there.",
    ),
]
