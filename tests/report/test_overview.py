"""The overview of several studies: one scale, wild points at its edge, names harmless."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from polytask.report.merged import Method
from polytask.report.numbers import MINUS
from polytask.report.plot_merged import is_cut, overview_limits, overview_svg
from polytask.report.results import Style

LABELS = ["adult", "</svg><script>digits"]


def method(label: str, *gains: tuple[Any, Any, Any] | None) -> Method:
    return Method(label, (label, "hard_sharing"), Style("c0", "o"), False, gains)


def texts(methods: list[Method]) -> set[str]:
    root = ElementTree.fromstring(str(overview_svg(LABELS, methods)))
    return {"".join(node.itertext()) for node in root.iter("text")}


def test_every_study_is_named() -> None:
    found = texts([method("linear", (1.0, 0.5, 1.5), (2.0, None, None))])
    assert set(LABELS) <= found
    assert not any("←" in text for text in found)


@pytest.mark.parametrize(
    ("wild", "said"), [(-40.0, f"← {MINUS}40.0"), (40.0, "+40.0 →")], ids=["left", "right"]
)
def test_a_wild_point_is_a_number_at_the_edge(wild: float, said: str) -> None:
    tame = [method(str(i), (1.0, 0.5, 1.5), (-1.0, -1.5, -0.5)) for i in range(3)]
    methods = [*tame, method("wild", (wild, wild - 1, wild + 1), None)]
    assert is_cut(methods)
    assert max(map(abs, overview_limits(methods))) < 10
    assert said in texts(methods)
    assert not is_cut(tame)


def test_nothing_to_draw_is_no_error() -> None:
    undefined = {"undefined": "no run of it has finished"}
    nothing = method("linear", (undefined,) * 3, None)
    assert overview_limits([nothing]) == (-1.0, 1.0)
    assert set(LABELS) <= texts([nothing])
    low, high = overview_limits([method("linear", (0.0, 0.0, 0.0), None)])
    assert low < 0 < high
