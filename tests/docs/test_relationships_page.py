"""The page on what belongs together: every estimator is on it, its Python runs and is true."""

import re
from pathlib import Path

import numpy as np
import pytest

from polytask import registry

PAGE = Path(__file__).parents[2] / "docs" / "relationships.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_every_estimator_is_on_the_page_as_it_declares_itself() -> None:
    rows = {
        name: (direction, zero)
        for name, direction, zero in re.findall(
            r"^\| `(\w+)` \|.*\| (yes|no) \| (yes|no) \|$", TEXT, re.MULTILINE
        )
    }
    assert sorted(rows) == registry.names("estimator")
    for name, (_, zero) in rows.items():
        assert registry.find("estimator", name).load().gains == (zero == "yes"), name


@pytest.fixture(scope="module")
def names() -> dict[str, object]:
    """All blocks of the page, run one after the other as a reader would."""
    found: dict[str, object] = {}
    for code in CODE:
        exec(code, found)
    return found


def test_its_python_says_what_the_comments_say(names) -> None:
    assert names["affinity"]["depth"]["segmentation"] == 0.41
    assert names["frame"].loc["depth", "segmentation"] == 0.41
    groups = names["groups"]
    assert groups.groups == (("segmentation", "depth", "normals"), ("edges", "keypoints"))
    assert groups.gap == 0.0
    assert names["polytask"].group_tasks(names["lonely"], max_groups=2, alone=0).groups == (
        ("a", "b"),
        ("c",),
    )
    assert names["cheap"].cost == pytest.approx(34.0)
    assert names["losses"]["a", "b", "c"]["a"] == pytest.approx(0.295)
    assert names["chosen"].groups == (("a", "b"), ("c",))
    assert names["half"].cost <= 1.8
    assert names["policy"].supervised == ("normals",)
    assert names["policy"].transfers["edges"] == ("normals",)
    assert names["tree"].levels == ((("a", "b", "c"),), (("a", "b"), ("c",)))
    assert names["measured"].tasks == ("a", "b", "c")
    assert np.isfinite(names["measured"].values).all()


def test_every_program_and_option_of_the_page_exists() -> None:
    for link in re.findall(r"\]\((\.\./[^)#]+|[a-z_]+\.md)", TEXT):
        assert (PAGE.parent / link).exists(), link
