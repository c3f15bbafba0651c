from __future__ import annotations

from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures._subspaces import inner_products, output_weight
from polytask.architectures.sluice import Sluice
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def inputs(encoder: Any) -> Any:
    return first(wine()[0], 20) if encoder is mlp else images(20)


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("encoder", [mlp, tokens, flattening])
def test_identity_and_the_last_layer_are_independent_networks_to_the_bit(
    encoder: Any, training: bool, skip: bool
) -> None:
    outputs = []
    for name, options in (
        ("sluice", {"keep": 1.0, "last": 1.0, "skip": skip}),
        ("single_task", {}),
    ):
        torch.manual_seed(3)
        model = create_architecture(name, encoder(), [A, B, C], **options)
        outputs.append(model.train(training)(inputs(encoder)))
    assert all(outputs[0][t].equal(outputs[1][t]) for t in "abc")


def test_a_lone_task_without_skip_is_the_encoder_as_it_is() -> None:
    outputs = []
    for name, options in (("sluice", {"skip": False}), ("hard_sharing", {})):
        torch.manual_seed(3)
        model = create_architecture(name, mlp(), [B], **options)
        outputs.append(model(inputs(mlp))["b"])
    assert outputs[0].equal(outputs[1])
    assert list(Sluice(mlp(), [B]).rate_factors()) == ["skips.b.beta"]


def test_the_equation() -> None:
    """Columns of two stages: alpha over four subspaces as a matrix, beta over two layers."""
    torch.manual_seed(0)
    encoder = Staged([nn.Linear(4, 6), nn.Linear(6, 6)], widths=(6, 6))
    model = Sluice(encoder, [A, B])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("alpha", "beta")):
                parameter.copy_(torch.randn_like(parameter))
    x = torch.randn(7, 4)
    h = {"a": x, "b": x}
    layers: list[dict[str, Tensor]] = []
    for stage in (0, 1):
        h = {t: model.columns[t].stages[stage](h[t]) for t in "ab"}
        alpha = torch.cat([model.joint(stage + 1)[t].alpha for t in "ab"])
        stacked = torch.stack([h["a"][:, :3], h["a"][:, 3:], h["b"][:, :3], h["b"][:, 3:]])
        a1, a2, b1, b2 = torch.einsum("st,tnc->snc", alpha, stacked)
        h = {"a": torch.cat([a1, a2], dim=1), "b": torch.cat([b1, b2], dim=1)}
        layers.append(h)
    outputs = model(x)
    for task in "ab":
        beta = model.skips[task].beta
        z = beta[0] * layers[0][task] + beta[1] * layers[1][task]
        torch.testing.assert_close(outputs[task], model.heads[task](z))


def alphas(stage: int = 1, count: int = 2, **options: Any) -> Tensor:
    tasks = [A, B, C][:count]
    model = Sluice(mlp(), tasks, **options)
    return torch.cat([model.joint(stage)[t.name].alpha for t in tasks]).detach()


def test_starts_of_alpha() -> None:
    own = alphas()
    torch.testing.assert_close(own.diagonal(), torch.full((4,), 0.9))
    torch.testing.assert_close(own.fill_diagonal_(1 / 30), torch.full((4, 4), 1 / 30))
    torch.testing.assert_close(alphas(init="uniform"), torch.full((4, 4), 0.25))
    expected = torch.tensor([[0.025, 0.475] * 2] * 2 + [[0.475, 0.025] * 2] * 2)
    torch.testing.assert_close(alphas(init="imbalanced"), expected)
    for init in ("own", "uniform", "imbalanced"):
        torch.testing.assert_close(alphas(3, 3, init=init).sum(dim=1), torch.ones(6))


def test_starts_of_beta_and_its_maps() -> None:
    skip = Sluice(mlp(8, 12, 8), [A, B], last=0.8).skips["a"]
    torch.testing.assert_close(skip.beta.detach(), torch.tensor([0.1, 0.1, 0.8]))
    kinds = [type(m).__name__ for m in skip.maps]
    assert kinds == ["Identity", "Pointwise", "Identity"]


