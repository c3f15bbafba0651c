"""Names of any kind: their width, their short form, and text that runs the other way."""

from __future__ import annotations

import pytest

from polytask.report.names import columns, presentable, short


@pytest.mark.parametrize(
    ("text", "width"), [("price", 5), ("価格", 4), ("😀", 2), ("größe", 5), ("e\u0301", 1), ("", 0)]
)
def test_columns(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize("label", ["a" * 200, "価格" * 50, "😀" * 40, "property_name_number_35"])
@pytest.mark.parametrize("width", [8, 19])
def test_a_short_name_fits_and_keeps_both_ends(label: str, width: int) -> None:
    found = short(label, width)
    assert columns(found) <= width
    assert "…" in found
    head, tail = found.split("…")
    assert label.startswith(head)
    assert label.endswith(tail)
    assert tail


def test_a_name_that_fits_stays_but_for_its_line_breaks() -> None:
    assert short("price", 5) == "price"
    assert short("a\n b", 19) == "a b"


def test_text_from_right_to_left_is_kept_apart_from_the_numbers_beside_it() -> None:
    arabic, hebrew = "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05dc\u05d5\u05dd \u05d0\u05d7"
    page = f'<p title="{arabic}">size and {arabic} (+0.42)</p>'
    apart = f'<p title="{arabic}">size and \u2068{arabic}\u2069 (+0.42)</p>'
    assert presentable(page) == apart
    assert presentable(f"<b>{hebrew}, 3</b>") == f"<b>\u2068{hebrew}\u2069, 3</b>"
    assert presentable("<p>größe 価格</p>") == "<p>größe 価格</p>"


def test_characters_that_turn_text_around_are_shown_as_what_they_are() -> None:
    assert presentable("<p>a\u202eb\u2066c</p>") == "<p>a\ufffdb\ufffdc</p>"
