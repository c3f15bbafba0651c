from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, tokens, trained

from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures._factorised import FORMS, LAF, TensorTrain, Tucker, rank_within
from polytask.architectures.dmtrl import DMTRL
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TASKS = ("a", "b", "c")
FORM = pytest.mark.parametrize("form", list(FORMS))


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=stream)


def rebuilt(factors: nn.Module) -> Tensor:
    return torch.stack([factors(task) for task in TASKS], dim=-1).detach()


@FORM
@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 2, 2, 3), (6, 1, 3), (3,)])
def test_full_rank_is_the_weights_themselves(form: str, shape: tuple[int, ...]) -> None:
    stack = drawn(*shape) if len(shape) > 1 else drawn(1, 3)
    torch.testing.assert_close(rebuilt(FORMS[form](stack, TASKS, 0)), stack)


def test_the_products() -> None:
    laf = LAF(drawn(4, 5, 3), TASKS, 0)
    assert [tuple(f.shape) for f in laf.factors] == [(20, 3)]
    tucker = Tucker(drawn(4, 5, 3), TASKS, 0)
    core, first_basis, second_basis = tucker.factors
    row = tucker.rows["b"]()
    by_hand = torch.einsum("abt,ia,jb,t->ij", core, first_basis, second_basis, row)
    torch.testing.assert_close(tucker("b"), by_hand)
    chain = TensorTrain(drawn(4, 5, 2, 3), TASKS, 0)
    by_hand = torch.einsum("xia,ajb,bkc,c->ijk", *chain.factors, chain.rows["c"]())
    torch.testing.assert_close(chain("c"), by_hand)


@FORM
@pytest.mark.parametrize("error", [0.05, 0.3, 0.6])
def test_what_is_left_out_is_within_the_error(form: str, error: float) -> None:
    stack = drawn(8, 9, 3) * torch.logspace(0, -2, 9, dtype=torch.float64)[:, None]
    model = FORMS[form](stack, TASKS, error)
    lost = (rebuilt(model) - stack).norm() / stack.norm()
    cuts = {"laf": 1, "tucker": 3, "tt": 2}[form]
    assert lost <= error * cuts**0.5
    whole = sum(p.numel() for p in FORMS[form](stack, TASKS, 0).parameters())
    if error > 0.5:
        assert sum(p.numel() for p in model.parameters()) < whole


@FORM
def test_the_rank_among_tasks_is_found(form: str) -> None:
    latent, mixing = drawn(6, 7, 2), drawn(2, 3, seed=1)
    stack = latent @ mixing + 1e-3 * drawn(6, 7, 3, seed=2)
    assert len(FORMS[form](stack, TASKS, 0.1).rows["a"]()) == 2
    assert len(FORMS[form](stack, TASKS, 0).rows["a"]()) == 3


def test_the_least_rank_within_an_error() -> None:
    values = torch.tensor([4.0, 3.0, 0.0], dtype=torch.float64)  # norm 5
    assert rank_within(values, 0) == 2
    assert rank_within(values, 0.59) == 2
    assert rank_within(values, 0.61) == 1
    assert rank_within(values, 0.99) == 1
    assert rank_within(torch.zeros(3, dtype=torch.float64), 0.1) == 1


@FORM
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("encoder", [mlp, tokens, flattening])
def test_at_full_rank_it_starts_as_single_task(form: str, encoder: Any, training: bool) -> None:
    x = first(wine()[0], 20) if encoder is mlp else images(20)
    outputs = []
    for name, options in (("dmtrl", {"form": form, "error": 0}), ("single_task", {})):
        torch.manual_seed(3)
        model = create_architecture(name, encoder(), [A, B, C], **options)
        outputs.append(model.train(training)(x))
    for task in TASKS:
        torch.testing.assert_close(outputs[0][task], outputs[1][task])


def test_a_lone_task_is_the_encoder_as_it_is() -> None:
    outputs = []
    for name in ("dmtrl", "hard_sharing"):
        torch.manual_seed(3)
        model = create_architecture(name, mlp(), [B])
        outputs.append(model(first(wine()[0], 20))["b"])
    assert outputs[0].equal(outputs[1])
    assert DMTRL(mlp(), [A]).factorised == ()


def test_factors_are_shared_and_vectors_are_not() -> None:
    model = DMTRL(mlp(), [A, B])
    users = model.shared_parameters()
    assert users["layers.0.factors.0"] == ("a", "b")
    assert users["layers.0.rows.a.row"] == ("a",)
    assert users["columns.b.stages.0.0.bias"] == ("b",)
    assert "columns.b.stages.0.0.weight" not in users
    names = [name for _, name in model.factorised]
    assert names == ["0.0.weight", "1.0.weight", "2.0.weight"]
    _, features = model(first(wine()[0], 4), return_features=True)
    assert features is None


def test_trained_networks_are_what_it_starts_from() -> None:
    torch.manual_seed(0)
    networks = {"b": mlp(), "a": mlp()}
    before = copy.deepcopy(networks)
    model = DMTRL(mlp(), [A, B], error=0, networks=networks)
    x = first(wine()[0], 20)
    for task in "ab":
        expected = model.heads[task](networks[task](x))
        torch.testing.assert_close(model(x)[task], expected)
        left = zip(networks[task].parameters(), before[task].parameters(), strict=True)
        assert all(p.equal(q) for p, q in left)


