"""A task added to a model with terms on its networks: what was learned of the others stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor

from polytask.architectures import Architecture, create_architecture, create_encoder
from polytask.errors import UserError
from polytask.optimization.regularization import Regularizer, create_regularizer, list_regularizers

OLD = (Output("m", 1), Output("d", 3))
NEW = Output("f", 2)
"""Between the others by its name: rows and columns of what is learned are in that order."""
LEARNED = ("amtl", "cluster", "mrn")


def batch() -> dict[str, Tensor]:
    return first(wine()[0], 24)


def model_of(
    architecture: str, *tasks: Output, terms: Any, seed: int = 0, **options: Any
) -> Architecture:
    torch.manual_seed(seed)
    encoder = create_encoder("mlp", TABLE, hidden=(12, 8))
    own = {"strength": 0} if architecture == "soft_sharing" else {}
    more = {"fresh": True, "example": batch(), "regularize": terms, **own, **options}
    return create_architecture(architecture, encoder, tasks or OLD, **more)


def learn(model: Architecture, steps: int = 3) -> None:
    """Steps on all that learns; losses of different size."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.02)
    model.train()
    for _ in range(steps):
        outputs = model(batch())
        losses = {t: (i + 1) * o.square().mean() for i, (t, o) in enumerate(outputs.items())}
        model.observe({task: loss.item() for task, loss in losses.items()})
        optimizer.zero_grad()
        torch.stack([*losses.values(), *model.penalties().values()]).sum().backward()
        optimizer.step()
        model.after_step(0.02)
    model.eval()


def with_options(name: str) -> dict[str, Any]:
    return {name: {"every": 1} if name in LEARNED else {"strength": 0.1}}


def state_of(model: Architecture) -> dict[str, Tensor]:
    return {n: b.clone() for n, b in model.named_buffers() if n.startswith("regularizers.")}


@pytest.mark.parametrize("name", list_regularizers())
@pytest.mark.parametrize("architecture", ["single_task", "soft_sharing", "cross_stitch", "sluice"])
@pytest.mark.parametrize("freeze", [True, False])
def test_a_tied_model_takes_a_task(name: str, architecture: str, freeze: bool) -> None:
    model = model_of(architecture, terms=with_options(name))
    learn(model)
    before, told = model(batch()), model.regularization()[name]
    model.add_task(NEW, freeze=freeze)
    after = model(batch())
    assert all(after[task].equal(before[task]) for task in before)
    assert model.task_names == ("m", "d", "f")
    assert set(model.regularization()[name]) == set(told)
    learn(model)
    assert not model(batch())["f"].equal(after["f"])
    for task in before:
        assert model(batch())[task].equal(before[task]) == freeze
    built = model_of(architecture, *OLD, NEW, terms=with_options(name), seed=1)
    built.load_state_dict(model.state_dict())
    assert built.regularization() == model.regularization()


@pytest.mark.parametrize("name", LEARNED)
def test_what_was_learned_of_the_old_tasks_stays(name: str) -> None:
    model = model_of("single_task", terms={name: {"every": 1}})
    learn(model)
    before = state_of(model)
    told = model.regularization()[name]
    model.add_task(NEW)
    assert set(state_of(model)) == set(before)
    assert state_of(model)["regularizers.0.steps"].equal(before["regularizers.0.steps"])
    found = model.regularization()[name]
    if name == "amtl":
        assert found["transfer"]["m"]["d"] == told["transfer"]["m"]["d"]
        assert found["transfer"]["d"]["m"] == told["transfer"]["d"]["m"]
        assert all(found["transfer"][t]["f"] == found["transfer"]["f"][t] == 0 for t in "mdf")
    if name == "cluster":
        assert {t: found["cluster"][t] for t in "md"} == told["cluster"]
    if name == "mrn":
        for weight, rows in found["correlation"].items():
            assert rows["m"]["d"] == pytest.approx(told["correlation"][weight]["m"]["d"])
            assert rows["f"] == {"m": 0.0, "d": 0.0, "f": 1.0}


def test_a_new_task_joins_the_cluster_it_is_nearest_to() -> None:
    one = create_regularizer("cluster", clusters=2)
    names = ("x", "z")
    stack = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=torch.float64)
    one.prepare({"w": stack}, names)
    one.update({"w": stack}, names)
    for near, expected in (([0.9, 0.2], 0), ([0.2, 0.9], 1), ([-5.0, -4.9], 1)):
        more = torch.cat([stack, torch.tensor([[near]], dtype=torch.float64)])
        large = create_regularizer("cluster", clusters=2)
        large.prepare({"w": more}, ("x", "z", "y"))
        assert set(large.grow(one, {"w": more}, ("x", "z", "y"))) == {"assignment"}
        found = large.details({"w": more}, ("x", "z", "y"))["cluster"]
        assert found == {"x": 0, "z": 1, "y": expected}


