"""The table of affinities: direction, what may be missing, files and frames, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from polytask.errors import UserError
from polytask.relationships import Affinity

NAMES = ("a", "b", "c")
VALUES = [[1.0, 0.2, np.nan], [-0.1, 1.0, 0.3], [1 / 3, 1e-300, 1.0]]


def affinity(**more):
    return Affinity(NAMES, VALUES, **more)


def same(one: Affinity, other: Affinity) -> None:
    assert one.tasks == other.tasks
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.standard_errors is None) == (other.standard_errors is None)
    if one.standard_errors is not None:
        np.testing.assert_array_equal(one.standard_errors, other.standard_errors)
    assert (one.measured, one.cost) == (other.measured, other.cost)


def test_the_first_name_is_scored_and_the_second_helps() -> None:
    table = affinity()
    assert table["b"]["a"] == -0.1
    assert table["a"]["b"] == 0.2
    assert np.isnan(table["a"]["c"])
    with pytest.raises(UserError, match="unknown task 'bb'; did you mean 'b'"):
        table["bb"]


def test_nobody_can_change_a_table() -> None:
    given = np.array(VALUES)
    table = Affinity(NAMES, given)
    given[:] = 0.0
    assert table["b"]["c"] == 0.3
    with pytest.raises(ValueError, match="read-only"):
        table.values[0, 1] = 1.0


@pytest.mark.parametrize("cost", [None, 1.25, "three runs"])
@pytest.mark.parametrize("errors", [None, np.abs(VALUES) / 10])
def test_a_file_gives_back_the_very_same_numbers(tmp_path, cost, errors) -> None:
    table = affinity(standard_errors=errors, measured="look-ahead, every 10 steps", cost=cost)
    file = tmp_path / "folder" / "affinity.json"
    table.save(file)
    same(Affinity.load(file), table)
    assert json.loads(file.read_text())["values"][0][2] is None
    assert [f.name for f in file.parent.iterdir()] == ["affinity.json"]


def test_plain_values_are_enough_and_give_back_the_table() -> None:
    table = affinity(standard_errors=np.abs(VALUES) / 10, measured="somehow", cost=2.0)
    plain = table.to_dict()
    same(Affinity.from_dict(json.loads(json.dumps(plain, allow_nan=False))), table)
    same(Affinity.from_dict({name: plain[name] for name in ("tasks", "values")}), affinity())
    with pytest.raises(UserError, match=r"expected a mapping that Affinity\.to_dict made"):
        Affinity.from_dict({"tasks": ["a"]})


@pytest.mark.parametrize(
    "text", ["", "{}", "[1, 2]", '{"tasks": ["a"], "values": [[1, 2]]}', "3", "\x00"]
)
def test_another_file_is_refused(tmp_path, text) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"expected a file that Affinity\.save wrote"):
        Affinity.load(file)


def test_a_file_with_a_wrong_table_or_none_at_all_is_refused(tmp_path) -> None:
    file = tmp_path / "x.json"
    affinity().save(file)
    file.write_text(file.read_text().replace('"c"', '"b"'))
    with pytest.raises(UserError, match="each task may be there once, found b again"):
        Affinity.load(file)
    with pytest.raises(UserError, match="cannot read"):
        Affinity.load(tmp_path / "none.json")


def test_frames_keep_the_direction() -> None:
    table = affinity()
    frame = table.to_frame()
    assert frame.loc["b", "a"] == -0.1
    assert (frame.index.name, frame.columns.name) == ("scored", "companion")
    same(Affinity.from_frame(frame), table)
    turned = frame.loc[:, ["c", "a", "b"]]  # columns in another order are sorted like the rows
    same(Affinity.from_frame(turned), table)
    frame.loc["a", "b"] = 9.0
    assert table["a"]["b"] == 0.2


def test_mappings_may_leave_pairs_out() -> None:
    table = Affinity.from_mapping({"a": {"b": 1}, "b": {"a": None}}, measured="m", cost=2)
    assert table["a"]["b"] == 1.0
    assert np.isnan(table.values).tolist() == [[True, False], [True, True]]
    assert (table.measured, table.cost) == ("m", 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affinity((), np.zeros((0, 0))), "at least one task"),
        (lambda: Affinity("ab", np.zeros((2, 2))), "a list of task names, found the text 'ab'"),
        (lambda: Affinity(("a", 1), np.zeros((2, 2))), r"names of tasks \(text\), found 1"),
        (lambda: Affinity(("a", "a"), np.zeros((2, 2))), "found a again"),
        (lambda: Affinity(("a", "b"), np.zeros((2, 3))), r"shape \[2, 2\] for 2 tasks"),
        (lambda: Affinity(("a", "b"), np.zeros(4)), r"found \[4\]"),
        (lambda: Affinity(("a", "b"), [[1, 2], [3]]), "a table of numbers"),
        (lambda: Affinity(("a", "b"), [["x", 2], [3, 4]]), "a table of numbers"),
        (lambda: Affinity(("a", "b"), [[1, np.inf], [3, 4]]), "found inf"),
        (lambda: affinity(standard_errors=np.zeros((2, 2))), "standard_errors of shape"),
        (lambda: affinity(standard_errors=-np.ones((3, 3))), "at least 0, found -1.0"),
        (lambda: Affinity.from_mapping({}), "at least one task"),
        (lambda: Affinity.from_mapping({"a": {"bb": 1}, "b": {}}), "did you mean 'b'"),
        (lambda: Affinity.from_mapping({"a": {"b": "x"}, "b": {}}), "a number, found 'x'"),
        (lambda: Affinity.from_mapping({"a": 1.0}), "a mapping from companions to numbers"),
        (
            lambda: Affinity.from_frame(pd.DataFrame([[1.0]], index=["a"], columns=["b"])),
            "the same tasks in rows and columns",
        ),
        (
            lambda: Affinity.from_frame(pd.DataFrame([["x"]], index=["a"], columns=["a"])),
            "a table of numbers",
        ),
    ],
)
def test_what_is_no_table_is_refused(make, message) -> None:
    with pytest.raises(UserError, match=message):
        make()