def test_networks_that_are_alike_have_rank_one_among_tasks() -> None:
    assert set(DMTRL(mlp(), [A, B, C], fresh=False).ranks().values()) == {1}
    drawn_apart = DMTRL(mlp(), [A, B, C]).ranks()
    assert drawn_apart == {f"stages.{n}.0.weight": 3 for n in (0, 1, 2)}


def test_only_the_chosen_stages_are_factorised() -> None:
    model = DMTRL(mlp(), [A, B], stages=[3])
    assert list(model.ranks()) == ["stages.2.0.weight"]
    assert model.shared_parameters()["columns.a.stages.0.0.weight"] == ("a",)


class Tied(nn.Module):
    """Two layers of one weight, a convolution, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
        self.other.weight = self.one.weight
        self.convolution = nn.ConvTranspose1d(1, 2, 3, padding=1)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.frozen(self.other(self.one(x)))
        answer: Tensor = self.convolution(h[:, None])
        return answer


def test_weights_used_twice_and_frozen_ones_stay_as_they_are() -> None:
    model = DMTRL(Staged([Tied()], widths=(2,)), [A, B], error=0)
    assert list(model.ranks()) == ["stages.0.convolution.weight"]
    outputs = model(torch.randn(5, 8))
    sum(o.sum() for o in outputs.values()).backward()
    assert model.get_parameter("layers.0.factors.0").grad is not None


def test_attention_runs_with_a_factorised_output_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    encoder = Staged([layer], channel_dim=-1, widths=(8,))
    outputs = []
    for name, options in (("dmtrl", {"error": 0}), ("single_task", {})):
        torch.manual_seed(3)
        model = create_architecture(name, encoder, [A, B], **options).eval()
        with torch.no_grad():
            outputs.append(model(images(4)[:, 0]))
    for task in "ab":
        torch.testing.assert_close(outputs[0][task], outputs[1][task], rtol=1e-4, atol=1e-5)


def test_autocast_leaves_the_factors_in_their_precision() -> None:
    model = DMTRL(mlp(), [A, B])
    layer = model.layers[0]
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer("a")
    assert inside.equal(layer("a"))


def test_a_loaded_state_brings_its_ranks() -> None:
    torch.manual_seed(0)
    cut, whole = DMTRL(mlp(), [A, B], error=0.6), DMTRL(mlp(), [A, B], error=0)
    x = first(wine()[0], 20)
    parameters = list(whole.parameters())
    whole.load_state_dict(cut.state_dict())
    assert all(whole(x)[t].equal(cut(x)[t]) for t in "ab")
    assert all(p is q for p, q in zip(whole.parameters(), parameters, strict=True))
    with pytest.raises(RuntimeError, match="size mismatch for layers"):
        DMTRL(mlp(16, 9, 8), [A, B]).load_state_dict(cut.state_dict())


def test_a_pruned_model_keeps_the_factors() -> None:
    model = DMTRL(mlp(), [A, B, C], form="laf").eval()
    pruned = model.prune("b")
    names = {name for name, _ in pruned.named_parameters()}
    assert "layers.0.factors.0" in names
    assert "layers.0.rows.a.row" not in names
    assert pruned.ranks() == model.ranks()
    x = first(wine()[0], 20)
    assert pruned(x)["b"].equal(model(x)["b"])


@FORM
def test_training_on_digits_lowers_the_loss(form: str) -> None:
    losses = trained(digit_model("dmtrl", form=form), epochs=2)
    assert losses[-1] < 0.9 * losses[0]


def test_errors() -> None:
    with pytest.raises(UserError, match="did you mean 'tucker'"):
        DMTRL(mlp(), [A, B], form="tuker")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="error must be a number from 0 up and below 1, found 1"):
        DMTRL(mlp(), [A, B], error=1)
    with pytest.raises(UserError, match="expected trainable linear or convolutional layers"):
        DMTRL(nn.Sequential(nn.GRUCell(4, 3)), [A, B], example=torch.zeros(2, 4))
    with pytest.raises(UserError, match="unknown task in networks: 'd'"):
        DMTRL(mlp(), [A, B], networks={"d": mlp()})
    with pytest.raises(UserError, match="a trained encoder for every task, found None for 'b'"):
        DMTRL(mlp(), [A, B], networks={"a": mlp()})
    with pytest.raises(UserError, match="must have the parameters of the encoder"):
        DMTRL(mlp(), [A, B], networks={"a": mlp(), "b": mlp(4)})


class TestConformance(ArchitectureConformance):
    @pytest.fixture(
        autouse=True,
        params=[
            (tokens, {"form": "laf", "error": 0}),
            (tokens, {"form": "tt", "stages": [2]}),
            (flattening, {"form": "tucker", "fresh": False}),
            (flattening, {"form": "tt", "error": 0.5}),
        ],
        ids=["laf", "tt-one", "tucker-same", "tt"],
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return DMTRL(self.encoder(), tasks, **self.options), images(), tasks
