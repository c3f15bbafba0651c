"""Tables from files: CSV, TSV and Parquet, with errors that say where the file is wrong."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from polytask.data._sniff import check_bytes, encoding_error, refuse_other_parquet, unpacked
from polytask.errors import UserError, count, nearest, need

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
MARKS = {"semicolons": ";", "tabs": "\t", "commas": ",", "bars": "|"}


def read_table(path: str | Path, *, at_least: int = 2) -> pd.DataFrame:
    """The table in `path`: .csv, .tsv (both also .gz, UTF-8) or .parquet.

    Args:
        path: the file.
        at_least: the fewest rows that are accepted; 1 when the table is only predicted for.

    Raises:
        UserError: the file is missing, empty, cut off, in another encoding or of another
            kind, rows are of unequal length, two columns share a name, or there are fewer than
            `at_least` rows.
        MissingExtraError: pandas, or pyarrow for Parquet, is not installed.
    """
    path = Path(path)
    _check_exists(path)
    kind = _extension(path)
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes); expected a header line and rows.")
        frame = _read_parquet(path) if kind in PARQUET else _read_text(path, SEPARATORS[kind])
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}. Expected a file that this user "
            "may read; check its permissions and that nothing removes it."
        ) from error
    if len(frame) < at_least:
        found = "a header but no rows" if len(frame) == 0 else count(len(frame), "row")
        raise UserError(
            f"{path} has {found}; expected at least {at_least}, and learning needs many more. "
            "Was the table filtered or cut off?"
        )
    return frame


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a .csv, .tsv or .parquet file.")
    if path.is_file():
        return
    if path.exists():
        raise UserError(
            f"{path} is a pipe or a device; expected a file, which can be read more than once. "
            "Save the table first."
        )
    if path.is_symlink():
        raise UserError(
            f"{path} is a link to {path.readlink()}, which does not exist; expected a file."
        )
    if not path.parent.is_dir():
        raise UserError(f"there is no file {path}: the folder {path.parent} does not exist.")
    beside = [file.name for file in path.parent.iterdir() if file.is_file()]
    close = nearest(path.name, beside)
    hint = f" Did you mean {path.parent / close}?" if close else ""
    raise UserError(f"there is no file {path}.{hint}")


def _extension(path: Path) -> str:
    """The extension that says how to read the file, without a final .gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    last = suffixes[-1] if suffixes else ""
    if last == ".gz" and len(suffixes) > 1 and suffixes[-2] in SEPARATORS:
        return suffixes[-2]
    if last in SEPARATORS or last in PARQUET:
        return last
    known = ", ".join([*SEPARATORS, *PARQUET])
    sheet = last in (".xls", ".xlsx", ".ods")
    hint = "Save the sheet as CSV." if sheet else "Rename a text table, convert anything else."
    raise UserError(
        f"{path} has {f'the extension {last!r}' if last else 'no extension'}; expected one of "
        f"{known}, or .csv.gz / .tsv.gz. {hint}"
    )


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading a table") from error
    try:
        check_bytes(path)
        names = _header(path, separator)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                names=names,
                header=0,
                encoding="utf-8-sig",
                # Whole columns at once, so that a column has one type.
                low_memory=False,
                # Else a row with one field too many turns the first column into an index.
                index_col=False,
            )
        # pandas fills a short row up without an error; its last column is then missing.
        if len(frame) and frame.iloc[:, -1].isna().any():
            _check_short_rows(path, separator, len(names))
        return frame
    except UnicodeDecodeError as error:
        raise encoding_error(path) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        raise _irregular(path, str(error)) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is not a whole gzip file: it is cut off or damaged. Copy it again."
            if path.read_bytes()[:2] == b"\x1f\x8b"
            else f"{path} is not a whole gzip file, nor the beginning of one; expected what its "
            "name says. If it is plain text, take .gz off the name."
        ) from error


