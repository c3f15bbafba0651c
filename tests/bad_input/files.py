"""Files that are not the table that they should be."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable

from .case import Case, Make, Place

TRAIN = "train --data {} --targets progression high"
TITLE = "Export of 3 March 2024\n\n"
HTML = "<!DOCTYPE html>\n<html><body>404, not found</body></html>\n"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def excel() -> bytes:
    """What an .xlsx begins with: a zip of XML."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return packed.getvalue()


def text(place: Place) -> str:
    """The patients as CSV."""
    return place.frame.to_csv(index=False)


def with_line(number: int, line: str) -> Callable[[Place], str]:
    """The patients with `line` in place of one (0 is the header)."""

    def change(place: Place) -> str:
        rows = text(place).splitlines()
        rows[number] = line
        return "\n".join(rows) + "\n"

    return change


def file(
    case: str, content: Callable[[Place], str | bytes] | str | bytes, says: str, name: str = "t.csv"
) -> Case:
    """Training on a file of this content."""

    def make(place: Place) -> None:
        place.write(name, content(place) if callable(content) else content)

    return Case(case, TRAIN.format(name), says, make)


def thing(case: str, make: Make, says: str, name: str = "t.csv") -> Case:
    """Training on what `make` puts in the place of a file."""
    return Case(case, TRAIN.format(name), says, make)


