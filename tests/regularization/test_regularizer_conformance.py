"""Every registered term under the suite for all of them, and how they are named."""

from __future__ import annotations

import pytest
import torch
from stacks import TASKS, drawn
from torch import Tensor

import polytask
from polytask import registry
from polytask.errors import UserError
from polytask.optimization.regularization import (
    Regularizer,
    create_regularizer,
    create_regularizers,
    list_regularizers,
)
from polytask.testing.regularizers import RegularizerConformance

NAMES = list_regularizers()
DEGREE = {"l2": 2, "mrn": 2, "amtl": 2, "cluster": 2, "decorrelation": 0}  # all others 1
OPTIONS: dict[str, list[dict[str, object]]] = {
    "amtl": [{"sparsity": 0.0}],
    "block_sparse": [{"group": "position"}],
    "cluster": [{"mean": 0.1, "between": 0.2}, {"clusters": 3, "between": 0.0}],
    "mrn": [{"covariance": "all"}],
}
"""Beside their defaults, those that make another term of it."""


def test_names() -> None:
    assert len(NAMES) == 9
    assert polytask.list_regularizers("*norm") == ["trace_norm"]
    assert polytask.create_regularizer("TraceNorm").name == "trace_norm"
    for name in NAMES:
        entry = registry.find("regularizer", name)
        assert entry.summary
        term = entry.load()
        assert (term.name, term.tells) == (name, entry.constants["tells"])
        assert term.paper == entry.constants["paper"]
        assert term.proximal == entry.constants.get("proximal", False)
        assert ("prox" in entry.arguments) == term.proximal


def made(name: str, stack: Tensor, **options: object) -> Regularizer:
    term = create_regularizer(name, **{"strength": 0.7, **options})
    term.prepare({"w": stack}, TASKS)
    term.update({"w": drawn(3, 4, 5, seed=5) + 0.5}, TASKS)
    return term


@pytest.mark.parametrize("name", NAMES)
def test_scale_of_the_weights(name: str) -> None:
    stack = drawn(3, 4, 5)
    term = made(name, stack)
    expected = 3.0 ** DEGREE.get(name, 1) * term.penalty(stack, TASKS, "w")
    torch.testing.assert_close(term.penalty(3 * stack, TASKS, "w"), expected)


def test_how_they_are_named() -> None:
    made_by = [
        create_regularizer("trace_norm", strength=0.3),
        create_regularizer({"trace_norm": {"strength": 0.3}}),
    ]
    assert [term.strength for term in made_by] == [0.3, 0.3]
    assert create_regularizer({"l2": None}).strength == 0.01
    assert create_regularizer(made_by[0]) is made_by[0]
    for wrong, said in (
        ("trace", "did you mean 'trace_norm'"),
        ({"l2": {"strenght": 1}}, "did you mean 'strength'"),
        ({"l2": {}, "tucker": {}}, "one name with its arguments"),
        ({}, "one name with its arguments"),
        ({"l2": 3}, "one name with its arguments"),
        (3, "a name, a mapping"),
        ({"l2": {"strength": -1}}, "strength must be a number of at least 0, found -1"),
        ({"mrn": {"covariance": "tasks"}}, "did you mean 'task'"),
    ):
        with pytest.raises(UserError, match=said):
            create_regularizer(wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ready made"):
        create_regularizer(made_by[0], strength=1)


def test_several_are_a_list_or_a_mapping() -> None:
    ready = create_regularizer("cluster")
    for wanted, names in (
        ((), []),
        ({}, []),
        ("l2", ["l2"]),
        (ready, ["cluster"]),
        (["l2", {"mrn": {"every": 5}}, ready], ["l2", "mrn", "cluster"]),
        ({"l2": {"strength": 0.5}, "trace_norm": None}, ["l2", "trace_norm"]),
    ):
        assert [term.name for term in create_regularizers(wanted)] == names  # type: ignore[arg-type]
    for wrong, said in (
        (["l2", {"l2": {}}], "the term 'l2' stands there 2 times"),
        (None, "a name, a mapping"),
        (3, "a name, a mapping"),
        ({"l2": {}, "tuker": {}}, "did you mean 'tucker'"),
        ({"l2": 3}, "one name with its arguments"),
    ):
        with pytest.raises(UserError, match=said):
            create_regularizers(wrong)  # type: ignore[arg-type]


def test_a_term_without_a_name_is_refused() -> None:
    class Nameless(Regularizer):
        pass

    with pytest.raises(UserError, match="Nameless has no name"):
        create_regularizers(Nameless())


def _suite(term: str, options: dict[str, object]) -> type[RegularizerConformance]:
    arguments = registry.find("regularizer", term).arguments
    every = {"every": 2} if "every" in arguments else {}

    def make(self: RegularizerConformance) -> Regularizer:
        return create_regularizer(term, strength=0.7, **{**every, **options})

    body = {"make": make, "convex": term != "decorrelation"}
    if options.get("mean"):  # a ridge of the mean too
        body["zero_of_equals"] = False
    return type(f"Test_{term}", (RegularizerConformance,), body)


for _name in NAMES:
    for _place, _options in enumerate([{}, *OPTIONS.get(_name, [])]):
        globals()[f"Test_{_name}_{_place}"] = _suite(_name, _options)


def test_every_registered_term_is_under_the_suite() -> None:
    found = {key[5:].rpartition("_")[0] for key in globals() if key.startswith("Test_")}
    assert found == set(NAMES)


class WithoutGrow(RegularizerConformance):
    """A wrong term: the suite must find what is wrong with it."""

    class Wrong(Regularizer):
        name = "wrong"
        seen: Tensor

        def prepare(self, stacks: object, tasks: object) -> None:
            self.register_buffer("seen", torch.zeros(len(tasks)))  # type: ignore[arg-type]

        def value(self, stack: Tensor, tasks: object, weight: str) -> Tensor:
            return -stack[0].square().sum()

        def details(self, stacks: object, tasks: object) -> dict[str, object]:
            return {"rank": float("nan")}

    def make(self) -> Regularizer:
        return self.Wrong(strength=1.0)


@pytest.mark.parametrize(
    "test",
    [
        "test_a_finite_number_of_the_kind_of_the_weights",
        "test_the_order_of_tasks_plays_no_part",
        "test_convexity",
        "test_diagnostics_are_plain_and_change_nothing",
        "test_one_more_task",
    ],
)
def test_the_suite_finds_faults(test: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        getattr(WithoutGrow(), test)()
