"""What a person hands to the estimator, checked: tables with rows that go together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.data.targets import parse_targets
from polytask.errors import UserError, some

if TYPE_CHECKING:
    import pandas as pd

    from polytask.tasks import Task

    Targets = list[str] | dict[str, str | Task]


def joined(
    X: pd.DataFrame, Y: pd.DataFrame | pd.Series | None, targets: Targets | None
) -> tuple[pd.DataFrame, Targets, list[str]]:
    """Inputs and targets in one table, what are targets, and columns of Y that are not."""
    import pandas as pd

    X = checked(X, "X")
    if Y is None:
        if not targets:
            raise UserError(
                "fit(X) needs the targets, and found neither Y nor targets=. Pass Y, a table of "
                "what to predict, or targets=['price', 'sold']."
            )
        return X, targets, []
    if isinstance(Y, pd.Series):
        if Y.name is None:
            raise UserError(
                "Y is a Series without a name; expected one, as it becomes the task's. Name it: "
                "Y.rename('price')."
            )
        Y = Y.to_frame()
    Y = checked(Y, "Y")
    if len(X) != len(Y) or not X.index.equals(Y.index):
        raise UserError(
            f"the rows of X ({len(X)}) and Y ({len(Y)}) do not go together: their indexes differ, "
            "expected one for both. Use Y.loc[X.index], or reset_index(drop=True) on both."
        )
    if both := [str(name) for name in Y.columns if name in X.columns]:
        raise UserError(
            f"the columns {some(map(repr, both), 80)} are in X and in Y; expected them in one, as "
            "a target among the inputs would be copied, not predicted. Drop them from X."
        )
    frame = pd.concat([X, Y], axis=1)
    wanted: Targets = targets or [str(name) for name in Y.columns]
    names = list(frame.columns)
    used = [column for item in parse_targets(wanted, names) for column in item.reads(names)]
    return frame, wanted, [str(name) for name in Y.columns if name not in used]


def checked(frame: Any, name: str) -> pd.DataFrame:
    """A DataFrame with rows and distinct columns."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise UserError(
            f"{name} should be a pandas DataFrame, found {type(frame).__name__}; "
            + (
                "read it, as in polytask.data.read_table(path)."
                if isinstance(frame, str | Path)
                else f"wrap it, as in pd.DataFrame({name})."
            )
        )
    if frame.empty:
        raise UserError(
            f"{name} is empty: {frame.shape[0]} rows, {frame.shape[1]} columns; expected at least "
            "one of each. Was it filtered down to nothing?"
        )
    names = frame.columns.map(str)
    if not names.is_unique:
        double = names[names.duplicated()][0]
        raise UserError(
            f"{name} has two columns called {double!r}; expected every name once. Rename one."
        )
    return frame.set_axis(names, axis=1)
