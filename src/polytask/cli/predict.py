"""`polytask predict`: every target for new rows, with a model that `train` saved."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from polytask.cli import _options as options
from polytask.cli._checks import check, check_data
from polytask.cli._config import Settings, gather
from polytask.cli._plugins import Plugins, bring
from polytask.cli._show import quiet_stdout
from polytask.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from polytask.tabular import Fitted

SUFFIXES = (".csv", ".tsv", ".parquet")


def predict(
    *,
    model: Annotated[
        Path | None,
        Parameter(group=options.MODEL, metavar="FOLDER", help="What polytask train --out wrote."),
    ] = None,
    data: options.Data = None,
    keep: Annotated[
        list[str] | None,
        Parameter(
            group=options.OUTPUT,
            consume_multiple=options.MANY,
            metavar="COLUMN...",
            help="Columns of the data to copy beside the predictions, such as an id.",
        ),
    ] = None,
    probabilities: Annotated[
        bool | None,
        Parameter(
            group=options.OUTPUT,
            negative=(),
            help="Add a column TASK=CLASS with the probability of every class.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(
            group=options.OUTPUT,
            metavar="FILE",
            help="A .csv, .tsv or .parquet file. [default: CSV on the screen]",
        ),
    ] = None,
    plugins: Plugins = None,
    json: options.Json = False,
) -> None:
    """Predict every target for new rows."""
    bring(plugins)
    settings = gather(predict, None, locals())
    if "model" not in settings:
        raise UserError("which model? Give the folder that polytask train wrote: --model FOLDER")
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out should end in {', '.join(SUFFIXES)}; found {str(out)!r}")
    source = check_data(check(settings))
    with quiet_stdout(json):
        from polytask.tabular import Fitted

        fitted = Fitted.load(settings["model"])
        table = _predictions(fitted, settings, source)
    if out is not None:
        _write(table, out)
    if json:
        rows = jsonlib.loads(table.to_json(orient="records", double_precision=15))
        print(jsonlib.dumps({"rows": len(table), "out": out and str(out), "predictions": rows}))
    elif out is None:
        table.to_csv(sys.stdout, index=False)
    else:
        print(f"{len(table):,} rows, columns {', '.join(map(str, table.columns))}: {out}")


def _predictions(fitted: Fitted, settings: Settings, source: Any) -> pd.DataFrame:
    """One row a row of the data: kept columns, predictions, probabilities."""
    import pandas as pd

    from polytask.tabular.frames import prediction_frame, probability_frames

    kept, inputs, index = _inputs(fitted, settings, source)
    outputs = fitted.outputs(inputs)
    table = prediction_frame(fitted.tasks, outputs, index)
    if settings.get("probabilities"):
        for name, frame in probability_frames(fitted.tasks, outputs, index).items():
            table = table.join(frame.set_axis([f"{name}={label}" for label in frame], axis=1))
    for name in kept.columns:
        if name in table.columns:
            raise UserError(f"--keep: {name!r} is a predicted column too; leave it out")
    return pd.concat([kept, table], axis=1)


def _inputs(
    fitted: Fitted, settings: Settings, source: Any
) -> tuple[pd.DataFrame, dict[str, Any], pd.Index]:
    """Columns to keep, raw inputs, and the row labels of a table or a registered data set."""
    import pandas as pd

    from polytask.data import load_dataset, read_table, transform_frame

    keep = settings.get("keep", [])
    if not isinstance(source, Path):
        dataset = load_dataset(source.name, **source.arguments)
        if keep:
            raise UserError("--keep is for a table of your own, not a registered data set")
        index = pd.RangeIndex(dataset.n)
        return pd.DataFrame(index=index), dataset.inputs, index
    if not fitted.columns:
        raise UserError(
            f"the model was not fitted on a table (but on {fitted.settings.get('data')}); "
            "give --data the name of a data set with the same inputs"
        )
    frame = read_table(source, at_least=1)
    for name in keep:
        if name not in frame.columns:
            raise unknown("column in --keep:", name, map(str, frame.columns))
    return frame[keep], transform_frame(frame, fitted.columns), frame.index


def _write(table: pd.DataFrame, out: Path) -> None:
    """Write a table by its extension, whole or not at all."""
    import os

    from polytask.files import make_folder

    temporary = make_folder(out.parent) / f".{out.name}.tmp"
    try:
        if out.suffix.lower() == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, sep="\t" if out.suffix.lower() == ".tsv" else ",")
        os.replace(temporary, out)
    finally:
        temporary.unlink(missing_ok=True)
