"""Tables from files: CSV, TSV and Parquet, with errors that say where the file is wrong."""

from __future__ import annotations

import codecs
import csv
import gzip
import warnings
from collections import Counter
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from polytask.errors import UserError, nearest, need

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")


def read_table(path: str | Path, *, at_least: int = 2) -> pd.DataFrame:
    """The table in `path`: .csv, .tsv (both also .gz, UTF-8) or .parquet.

    Args:
        path: the file.
        at_least: the fewest rows that are accepted; 1 when the table is only predicted for.

    Raises:
        UserError: the file is missing, empty, cut off, in another encoding or of an unknown
            kind, two columns share a name, or there are fewer than `at_least` rows.
        MissingExtraError: pandas, or pyarrow for Parquet, is not installed.
    """
    path = Path(path)
    _check_exists(path)
    kind = _extension(path)
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); expected a header line and rows.")
    frame = _read_parquet(path) if kind in PARQUET else _read_text(path, SEPARATORS[kind])
    if len(frame) < at_least:
        found = "a header but no rows" if len(frame) == 0 else f"only {len(frame)} row(s)"
        raise UserError(f"{path} has {found}; expected at least {at_least}.")
    return frame


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a .csv, .tsv or .parquet file.")
    if path.is_file():
        return
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
    hint = " Save the sheet as CSV." if last in (".xls", ".xlsx", ".ods") else ""
    raise UserError(
        f"{path} has the extension {last or '(none)'!r}; expected one of {known}, "
        f"or .csv.gz / .tsv.gz.{hint}"
    )


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading a table") from error
    try:
        names = _header(path, separator)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
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
    except UnicodeDecodeError as error:
        raise _encoding_error(path) from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
        why = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise UserError(
            f"{path} is not a regular table: {why}. Expected {len(names)} fields on every line, "
            f"as in the header; is a quote left open or the file cut off?"
        ) from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is not a whole gzip file ({error}); copy it again.") from error


def _header(path: Path, separator: str) -> list[str]:
    """Column names of a text table, checked; and that no line has more fields than there are."""
    with _open(path) as binary:
        reader = csv.reader(codecs.getreader("utf-8-sig")(binary), delimiter=separator)
        names = next((row for row in reader if row), [])
        if not any(name.strip() for name in names):
            raise UserError(f"{path} is empty; expected a header line and rows.")
        first = next((row for row in reader if row), [])
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(names)]
    if len(names) == 1:
        others = {"semicolons": ";", "tabs": "\t", "commas": ",", "bars": "|"}
        for word, mark in others.items():
            if mark != separator and mark in names[0]:
                raise UserError(
                    f"{path} seems to be separated by {word}; expected "
                    f"{'commas' if separator == ',' else 'tabs'} in a {path.suffix} file."
                )
    # pandas would drop the surplus of the first line without an error.
    if len(first) > len(names):
        raise UserError(
            f"{path} is not a regular table: the first row has {len(first)} fields, "
            f"the header {len(names)}."
        )
    _check_names(path, names)
    return names


def _check_names(path: Path, names: list[str]) -> None:
    double = [f"{name!r} ({count} times)" for name, count in Counter(names).items() if count > 1]
    if double:
        raise UserError(
            f"{path} has columns of the same name: {', '.join(double)}; rename all but one."
        )


def _open(path: Path) -> BufferedIOBase:
    """The bytes of a text table, unpacked."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path)
    return path.open("rb")


def _encoding_error(path: Path) -> UserError:
    """The error that names the first byte that is not UTF-8, with its place."""
    offset, line = 0, 1
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open(path) as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return UserError(f"{path} is UTF-16; expected UTF-8. Save it again as UTF-8.")
        stream.seek(0)
        for text in stream:
            try:
                decoder.decode(text, final=True)
            except UnicodeDecodeError as error:
                return UserError(
                    f"{path} is not UTF-8: byte 0x{text[error.start]:02x} at position "
                    f"{offset + error.start} (line {line}). Save it again as UTF-8, for instance "
                    f"with: iconv -f latin1 -t utf-8."
                )
            offset, line = offset + len(text), line + 1
    return UserError(f"{path} is not UTF-8; save it again as UTF-8.")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise need("pyarrow", "app", "reading a Parquet file") from error
    try:
        with path.open("rb") as stream:
            table = pq.ParquetFile(stream).read()
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is not a whole Parquet file ({path.stat().st_size} bytes): {why} "
            f"Copy or write it again."
        ) from error
    _check_names(path, [str(name) for name in table.column_names])
    frame: pd.DataFrame = table.to_pandas()
    # A saved pandas index is a column like any other here.
    named = [name for name in frame.index.names if name is not None]
    frame = frame.reset_index(drop=not named)
    frame.columns = frame.columns.map(str)
    return frame
