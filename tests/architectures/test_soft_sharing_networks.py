"""The networks that a term holds together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import create_architecture, create_encoder
from polytask.architectures.soft_sharing import SoftSharing
from polytask.errors import UserError
from polytask.optimization import create_method
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TERMS = ("l2", "trace_norm", "tucker", "mrn")


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def stacks(model: SoftSharing) -> list[Tensor]:
    networks = [model.encoders[t] for t in model.task_names]
    return [
        torch.stack([network.get_parameter(name) for network in networks]).detach()
        for name in model.tied
    ]


def disturbed(**options: Any) -> SoftSharing:
    """Networks that differ."""
    torch.manual_seed(0)
    return SoftSharing(mlp(), [A, B, C], fresh=True, **options)


@pytest.mark.parametrize("fresh", [True, False])
def test_without_strength_it_is_single_task(fresh: bool) -> None:
    outputs = []
    for name, options in (("soft_sharing", {"strength": 0}), ("single_task", {})):
        torch.manual_seed(3)
        model = create_architecture(name, mlp(), [A, B, C], fresh=fresh, **options)
        assert model.penalties() == {}
        outputs.append(model(first(wine()[0], 20)))
    assert all(outputs[0][t].equal(outputs[1][t]) for t in "abc")


def test_networks_start_alike() -> None:
    encoder = mlp()
    model = SoftSharing(encoder, [A, B])
    for network in (model.encoders["a"], model.encoders["b"]):
        assert all(p.equal(network.get_parameter(n)) for n, p in encoder.named_parameters())
    assert model.penalties()["l2"].item() == 0


def test_nothing_is_shared_and_gradients_are_refused() -> None:
    model = digit_model("soft_sharing")
    _, features = model(images(), return_features=True)
    assert features is None
    assert {len(users) for users in model.shared_parameters().values()} == {1}
    with pytest.raises(UserError, match="share none that require a gradient"):
        trained(model, method=create_method("pcgrad"), epochs=1)


def test_l2_is_the_sum_over_pairs_of_networks() -> None:
    model = disturbed(strength=0.3)
    pairs = [
        (x[i] - x[j]).square().sum() for x in stacks(model) for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    torch.testing.assert_close(model.penalties()["l2"].detach(), 0.15 * torch.stack(pairs).sum())
    assert set(model.tied) == {n for n, _ in model.encoders["a"].named_parameters()}


def test_matrix_terms_sum_over_weights() -> None:
    model = disturbed(term="trace_norm", strength=0.3)
    norms = [torch.linalg.matrix_norm(x.flatten(1), "nuc") for x in stacks(model)]
    value = model.penalties()["trace_norm"].detach()
    torch.testing.assert_close(value, 0.3 * torch.stack(norms).sum())
    assert all(x.dim() > 2 for x in stacks(model))
    model = disturbed(term="mrn", strength=0.3)
    ridge = torch.stack([x.square().sum() for x in stacks(model)]).sum()
    torch.testing.assert_close(model.penalties()["mrn"].detach(), 0.15 * ridge)


def test_only_the_chosen_stages_are_tied() -> None:
    assert disturbed(stages=[2]).tied == ("stages.1.0.weight", "stages.1.0.bias")
    assert disturbed(term="mrn", stages=[2, 3]).tied == ("stages.1.0.weight", "stages.2.0.weight")


def test_frozen_weights_are_not_tied() -> None:
    encoder = mlp()
    encoder.stages[0].requires_grad_(False)
    model = SoftSharing(encoder, [A, B])
    assert not any(name.startswith("stages.0") for name in model.tied)
    model.requires_grad_(False)
    assert model.penalties() == {}


@pytest.mark.parametrize("prox", [True, False])
def test_a_great_strength_is_hard_sharing(prox: bool) -> None:
    """By proximal steps without bound; by gradients as far as lr * strength * tasks < 2."""
    model = disturbed(strength=1e6 if prox else 5, prox=prox)
    apart = sum(x.var(dim=0).sum().item() for x in stacks(model))
    x = first(wine()[0], 20)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.stack([o.square().mean() for o in model(x).values()]).sum()
        (loss + sum(model.penalties().values())).backward()
        optimizer.step()
        model.after_step(0.1)
    left = sum(x.var(dim=0).sum().item() for x in stacks(model))
    assert left < (1e-9 if prox else 1e-3) * apart


def test_proximal_steps_replace_the_gradient() -> None:
    model = disturbed(term="trace_norm", strength=0.5, prox=True)
    assert model.penalties() == {}
    before = [torch.linalg.svdvals(x.flatten(1)) for x in stacks(model)]
    model.after_step(0.2)
    for values, stack in zip(before, stacks(model), strict=True):
        after = torch.linalg.svdvals(stack.flatten(1))
        torch.testing.assert_close(after, (values - 0.1).clamp(min=0), rtol=1e-4, atol=1e-5)


def test_covariances_are_estimated_when_due() -> None:
    model = disturbed(term="mrn", every=3, epsilon=1e-3)
    identity = {name: torch.eye(3) for name in model.tied}
    for _ in range(2):
        model.after_step(0.1)
    assert all(value.equal(identity[name]) for name, value in model.correlations().items())
    model.after_step(0.1)
    found = model.correlations()["stages.0.0.weight"]
    assert not found.equal(torch.eye(3))
    weights = stacks(model)[model.tied.index("stages.0.0.weight")].flatten(1)
    expected = weights @ weights.T
    scale = expected.diagonal().sqrt()
    torch.testing.assert_close(found, expected / scale / scale[:, None], rtol=0.01, atol=0.01)


def test_all_covariances_keep_their_traces() -> None:
    model = disturbed(term="mrn", covariance="all", every=1)
    model.after_step(0.1)
    for prior, stack in zip(model.priors, stacks(model), strict=True):
        for mode, size in enumerate(stack.flatten(2).shape):
            assert prior.covariance(mode).trace().item() == pytest.approx(size, rel=1e-4)
    model.penalties()["mrn"].backward()
    assert model.encoders["a"].get_parameter("stages.0.0.weight").grad.isfinite().all()


def test_a_pruned_model_keeps_the_covariances_of_its_tasks() -> None:
    model = disturbed(term="mrn", every=1)
    model.after_step(0.1)
    pruned = model.prune("a", "c")
    chosen = torch.tensor([0, 2])
    for prior, whole in zip(pruned.priors, model.priors, strict=True):
        assert prior.covariance(0).equal(whole.covariance(0)[chosen][:, chosen])
        assert whole.covariance(0).shape == (3, 3)
    pruned.penalties()["mrn"].backward()
    pruned.after_step(0.1)
    alone = model.prune("b")
    assert alone.penalties() == {}
    alone.after_step(0.1)


def test_a_lone_task_has_no_term() -> None:
    for term in TERMS:
        model = SoftSharing(mlp(), [A], term=term)
        assert model.penalties() == {}
        model.after_step(0.1)
    with pytest.raises(UserError, match="correlations belong to the term 'mrn'"):
        model.correlations()


@pytest.mark.parametrize("term", TERMS)
def test_training_on_digits_lowers_the_loss(term: str) -> None:
    losses = trained(digit_model("soft_sharing", term=term, every=5), epochs=2)
    assert losses[-1] < 0.9 * losses[0]


def test_the_trainer_takes_the_term_into_account() -> None:
    apart = []
    for strength in (0.0, 10.0):
        model = digit_model("soft_sharing", strength=strength)
        trained(model, epochs=1, optimizer="sgd")
        apart.append(sum(x.var(dim=0).sum().item() for x in stacks(model)))
    assert apart[1] < 0.2 * apart[0]


def test_state_round_trip_with_covariances() -> None:
    model = digit_model("soft_sharing", term="mrn", every=1, fresh=True)
    model.after_step(0.1)
    other = digit_model("soft_sharing", seed=1, term="mrn", every=1, fresh=True)
    assert same_after_loading(model, other)
    assert other.penalties()["mrn"].equal(model.penalties()["mrn"])
    assert int(other.steps) == 1


def test_errors() -> None:
    with pytest.raises(UserError, match="did you mean 'trace_norm'"):
        SoftSharing(mlp(), [A, B], term="tracenorm")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown covariance 'both'"):
        SoftSharing(mlp(), [A, B], covariance="both")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="strength must be a number from 0 up, found -1"):
        SoftSharing(mlp(), [A, B], strength=-1)
    with pytest.raises(UserError, match="epsilon must be a number above 0, found 0"):
        SoftSharing(mlp(), [A, B], epsilon=0)
    with pytest.raises(UserError, match="every must be a whole number of steps above 0, found 0"):
        SoftSharing(mlp(), [A, B], every=0)
    with pytest.raises(UserError, match="no proximal step in closed form"):
        SoftSharing(mlp(), [A, B], term="tucker", prox=True)
    with pytest.raises(UserError, match="from 1 to 3, found"):
        SoftSharing(mlp(), [A, B], stages=[4])
    norms = nn.Sequential(nn.LayerNorm(4))
    with pytest.raises(UserError, match="expected weights to tie, with 2 or more dimensions"):
        SoftSharing(norms, [A, B], term="tucker", example=torch.zeros(2, 4))


class TestConformance(ArchitectureConformance):
    @pytest.fixture(
        autouse=True,
        params=[
            (tokens, {"term": "trace_norm"}),
            (tokens, {"term": "mrn", "covariance": "all", "every": 1}),
            (flattening, {"term": "tucker", "fresh": True}),
            (flattening, {"prox": True, "stages": [1, 3]}),
            (flattening, {"term": "trace_norm", "prox": True}),
        ],
        ids=["trace norm", "mrn", "tucker", "l2 prox", "trace norm prox"],
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return SoftSharing(self.encoder(), tasks, **self.options), images(), tasks
