"""Tables from files: what is read, and what every kind of bad file says."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polytask.data import read_table
from polytask.errors import UserError


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.CSV"])
def test_a_real_table_round_trips(tmp_path: Path, wine: pd.DataFrame, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        wine.to_parquet(path)
    else:
        packed = "gzip" if name.endswith("gz") else None
        separator = "\t" if ".tsv" in name else ","
        wine.to_csv(path, sep=separator, index=False, compression=packed)
    pd.testing.assert_frame_equal(read_table(path), wine)


def test_byte_order_mark_and_quoted_commas_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes('\ufeffname,"a, b"\n"Müller, J.",1\nx,2\n'.encode())
    frame = read_table(path)
    assert list(frame.columns) == ["name", "a, b"]
    assert frame["name"].tolist() == ["Müller, J.", "x"]


def test_a_saved_parquet_index_is_a_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", "b"], name="key"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns) == ["key", "x"]


def test_missing_file_names_the_nearest_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(UserError, match=r"no file .*hauses\.csv\. Did you mean .*houses\.csv\?"):
        read_table(tmp_path / "hauses.csv")
    with pytest.raises(UserError, match=r"the folder .*nowhere does not exist"):
        read_table(tmp_path / "nowhere" / "t.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_table(tmp_path)


BAD_TEXT = {
    "": r"is empty \(0 bytes\)",
    "\n\n": "is empty",
    "a,b\n": r"a header but no rows; expected at least 2",
    "a,b\n1,2\n": "has 1 row; expected at least 2",
    "a,b,a\n1,2,3\n4,5,6\n": r"columns of the same name: 'a' \(2 times\)",
    "a;b\n1;2\n3;4\n": "seems to be separated by semicolons; expected commas",
    "a,b\n1,2\n3,4,5\n": "not a regular table: line 3 has 3 fields, the header 2",
    "a,b\n1,2,3\n4,5\n": "line 1, the header, has 2 fields and line 2 has 3",
    'a,b\n1,"2\n3,4\n': "not a regular table",
}


@pytest.mark.parametrize("text", BAD_TEXT, ids=[repr(t) for t in BAD_TEXT])
def test_bad_text_tables_say_what_is_wrong(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=BAD_TEXT[text]):
        read_table(path)


def test_one_row_is_enough_to_predict_for(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    assert len(read_table(path, at_least=1)) == 1


def test_wrong_encoding_names_the_byte_its_position_and_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("name,x\nplain,1\nMüller,2\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"byte 0xfc at position 16 \(line 3\)"):
        read_table(path)
    assert path.read_bytes()[16] == 0xFC
    path.write_bytes("a,b\n1,2\n3,4\n".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16"):
        read_table(path)


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.01])
def test_truncated_files_are_refused(tmp_path: Path, wine: pd.DataFrame, keep: float) -> None:
    parquet, packed = tmp_path / "t.parquet", tmp_path / "t.csv.gz"
    wine.to_parquet(parquet)
    packed.write_bytes(gzip.compress(wine.to_csv(index=False).encode()))
    for path in (parquet, packed):
        whole = path.read_bytes()
        path.write_bytes(whole[: max(3, int(len(whole) * keep))])
        with pytest.raises(UserError, match=r"not a whole (Parquet|gzip) file"):
            read_table(path)


@pytest.mark.parametrize("name", ["t.xlsx", "t.txt", "t", "t.gz"])
def test_unknown_extension_lists_the_known(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(UserError, match=r"expected one of \.csv, \.tsv") as caught:
        read_table(tmp_path / name)
    assert ("Save the sheet as CSV" in str(caught.value)) == (name == "t.xlsx")


def test_a_parquet_file_with_a_text_name_is_refused(tmp_path: Path, wine: pd.DataFrame) -> None:
    wine.to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").rename(tmp_path / "t.csv")
    with pytest.raises(UserError, match="is a Parquet file, whatever its name says"):
        read_table(tmp_path / "t.csv")


def test_one_column_has_one_type_in_a_long_file(tmp_path: Path) -> None:
    values = [*map(str, range(300_000)), "abc"]
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{v},1\n" for v in values))
    assert {type(v) for v in read_table(path)["x"]} == {str}
    assert np.all(read_table(path)["y"] == 1)