def _irregular(path: Path, why: str) -> UserError:
    """What pandas found wrong in a text table, in our words."""
    remedy = "Is a quote left open or the file cut off?"
    if long := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", why):
        why = f"line {long[2]} has {long[3]} fields, the header {long[1]}"
        remedy = "Put text with separators in it in quotes, and write decimals with a point."
    elif opened := re.search(r"EOF inside string starting at row (\d+)", why):
        why = f"a quote is opened near line {int(opened[1]) + 1} and never closed"
        remedy = 'Close it, or write two (""), and check that the file is not cut off.'
    else:
        why = why.replace("Error tokenizing data. C error: ", "").strip().rstrip(".")
    return UserError(f"{path} is not a regular table: {why}. {remedy}")


def _header(path: Path, separator: str) -> list[str]:
    """Column names of a text table, checked; and that the first row has no more fields."""
    numbered = ((line, row) for line, row in _rows(path, separator) if row)
    found = list(islice(numbered, 2))
    names = found[0][1] if found else []
    if not any(name.strip() for name in names):
        raise UserError(f"{path} is empty; expected a header line and rows.")
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(names)]
    line, first = found[1] if len(found) > 1 else (0, [])
    if len(names) == 1:
        _check_separator(path, separator, names[0], first)
    # pandas would drop the surplus of the first line without an error.
    if len(first) > len(names):
        surplus = len(first) - len(names)
        remedy = (
            "Delete titles and comments above the header."
            if len(names) == 1
            else "Name every column, also one of row numbers."
            if surplus == 1
            else "Write decimals with a point, put text with separators in quotes, and name every "
            "column."
        )
        raise UserError(
            f"{path} is not a regular table: line {found[0][0]}, the header, has "
            f"{count(len(names), 'field')} and line {line} has {len(first)}. {remedy}"
        )
    _check_names(path, names)
    return names


def _check_separator(path: Path, separator: str, name: str, first: list[str]) -> None:
    """Raise `UserError` when the only name, and the first row, hold another separator."""
    words = [word for word, mark in MARKS.items() if mark != separator and mark in name]
    if not words and len(first) == 1 and len(first[0].split()) == len(name.split()) > 2:
        words = ["spaces"]
    if words:
        wanted = "commas" if separator == "," else "tabs"
        raise UserError(
            f"{path} seems to be separated by {words[0]}; expected {wanted} in a {path.suffix} "
            f"file. Save it with {wanted}, and decimals with a point."
        )


def _check_names(path: Path, names: list[str]) -> None:
    double = [f"{name!r} ({count} times)" for name, count in Counter(names).items() if count > 1]
    if double:
        more = f" and {len(double) - 3} more" if len(double) > 3 else ""
        raise UserError(
            f"{path} has columns of the same name: {', '.join(double[:3])}{more}; expected every "
            "name once. Rename all but one."
        )


def _check_short_rows(path: Path, separator: str, width: int) -> None:
    """Raise `UserError` at the first row with fewer fields than the header."""
    for line, row in _rows(path, separator):
        if row and len(row) < width:
            raise UserError(
                f"{path} is not a regular table: line {line} has {len(row)} fields, the header "
                f"{width}. Write every field, also empty ones; if it is the last line, the file is "
                "cut off."
            )


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a text table as they stand, each with the line where it ends."""
    with unpacked(path) as binary:
        stream = io.TextIOWrapper(cast(IO[bytes], binary), encoding="utf-8-sig", newline="")
        reader = csv.reader(stream, delimiter=separator)
        for row in reader:
            yield reader.line_num, row


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise need("pyarrow", "app", "reading a Parquet file") from error
    refuse_other_parquet(path)
    try:
        with path.open("rb") as stream:
            table = pq.ParquetFile(stream).read()
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a whole Parquet file ({path.stat().st_size:,} bytes): {why}. "
            f"Copy or write it again."
        ) from error
    _check_names(path, [str(name) for name in table.column_names])
    frame: pd.DataFrame = table.to_pandas()
    # A saved pandas index is a column like any other here.
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index(drop=not named)
    frame.columns = frame.columns.map(str)
    return frame