def test_losses_seen_before_count_at_the_next_solution() -> None:
    model = model_of("single_task", terms={"amtl": {"every": 50}})
    model.observe({"m": 2.0, "d": 4.0})
    model.observe({"m": 4.0})
    model.add_task(NEW)
    term = model.get_submodule("regularizers.0")
    assert term.get_buffer("sums").tolist() == [4.0, 0.0, 6.0]  # d, f, m
    assert term.get_buffer("counts").tolist() == [1.0, 0.0, 2.0]


@pytest.mark.parametrize("covariance", ["task", "all"])
def test_the_prior_of_all_is_a_prior(covariance: str) -> None:
    """Covariance and precision are inverses, the mean variance is 1, the new task is apart."""
    terms = {"mrn": {"every": 1, "covariance": covariance}}
    model = model_of("single_task", terms=terms)
    learn(model)
    model.add_task(NEW)
    for place in range(2):
        prior = model.get_submodule(f"regularizers.0.priors.{place}")
        found, inverse = prior.get_buffer("covariance_0"), prior.get_buffer("precision_0")
        torch.testing.assert_close(found @ inverse, torch.eye(3), atol=1e-5, rtol=0)
        assert found.diagonal().mean().item() == pytest.approx(1, abs=1e-5)
        assert found[1].tolist() == [0.0, 1.0, 0.0]
        assert found[0, 2] != 0


@pytest.mark.parametrize("name", list_regularizers())
def test_a_lone_task_and_one_left_over_get_company(name: str) -> None:
    for model in (
        model_of("single_task", OLD[0], terms=with_options(name)),
        model_of("single_task", terms=with_options(name)).prune("m"),
    ):
        before = model(batch())["m"]
        model.add_task(NEW)
        assert model(batch())["m"].equal(before)
        learn(model)
        assert set(model.regularization()) == {name}
        model.add_task(OLD[1])
        learn(model)
        assert model.task_names == ("m", "f", "d")
        assert model(batch())["m"].equal(before)


def test_several_terms_at_once_and_a_term_given_ready_made() -> None:
    ready = create_regularizer("cluster", every=1)
    terms = ["l2", {"amtl": {"every": 1}}, ready, {"mrn": {"every": 1}}]
    model = model_of("single_task", terms=terms)
    learn(model)
    kept = copy.deepcopy(model)
    for one in (model, kept):
        before = one(batch())["m"]
        one.add_task(NEW)
        learn(one)
        assert list(one.regularization()) == ["l2", "amtl", "cluster", "mrn"]
        assert one(batch())["m"].equal(before)
    assert model.regularization() == kept.regularization()


def test_other_terms_than_before_begin_anew() -> None:
    model = model_of("single_task", terms=[{"amtl": {"every": 1}}, {"mrn": {"every": 1}}])
    learn(model)
    before = model(batch())
    model.add_task(NEW, regularize=[{"cluster": {"every": 1}}])
    after = model(batch())
    assert all(after[task].equal(before[task]) for task in before)
    assert set(model.regularization()["cluster"]["cluster"].values()) == {0}
    plain = model_of("single_task", terms=())
    plain.add_task(NEW, regularize="l2")
    assert list(plain.regularization()) == ["l2"]


def test_the_term_of_soft_sharing_grows_too() -> None:
    model = model_of("soft_sharing", terms=(), term="mrn", strength=0.1, every=1)
    learn(model)
    before = model.correlations()  # type: ignore[operator]
    model.add_task(NEW)
    for weight, found in model.correlations().items():  # type: ignore[operator]
        torch.testing.assert_close(found[:2, :2], before[weight])


class Forgetful(Regularizer):
    """Its state goes with the tasks, and it does not say how it grows."""

    name = "forgetful"
    seen: Tensor

    def prepare(self, stacks: Any, tasks: Any) -> None:
        self.register_buffer("seen", torch.zeros(len(tasks)))

    def value(self, stack: Tensor, tasks: Any, weight: str) -> Tensor:
        return stack.square().sum()


def test_a_term_that_cannot_grow_is_refused_by_name() -> None:
    model = model_of("single_task", terms=Forgetful())
    before = model(batch())
    with pytest.raises(UserError, match=r"the term 'forgetful' does not say how its 'seen' grows"):
        model.add_task(NEW)
    assert model.task_names == ("m", "d")
    assert all(model(batch())[task].equal(before[task]) for task in before)
    model.add_task(NEW, regularize=())
    assert model.task_names == ("m", "d", "f")


def test_nddr_refuses_with_and_without_terms() -> None:
    model = model_of("nddr", terms=["mrn"])
    with pytest.raises(UserError, match="takes no further task"):
        model.add_task(NEW)