def cut_parquet(place: Place) -> None:
    whole = place.write("t.parquet").read_bytes()
    place.write("t.parquet", whole[: len(whole) // 2])


FILES = [
    file("blank lines only", "\n\n  \n\n", "expected a header line || is empty || and rows"),
    thing(
        "Parquet without rows",
        lambda p: p.write("t.parquet", p.frame[:0]),
        "expected at least 2 || a header but no rows || filtered or cut off?",
        "t.parquet",
    ),
    thing(
        "Parquet cut off",
        cut_parquet,
        "a whole Parquet file || its end is missing || Copy or write it again",
        "t.parquet",
    ),
    file(
        "CSV named .parquet",
        text,
        "expected Parquet || something else, whatever its name says || rename it to end in .csv",
        "t.parquet",
    ),
    thing(
        "Parquet named .csv",
        lambda p: p.write("t.parquet").rename("t.csv"),
        "expected a text table || is a Parquet file || Rename it to end in .parquet",
    ),
    file(
        "Excel named .csv",
        excel(),
        "expected a text table || is an Excel workbook || save the sheet as CSV",
    ),
    file(
        "old Excel named .csv",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
        "expected a text table || is an Excel workbook (.xls) || save the sheet as CSV",
    ),
    file(
        "gzip named .csv",
        lambda p: gzip.compress(text(p).encode()),
        "expected a text table || is a gzip file || Rename it to end in .csv.gz",
    ),
    file(
        "CSV named .csv.gz",
        text,
        "a whole gzip file || nor the beginning of one || take .gz off the name",
        "t.csv.gz",
    ),
    file(
        "gzip cut off",
        lambda p: gzip.compress(text(p).encode())[:900],
        "a whole gzip file || it is cut off or damaged || Copy it again",
        "t.csv.gz",
    ),
    file(
        "HTML named .csv",
        HTML,
        "expected a text table || is a web page || Was an error page downloaded",
    ),
    file(
        "JSON named .csv",
        lambda p: p.frame.to_json(orient="records"),
        "expected a text table || is JSON || read_json(...).to_csv(",
    ),
    file(
        "JSON lines named .csv",
        lambda p: p.frame.to_json(orient="records", lines=True),
        "expected a text table || is JSON || Convert it",
    ),
    file(
        "PDF named .csv",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "expected a text table || is a PDF || Export the table",
    ),
    file(
        "a pointer of Git LFS",
        POINTER,
        "expected a text table || is a Git LFS pointer || git lfs pull",
    ),
    file("Excel", excel(), "expected one of .csv || extension '.xlsx' || Save the sheet", "t.xlsx"),
    file(
        "another extension",
        lambda p: p.frame.to_json(),
        "expected one of .csv || the extension '.json' || convert anything else",
        "t.json",
    ),
    file("no extension", text, "expected one of .csv || has no extension || Rename a text", "t"),
    Case(
        "standard input",
        "train --data - --targets high",
        "requires an argument || none follows it || polytask train --help",
    ),
    thing(
        "a pipe",
        lambda p: os.mkfifo(p.folder / "t.csv"),
        "expected a file || is a pipe || Save the table first",
    ),
    thing(
        "a link to nothing",
        lambda p: (p.folder / "t.csv").symlink_to("gone.csv"),
        "expected a file || is a link to gone.csv, which does not exist || --help",
    ),
    thing(
        "a folder named .csv",
        lambda p: (p.folder / "t.csv").mkdir(),
        "one table in it || t.csv is a folder || name one table",
    ),
    file(
        "UTF-16",
        lambda p: text(p).encode("utf-16"),
        "expected UTF-8 || is UTF-16 || iconv -f utf-16 -t utf-8",
    ),
    file(
        "UTF-16 without a mark",
        lambda p: text(p).encode("utf-16-le"),
        "expected UTF-8 || is UTF-16 || Save it again as UTF-8",
    ),
    file(
        "Latin-1",
        lambda p: text(p).replace("yes", "oui déjà").encode("latin-1"),
        "is not UTF-8 || byte 0xe9 at position || iconv -f latin1 -t utf-8",
    ),
    file(
        "two encodings",
        lambda p: text(p).replace("yes", "schön").encode() + "Zürich\n".encode("latin-1"),
        "is not UTF-8 || parts in two encodings were joined || convert each before joining",
    ),
    file(
        "zero bytes",
        lambda p: text(p).replace("yes", "y\0es"),
        "expected text || a zero byte at position || Copy or export it again",
    ),
    file(
        "zero bytes at the end",
        lambda p: text(p).encode() + bytes(4096),
        "expected text || a zero byte at position 3,5 || Copy or export it again",
    ),
    file(
        "a row too long",
        with_line(40, "1,f,2,3,4,5,6,yes,low,surplus"),
        "the header 9 || line 41 has 10 fields || Put text with separators in it in quotes",
    ),
    file(
        "decimal commas among commas",
        with_line(1, "59,m,32,1,101,157,4,8598,151,yes,top"),
        "has 9 fields || line 2 has 11 || Write decimals with a point",
    ),
    file(
        "a row too short",
        with_line(40, "1,f,2"),
        "the header 9 || line 41 has 3 fields || Write every field",
    ),
    file(
        "cut off in the last line",
        lambda p: text(p)[:-30],
        "the header 9 || line 81 has 4 fields || the file is cut off",
    ),
    file(
        "an open quote",
        with_line(40, '1,"f,2,3,4,5,6,yes,low'),
        'write two ("") || a quote is opened near line 41 || Close it',
    ),
    file(
        "a title above the header",
        lambda p: TITLE + text(p),
        "the header, has 1 field || line 3 has 9 || Delete titles and comments",
    ),
    file(
        "a comment above the header",
        lambda p: "# made by a script\n" + text(p),
        "the header, has 1 field || line 2 has 9 || Delete titles and comments",
    ),
    file(
        "row names without a name",
        lambda p: p.frame.rename(index="p{}".format).to_csv().removeprefix(","),
        "the header, has 9 fields || line 2 has 10 || Name every column",
    ),
    file(
        "no header",
        lambda p: p.frame.to_csv(index=False, header=False),
        "expected names || no column 'progression' among 59.0, m, 32.1 || Is the header missing?",
    ),
    file(
        "semicolons",
        lambda p: p.frame.to_csv(index=False, sep=";"),
        "expected commas || separated by semicolons || Save it with commas",
    ),
    file(
        "semicolons and decimal commas",
        lambda p: p.frame.to_csv(index=False, sep=";", decimal=","),
        "expected commas || separated by semicolons || decimals with a point",
    ),
    file(
        "tabs in a .csv",
        lambda p: p.frame.to_csv(index=False, sep="\t"),
        "expected commas || separated by tabs || Save it with commas",
    ),
    file(
        "commas in a .tsv",
        text,
        "expected tabs || separated by commas || Save it with tabs",
        "t.tsv",
    ),
    file(
        "spaces between columns",
        lambda p: p.frame.to_string(index=False),
        "expected commas || separated by spaces || Save it with commas",
    ),
    file(
        "two columns of one name",
        with_line(0, "age,sex,bmi,bp,age,s5,progression,high,weight"),
        "expected every name once || 'age' (2 times) || Rename all but one",
    ),
    file(
        "names that differ by a space",
        with_line(0, "age,sex,bmi,bp,age ,s5,progression,high,weight"),
        "expected every name once || 'age' (2 times) || Rename all but one",
    ),
    thing(
        "one row",
        lambda p: p.write("t.csv", p.frame[:1]),
        "expected at least 2 || has 1 row || filtered or cut off?",
    ),
    thing(
        "two rows",
        lambda p: p.write("t.csv", p.frame[:2].assign(high=["yes", "no"])),
        "every part needs a row || 2 rows are too few || Give more rows",
    ),
    Case(
        "the target alone",
        "train --data t.csv --targets progression",
        "Expected at least one || left of 1 (targets: progression) || keep more of them",
        lambda p: p.write("t.csv", p.frame[["progression"]]),
    ),
]