def test_the_penalty_is_zero_for_orthogonal_halves_only() -> None:
    weight = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q[:6]
    assert inner_products(weight) < 1e-25
    weight[0] += weight[4]
    torch.testing.assert_close(inner_products(weight), torch.ones((), dtype=torch.float64))
    kernel = torch.randn(4, 3, 2, 2)
    g1, g2 = kernel[:2].reshape(2, -1).T, kernel[2:].reshape(2, -1).T
    torch.testing.assert_close(inner_products(kernel), (g1.T @ g2).norm() ** 2)


def test_the_penalty_is_part_of_the_objective_and_pulls_apart() -> None:
    torch.manual_seed(0)
    model = Sluice(mlp(), [A, B], orthogonality=0.5, stages=[1, 3])
    assert model.constrained == tuple(
        f"columns.{task}.stages.{stage}.0.weight" for task in "ab" for stage in (0, 2)
    )
    products = [inner_products(model.get_parameter(name)) for name in model.constrained]
    by_hand = torch.stack(products).sum()
    torch.testing.assert_close(model.penalties()["orthogonality"], 0.5 * by_hand)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    before = by_hand.item()
    for _ in range(100):
        optimizer.zero_grad()
        model.penalties()["orthogonality"].backward()
        optimizer.step()
    assert model.penalties()["orthogonality"].item() / 0.5 < 0.1 * before


def test_no_penalty() -> None:
    assert Sluice(mlp(), [A, B], orthogonality=0).penalties() == {}
    assert Sluice(mlp(), [A]).penalties() == {}
    assert set(Sluice(mlp(), [A, B]).prune("b").penalties()) == {"orthogonality"}


def test_the_layer_that_answers_the_channels() -> None:
    inner, outer, other = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
    assert output_weight(nn.Sequential(inner, outer, other), 6) is outer.weight
    assert output_weight(nn.Sequential(nn.LSTM(4, 6)), 6) is None


def test_an_odd_width_may_be_left_out() -> None:
    model = Sluice(mlp(16, 9, 8), [A, B], stages=[1, 3])
    assert model(inputs(mlp))["a"].shape == (20, 1)
    with pytest.raises(UserError, match="stage 2 of the encoder answers 9 channels"):
        Sluice(mlp(16, 9, 8), [A, B])


def test_users() -> None:
    users = Sluice(mlp(), [A, B]).shared_parameters()
    assert users["joints.1.a.alpha"] == ("a", "b")
    assert users["joints.3.a.alpha"] == ("a",)
    assert users["skips.a.beta"] == ("a",)


def test_rates_of_alpha_and_beta() -> None:
    model = Sluice(mlp(), [A, B], alpha_rate=5)
    named = {n for n, _ in model.named_parameters() if n.endswith(("alpha", "beta"))}
    assert model.rate_factors() == dict.fromkeys(named, 5.0)
    assert len(named) == 8


@pytest.mark.parametrize("init", ["own", "imbalanced"])
def test_training_on_digits_lowers_the_loss(init: str) -> None:
    losses = trained(digit_model("sluice", init=init), epochs=3)
    assert losses[-1] < 0.7 * losses[0]


def test_state_round_trip() -> None:
    assert same_after_loading(digit_model("sluice"), digit_model("sluice", seed=1))


def test_errors() -> None:
    with pytest.raises(UserError, match="did you mean 'imbalanced'"):
        Sluice(mlp(), [A, B], init="balanced")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="last must be a number from 0 to 1"):
        Sluice(mlp(), [A, B], last=2)
    with pytest.raises(UserError, match="orthogonality must be a number from 0 up, found -1"):
        Sluice(mlp(), [A, B], orthogonality=-1)
    with pytest.raises(UserError, match=r"found none in any stage. Pass orthogonality=0"):
        Sluice(Staged([Recurrent()], channel_dim=-1, widths=(6,)), [A, B])


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.cell(x)[0]
        return answer


class TestConformance(ArchitectureConformance):
    @pytest.fixture(
        autouse=True,
        params=[
            (tokens, {}),
            (tokens, {"stages": [2], "init": "imbalanced"}),
            (flattening, {"skip": False, "init": "uniform", "orthogonality": 0}),
            (flattening, {"stages": [1], "fresh": False}),
        ],
        ids=["tokens", "tokens-early", "flattening-uniform", "flattening-early"],
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return Sluice(self.encoder(), tasks, **self.options), images(), tasks
