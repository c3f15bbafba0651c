"""Terms on architectures with one network a task: composed, trained, saved, pruned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, images, same_after_loading

from polytask.architectures import Architecture, create_architecture, create_encoder
from polytask.architectures.single_task import SingleTask
from polytask.errors import UserError
from polytask.optimization.regularization import create_regularizer
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
PARALLEL = ("single_task", "soft_sharing", "cross_stitch", "nddr", "sluice")
SEVERAL = ["l2", {"trace_norm": {"strength": 0.1}}, {"mrn": {"every": 1}}]


def made(name: str, *tasks: Output, **options: Any) -> Architecture:
    torch.manual_seed(0)
    encoder = create_encoder("mlp", TABLE, hidden=(16, 12, 8))
    x = first(wine()[0], 2)
    return create_architecture(name, encoder, tasks or (A, B, C), example=x, **options)


def stacks(model: Architecture, least: int = 1) -> list[Tensor]:
    parallel = model.parallel_parameters().values()
    return [torch.stack(list(p)).detach() for p in parallel if p[0].dim() >= least]


@pytest.mark.parametrize("name", PARALLEL)
def test_terms_join_the_penalties(name: str) -> None:
    own = {"strength": 0} if name == "soft_sharing" else {}
    model = made(name, regularize=SEVERAL, fresh=True, **own)
    plain = made(name, fresh=True, **own)
    terms = {"l2", "trace_norm", "mrn"}
    assert set(model.penalties()) == set(plain.penalties()) | terms
    expected = [0.005 * 3 * (s - s.mean(0)).square().sum() for s in stacks(model)]
    torch.testing.assert_close(model.penalties()["l2"].detach(), torch.stack(expected).sum())
    norms = [torch.linalg.matrix_norm(s.flatten(1), "nuc") for s in stacks(model, 2)]
    found = model.penalties()["trace_norm"].detach()
    torch.testing.assert_close(found, 0.1 * torch.stack(norms).sum())
    # The same weights to begin with, and nothing told without terms.
    x = first(wine()[0], 8)
    assert all(model.eval()(x)[task].equal(plain.eval()(x)[task]) for task in "abc")
    assert set(model.regularization()) == terms
    assert plain.regularization() == {}


@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_parameters_correspond(name: str) -> None:
    parallel = made(name, fresh=False).parallel_parameters()
    assert {len(parameters) for parameters in parallel.values()} == {3}
    for parameters in parallel.values():
        assert all(p.equal(parameters[0]) for p in parameters)
        assert len({p.data_ptr() for p in parameters}) == 3


def test_what_has_no_network_a_task_says_so() -> None:
    with pytest.raises(UserError, match=r"HardSharing has no network a task.*single_task"):
        made("hard_sharing").parallel_parameters()
    with pytest.raises(UserError, match="unknown argument of architecture hard_sharing"):
        made("hard_sharing", regularize=["l2"])
    assert made("hard_sharing").regularization() == {}


@pytest.mark.parametrize("name", ["l2", "trace_norm", "block_sparse", "cluster"])
def test_proximal_steps_replace_the_gradient(name: str) -> None:
    model = made("single_task", fresh=True, regularize=[{name: {"strength": 0.5, "prox": True}}])
    assert model.penalties() == {}
    term = create_regularizer(name, strength=0.5)
    least = term.least
    before = stacks(model, least)
    model.after_step(0.2)
    for old, new in zip(before, stacks(model, least), strict=True):
        torch.testing.assert_close(new, term.prox(old, 0.2, ("a", "b", "c")))


@pytest.mark.parametrize("name", ["single_task", "cross_stitch"])
def test_state_round_trip(name: str) -> None:
    terms = [{"mrn": {"every": 1}}, {"amtl": {"every": 1}}, {"cluster": {"every": 1}}]
    model = digit_model(name, fresh=True, regularize=terms)
    model.after_step(0.1)
    other = digit_model(name, seed=1, fresh=True, regularize=terms)
    assert same_after_loading(model, other)
    assert other.regularization() == model.regularization()
    assert model.regularization()["amtl"]["penalty"] > 0


@pytest.mark.parametrize("name", PARALLEL)
def test_a_pruned_model_keeps_the_terms_of_its_tasks(name: str) -> None:
    terms = [{"mrn": {"every": 1}}, {"amtl": {"every": 1}}, {"cluster": {"every": 1}}]
    own = {"strength": 0} if name == "soft_sharing" else {}
    model = made(name, fresh=True, regularize=terms, **own)
    model.after_step(0.1)
    pruned = model.prune("a", "c")
    assert set(pruned.regularization()) == {"mrn", "amtl", "cluster"}
    assert list(pruned.regularization()["cluster"]["cluster"]) == ["a", "c"]
    pruned.after_step(0.1)
    whole = model.regularization()["mrn"]["correlation"]
    found = model.prune("a", "c").regularization()["mrn"]["correlation"]
    for weight, rows in found.items():
        assert rows["a"]["c"] == pytest.approx(whole[weight]["a"]["c"])
    alone = model.prune("b")
    assert alone.regularization() == {}
    alone.after_step(0.1)


@pytest.mark.parametrize("name", PARALLEL)
def test_a_lone_task_has_no_term(name: str) -> None:
    model = made(
        name, A, regularize=["l2", "amtl", "cluster", "decorrelation"][name == "soft_sharing" :]
    )
    assert not {"l2", "amtl", "cluster", "decorrelation"} & set(model.penalties())
    assert model.regularization() == {}
    model.after_step(0.1)
    model.observe({"a": 1.0})


def test_terms_beside_the_one_of_soft_sharing() -> None:
    model = made("soft_sharing", regularize=["decorrelation"], stages=[2])
    assert list(model.penalties()) == ["l2", "decorrelation"]
    assert set(model.parallel_parameters()) == {"stages.1.0.weight", "stages.1.0.bias"}
    with pytest.raises(UserError, match="the term 'l2' stands there 2 times"):
        made("soft_sharing", regularize=["l2"])


def test_frozen_networks_are_left_alone() -> None:
    model = made("single_task", fresh=True, regularize=[{"l2": {"strength": 5.0, "prox": True}}])
    networks = model.get_submodule("encoders")
    frozen = networks.get_submodule("a").requires_grad_(False)
    learning = next(networks.get_submodule("b").parameters())
    before, other = [p.clone() for p in frozen.parameters()], learning.clone()
    model.after_step(0.5)
    assert all(p.equal(q) for p, q in zip(frozen.parameters(), before, strict=True))
    assert not learning.equal(other)
    model.requires_grad_(False)
    assert model.penalties() == {}


def test_terms_that_read_no_weight() -> None:
    encoder = nn.Sequential(nn.LayerNorm(4))
    options: dict[str, Any] = {"example": torch.zeros(2, 4)}
    with pytest.raises(UserError, match="'tucker' reads weights with 2 or more dimensions"):
        create_architecture("single_task", encoder, [A, B], regularize=["tucker"], **options)
    create_architecture("single_task", encoder, [A, B], regularize=["l2"], **options)


class TestConformance(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=["single_task", "cross_stitch", "nddr", "sluice"])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        terms = ["l2", {"amtl": {"every": 1}}, {"trace_norm": {"prox": True}}]
        encoder = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU()),
        )
        x = images()
        made = create_architecture(self.name, encoder, tasks, regularize=terms, example=x[:2])
        return made, x, tasks


@pytest.mark.parametrize("name", PARALLEL)
def test_several_terms_as_a_mapping_are_the_sum_of_each_alone(name: str) -> None:
    """As YAML writes it best; also for a single name."""
    own = {"strength": 0} if name == "soft_sharing" else {}
    both = {"l2": {"strength": 0.2}, "trace_norm": {"strength": 0.1}}
    together = made(name, fresh=True, regularize=both, **own).penalties()
    for term, options in both.items():
        alone = made(name, fresh=True, regularize={term: options}, **own).penalties()
        torch.testing.assert_close(together[term], alone[term])
    bare = made(name, fresh=True, regularize="l2", **own).penalties()["l2"]
    torch.testing.assert_close(together["l2"], 20 * bare)


def test_proximal_steps_of_several_follow_one_another() -> None:
    terms = {"trace_norm": {"strength": 0.5, "prox": True}, "l2": {"strength": 0.3, "prox": True}}
    model = made("single_task", fresh=True, regularize=terms)
    before = stacks(model, 2)
    model.after_step(0.2)
    first = create_regularizer("trace_norm", strength=0.5)
    then = create_regularizer("l2", strength=0.3)
    for old, new in zip(before, stacks(model, 2), strict=True):
        torch.testing.assert_close(new, then.prox(first.prox(old, 0.2), 0.2))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("trce_norm", "did you mean 'trace_norm'"),
        ({"mrn": {"evry": 3}}, "did you mean 'every'"),
        ([{"cluster": {"clusters": "two"}}], "clusters should be a whole number"),
        (["l2", "L2"], "the term 'l2' stands there 2 times"),
        (None, "a regularizer is a name"),
        (0.1, "a regularizer is a name"),
        ([["l2"]], "a regularizer is a name"),
    ],
)
@pytest.mark.parametrize("name", ["single_task", "sluice", "soft_sharing"])
def test_mistyped_terms(name: str, wanted: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(name, regularize=wanted, **({"strength": 0} if name == "soft_sharing" else {}))


def test_networks_of_different_shapes_are_refused() -> None:
    class Uneven(SingleTask):
        def parallel_parameters(self) -> dict[str, list[nn.Parameter]]:
            found = super().parallel_parameters()
            name, parameters = next(iter(found.items()))
            return {name: [nn.Parameter(parameters[0][:2]), *parameters[1:]]}

    with pytest.raises(UserError, match=r"of different shapes: \(2, 4\) for a, \(5, 4\) for b"):
        Uneven(create_encoder("mlp", TABLE, hidden=(16,)), [A, B], regularize=["l2"])


def test_a_term_given_ready_made_to_two_models_learns_twice() -> None:
    ready = create_regularizer("mrn", every=1)
    one, other = (made("single_task", fresh=True, regularize=ready) for _ in range(2))
    before = other.regularization()
    one.after_step(0.1)
    assert one.regularization() != before
    assert other.regularization() == before
    assert not list(ready.named_buffers())[1:], "the one that was given is as it was"
