"""What a file is, told from its bytes: a name ending in .csv proves nothing."""

from __future__ import annotations

import codecs
import gzip
from io import BufferedIOBase
from pathlib import Path

from polytask.errors import UserError

SAVE_AS_CSV = "Open it and save the sheet as CSV (UTF-8)."
EXPORT = "Export the table as CSV or Parquet."
UNPACK = "Unpack it, or write the table as .csv.gz."
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"PAR1", "a Parquet file", "Rename it to end in .parquet."),
    (b"\x1f\x8b", "a gzip file", "Rename it to end in .csv.gz, or unpack it."),
    (b"PK\x03\x04", "an Excel workbook or another zip archive", SAVE_AS_CSV),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)", SAVE_AS_CSV),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ", "an xz file", UNPACK),
    (b"(\xb5/\xfd", "a zstandard file", UNPACK),
    (b"%PDF", "a PDF", EXPORT),
    (b"SQLite format 3", "an SQLite database", EXPORT),
    (b"ARROW1", "an Arrow (Feather) file", EXPORT),
    (b"\x89HDF", "an HDF5 file", EXPORT),
    (b"\x93NUMPY", "a NumPy array", "Write it as CSV, with the columns' names as its first line."),
    (
        b"version https://git-lfs",
        "a Git LFS pointer and not the file itself",
        "Run: git lfs pull.",
    ),
)
"""First bytes, what begins with them, and what to do with it."""
UTF16 = "Save it again as UTF-8, for instance with: iconv -f utf-16 -t utf-8."
CHUNK = 1 << 20


def check_bytes(path: Path) -> None:
    """Raise `UserError` when the bytes are not text, or text of another sort than a table."""
    offset = 0
    with unpacked(path) as stream:
        while chunk := stream.read(CHUNK):
            if offset == 0:
                _refuse_other_text(path, chunk[:512])
            if (place := chunk.find(b"\0")) >= 0:
                raise UserError(
                    f"{path} is damaged: there is a zero byte at position {offset + place:,}; "
                    "expected text. Copy or export it again."
                )
            offset += len(chunk)


def unpacked(path: Path) -> BufferedIOBase:
    """The bytes of a text table, unpacked."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path)
    return path.open("rb")


def encoding_error(path: Path) -> UserError:
    """The error that names the first byte that is not UTF-8, with its place."""
    offset, line, foreign = 0, 1, False
    decoder = codecs.getincrementaldecoder("utf-8")()
    with unpacked(path) as stream:
        for text in stream:
            try:
                decoder.decode(text, final=True)
            except UnicodeDecodeError as error:
                remedy = (
                    "The lines before it are, so parts in two encodings were joined: convert "
                    "each before joining them."
                    if foreign
                    else "Save it again as UTF-8, for instance with: iconv -f latin1 -t utf-8."
                )
                return UserError(
                    f"{path} is not UTF-8: byte 0x{text[error.start]:02x} at position "
                    f"{offset + error.start} (line {line}). {remedy}"
                )
            foreign = foreign or not text.isascii()
            offset, line = offset + len(text), line + 1
    return UserError(f"{path} is not UTF-8; save it again as UTF-8.")


def _refuse_other_text(path: Path, start: bytes) -> None:
    """Raise `UserError` when `start`, the first bytes of a text table, begin something else."""
    for signature, what, remedy in SIGNATURES:
        if start.startswith(signature):
            raise _misnamed(path, what, "a text table", remedy)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or _every_other_is_zero(start):
        raise UserError(f"{path} is UTF-16; expected UTF-8. {UTF16}")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:200]
    if text[:1] == b"<" and text[1:2].isalpha() | (text[1:2] in b"!?"):
        raise _misnamed(
            path, "a web page or XML", "a text table", "Was an error page downloaded in its place?"
        )
    if text[:1] in (b"{", b"[") and text[1:].lstrip()[:1] in (b'"', b"{", b"["):
        remedy = "Convert it, for instance with pandas: read_json(...).to_csv(..., index=False)."
        raise _misnamed(path, "JSON", "a text table", remedy)


def refuse_other_parquet(path: Path) -> None:
    """Raise `UserError` when a file named as Parquet is something else, or is cut off."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(32)
        stream.seek(max(0, size - 4))
        end = stream.read()
    if start[:4] == b"PAR1":
        if end != b"PAR1" or size < 12:
            raise UserError(
                f"{path} is cut off: it is not a whole Parquet file, its end is missing after "
                f"{size:,} bytes. Copy or write it again."
            )
        return
    if start[:4] == b"PARE":
        raise UserError(f"{path} is an encrypted Parquet file; expected one that is not.")
    for signature, what, _ in SIGNATURES:
        if start.startswith(signature):
            raise _misnamed(path, what, "Parquet", EXPORT)
    raise _misnamed(
        path,
        "not a whole Parquet file but something else",
        "Parquet",
        "If it is text, rename it to end in .csv; else write it again.",
    )


def _misnamed(path: Path, what: str, expected: str, remedy: str) -> UserError:
    return UserError(f"{path} is {what}, whatever its name says; expected {expected}. {remedy}")


def _every_other_is_zero(start: bytes) -> bool:
    """Whether ASCII was written as UTF-16 without the mark that says so."""
    few = start[: len(start) // 2 * 2][:64]
    return len(few) >= 4 and any(not any(few[i::2]) and all(few[1 - i :: 2]) for i in (0, 1))
