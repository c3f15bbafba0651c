from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures.cross_stitch import CrossStitch
from polytask.errors import UserError
from polytask.optimization import create_method
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def inputs(encoder: Any) -> Any:
    return first(wine()[0], 20) if encoder is mlp else images(20)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("encoder", [mlp, tokens, flattening])
def test_identity_is_independent_networks_to_the_bit(
    encoder: Any, training: bool, fresh: bool, per_channel: bool
) -> None:
    outputs = []
    for name, options in (
        ("cross_stitch", {"keep": 1.0, "per_channel": per_channel}),
        ("single_task", {}),
    ):
        torch.manual_seed(3)
        model = create_architecture(name, encoder(), [A, B, C], fresh=fresh, **options)
        outputs.append(model.train(training)(inputs(encoder)))
    assert all(outputs[0][t].equal(outputs[1][t]) for t in "abc")


def test_a_lone_task_is_the_encoder_as_it_is() -> None:
    outputs = []
    for name in ("cross_stitch", "hard_sharing"):
        torch.manual_seed(3)
        model = create_architecture(name, mlp(), [B])
        outputs.append(model(inputs(mlp))["b"])
    assert outputs[0].equal(outputs[1])
    assert not CrossStitch(mlp(), [B]).rate_factors()


def test_rows_start_at_keep_and_sum_to_one() -> None:
    model = CrossStitch(mlp(), [A, B, C], keep=0.8)
    for stage in (1, 2, 3):
        expected = torch.full((3, 3), 0.1) + 0.7 * torch.eye(3)
        torch.testing.assert_close(model.alphas(stage), expected)
    assert model.joint(2)["a"].alpha.shape == (3, 12)


def test_the_equation() -> None:
    """Two columns of two stages, mixed by hand after each."""
    encoder = Staged([nn.Linear(4, 6), nn.Linear(6, 5)], widths=(6, 5))
    model = CrossStitch(encoder, [A, B])
    with torch.no_grad():
        for unit in model.joints.parameters():
            unit.copy_(torch.randn_like(unit))
    x = torch.randn(7, 4)
    h = {"a": x, "b": x}
    for stage in (0, 1):
        h = {t: model.columns[t].stages[stage](h[t]) for t in "ab"}
        alpha = {t: model.joint(stage + 1)[t].alpha for t in "ab"}
        h = {t: alpha[t][0] * h["a"] + alpha[t][1] * h["b"] for t in "ab"}
    outputs = model(x)
    for task in "ab":
        torch.testing.assert_close(outputs[task], model.heads[task](h[task]))


def test_maps_are_mixed_by_channel() -> None:
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3))
    model = CrossStitch(encoder, [A, B], example=images(2))
    alpha = torch.randn(2, 4)
    model.joint(1)["b"].alpha.data.copy_(alpha)
    maps = [model.columns[t].stages[0](images()) for t in "ab"]
    mixed = alpha[0, :, None, None] * maps[0] + alpha[1, :, None, None] * maps[1]
    torch.testing.assert_close(model(images())["b"], model.heads["b"](mixed))


def test_users_of_what_comes_before_and_after_the_last_stitch() -> None:
    users = CrossStitch(mlp(), [A, B], stages=[2]).shared_parameters()
    everyone = ("a", "b")
    assert users["columns.a.stages.0.0.weight"] == users["columns.b.stages.1.0.weight"] == everyone
    assert users["columns.a.entrance.embeddings.0.weight"] == everyone
    assert users["columns.a.stages.2.0.weight"] == ("a",)
    assert users["joints.2.b.alpha"] == ("b",)
    users = CrossStitch(mlp(), [A, B]).shared_parameters()
    assert users["joints.2.b.alpha"] == everyone
    assert users["columns.a.stages.2.0.weight"] == everyone
    assert users["joints.3.b.alpha"] == ("b",)


def test_a_pruned_model_keeps_the_columns_it_reads() -> None:
    model = CrossStitch(mlp(), [A, B, C], stages=[2])
    pruned = model.prune("b", "c")
    names = {name for name, _ in pruned.named_parameters()}
    assert "columns.a.stages.1.0.weight" in names
    assert "columns.a.stages.2.0.weight" not in names
    assert "joints.2.a.alpha" not in names
    assert pruned.alphas(2)[0].isnan().all()
    torch.testing.assert_close(pruned.alphas(2)[1:], model.alphas(2)[1:])
    assert set(pruned.rate_factors()) == {"joints.2.b.alpha", "joints.2.c.alpha"}
    assert pruned.prune("c")(inputs(mlp))["c"].equal(model(inputs(mlp))["c"])


def test_a_task_starts_the_same_in_any_company() -> None:
    states = []
    for tasks in ([A, B], [C, B, A]):
        torch.manual_seed(3)
        states.append(CrossStitch(mlp(), tasks).columns["b"].state_dict())
    assert all(value.equal(states[1][name]) for name, value in states[0].items())


def test_gradients_meet_in_front_of_the_last_stitch() -> None:
    """At x_j, the gradient of task i is alpha_ij times its gradient at the mixture."""
    model = CrossStitch(mlp(), [A, B], per_channel=False)
    outputs, features = model(inputs(mlp), return_features=True)
    assert isinstance(features, list)
    found = torch.autograd.grad(outputs["a"].sum(), features)
    torch.testing.assert_close(found[0] * 0.1, found[1] * 0.9)


def test_rates_of_alpha_reach_the_optimizer() -> None:
    model = CrossStitch(mlp(), [A, B], alpha_rate=50)
    factors = model.rate_factors()
    assert len(factors) == 6
    assert set(factors.values()) == {50.0}
    assert all(name.endswith("alpha") for name in factors)


METHODS = [("linear", {}), *(("pcgrad", {"statistic": s}) for s in ("tail", "features"))]


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_training_on_digits_lowers_the_loss(method: str, options: dict[str, str]) -> None:
    model = digit_model("cross_stitch")
    before = {name: value.clone() for name, value in model.named_parameters()}
    losses = trained(model, method=create_method(method, **options), epochs=2)
    assert losses[-1] < 0.7 * losses[0]
    assert not [n for n, p in model.named_parameters() if p.equal(before[n])]


def test_state_round_trip() -> None:
    assert same_after_loading(digit_model("cross_stitch"), digit_model("cross_stitch", seed=1))


class Shrinking(nn.Module):
    """Answers other channels than declared."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.layer(x)[:, :5]
        return answer


def test_errors() -> None:
    with pytest.raises(UserError, match=r"keep must be a number from 0 to 1, found 1\.5"):
        CrossStitch(mlp(), [A, B], keep=1.5)
    with pytest.raises(UserError, match="alpha_rate must be a number above 0, found 0"):
        CrossStitch(mlp(), [A, B], alpha_rate=0)
    with pytest.raises(UserError, match=r"stages of the encoder, from 1 to 3, found \[4\]"):
        CrossStitch(mlp(), [A, B], stages=[4])
    with pytest.raises(UserError, match="no stitch after stage 1"):
        CrossStitch(mlp(), [A, B], stages=[2]).alphas(1)
    unknown = Staged([nn.Linear(4, 6), nn.Linear(6, 5)])
    unknown.output_size = 5
    with pytest.raises(UserError, match=r"widths of the stages .* not known"):
        CrossStitch(unknown, [A, B])
    CrossStitch(unknown, [A, B], per_channel=False)(torch.randn(2, 4))
    wrong = Staged([Shrinking(), nn.Linear(5, 5)], widths=(6, 5))
    with pytest.raises(UserError, match="built for 6 channels"):
        CrossStitch(wrong, [A, B])(torch.randn(2, 4))


class Hint(nn.Module):
    """Tokens, and a context that is learned from them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tokens = image[:, 0]
        return tokens, {"hint": self.layer(tokens).mean(dim=1, keepdim=True)}


class Reader(nn.Module):
    """A stage that reads the hint."""

    takes_context = True

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, h: Tensor, context: dict[str, Tensor]) -> Tensor:
        answer: Tensor = torch.tanh(self.layer(h) + context["hint"])
        return answer


def hinted() -> Staged:
    return Staged([Reader(), Reader()], Hint(), channel_dim=-1, widths=(8, 8))


class TestConformance(ArchitectureConformance):
    @pytest.fixture(
        autouse=True,
        params=[
            (tokens, {}),
            (tokens, {"stages": [1]}),
            (flattening, {"per_channel": False, "stages": [2]}),
            (flattening, {"fresh": False}),
            (hinted, {}),
            (hinted, {"stages": [1]}),
        ],
        ids=["tokens", "tokens-early", "scalar", "same", "context", "context-early"],
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return CrossStitch(self.encoder(), tasks, **self.options), images(), tasks
