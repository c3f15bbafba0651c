from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from experts_cases import MeanOfNodes, graphs, scaled, words
from real_inputs import DIGITS, TABLE, Output, first, wine
from torch import nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import HardSharing, create_architecture, create_encoder
from polytask.architectures._hard_concrete import HardConcrete, Stretch
from polytask.architectures.snr import SNR
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
TASKS = {task.name: task for task in (A, B, C)}
ENCODERS = {
    "table": lambda: create_encoder("mlp", TABLE, hidden=(16, 12, 8)),
    "image": lambda: create_encoder("resnet", DIGITS, width=4),
    "tokens": tokens,
    "flattening": flattening,
    "graphs": graphs,
    "pooled graphs": lambda: graphs(MeanOfNodes()),
    "learned context": scaled,
    "words": words,
}


def batch_of(encoder: str, count: int = 24) -> Any:
    return first(wine()[0], count) if encoder == "table" else images(count)


def built(encoder: str, seed: int = 0, tasks: Any = TASKS, **options: Any) -> SNR:
    torch.manual_seed(seed)
    return SNR(ENCODERS[encoder](), tasks, example=batch_of(encoder, 2), **options)


def gates_at(values: list[float], stretch: Stretch | None = None) -> HardConcrete:
    gates = HardConcrete(len(values), stretch or Stretch(), 0.5)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor(values))
    return gates


@pytest.mark.parametrize("stretch", [Stretch(), Stretch(2 / 3, -0.1, 1.1), Stretch(0.5, -0.4, 2)])
def test_the_expected_number_of_open_gates(stretch: Stretch) -> None:
    """The closed form against draws, and the chance of exactly 1 likewise."""
    values = [-4.0, -2.0, -0.5, 0.0, 1.0, 3.0]
    torch.manual_seed(0)
    gates = gates_at([v for v in values for _ in range(20_000)], stretch)
    with torch.no_grad():
        z = gates().view(len(values), -1)
        chance = gates.chance().view(len(values), -1)[:, 0]
    torch.testing.assert_close((z > 0).float().mean(1), chance, atol=0.015, rtol=0)
    threshold = (1 - stretch.gamma) / (stretch.zeta - stretch.gamma)
    logit = stretch.beta * math.log(threshold / (1 - threshold))
    whole = torch.sigmoid(torch.tensor(values) - logit)
    torch.testing.assert_close((z == 1).float().mean(1), whole, atol=0.015, rtol=0)
    assert ((z >= 0) & (z <= 1)).all()


def test_gates_in_evaluation() -> None:
    gates = gates_at([-10.0, 0.0, 1.0, 10.0]).eval()
    middle = 1 / (1 + math.exp(-1)) * 1.2 - 0.1
    assert gates().tolist() == pytest.approx([0.0, 0.5, middle, 1.0])
    assert gates()[0] == 0
    assert gates()[3] == 1
    assert gates().equal(gates())
    gates.train()
    assert not gates().equal(gates())
    torch.manual_seed(3)
    one = gates()
    torch.manual_seed(3)
    assert gates().equal(one)


def test_the_gradient_of_the_expectation() -> None:
    """d E[L0] / d log alpha, by differences."""
    gates = gates_at([-1.0, 0.0, 2.0]).double()
    (slope,) = torch.autograd.grad(gates.chance().sum(), gates.log_alpha)
    with torch.no_grad():
        before = gates.chance()
        gates.log_alpha += 1e-6
        after = gates.chance()
    torch.testing.assert_close(slope, (after - before) / 1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("chance", [0.2, 0.98])
def test_gates_start_as_open_as_asked(chance: float) -> None:
    torch.manual_seed(0)
    found = HardConcrete(1000, Stretch(), chance).chance()
    torch.testing.assert_close(found, torch.full((1000,), chance), atol=0.02, rtol=0)
    assert found.unique().numel() > 1


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("variant", ["average", "transform"])
def test_one_sub_network_is_hard_sharing(encoder: str, variant: Any) -> None:
    x = batch_of(encoder)
    one = built(encoder, subnetworks=1, levels=2, shared_stages=0, variant=variant)
    torch.manual_seed(0)
    other = HardSharing(ENCODERS[encoder](), TASKS, example=batch_of(encoder, 2))
    answers = []
    for model in (one, other):
        torch.manual_seed(1)
        outputs, z = model(x, return_features=True)
        answers.append([*outputs.values(), z])
    assert all(a.equal(b) for a, b in zip(*answers, strict=True))
    assert one.penalties() == {}
    assert one.routes() == ([], {})


@pytest.mark.parametrize("variant", ["average", "transform"])
def test_two_levels_are_the_formula(variant: str) -> None:
    model = built("image", subnetworks=2, levels=2, variant=variant).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1 and parameter.numel() == 2:
            parameter.data = torch.randn(2)  # the gates, to somewhere between shut and open
    x = images(6)
    h, context = model.trunk(x)
    low, high = model.levels
    (z,), to_heads = model.routes()

    def taken(weights: torch.Tensor, route: nn.Module, sources: list[torch.Tensor]) -> torch.Tensor:
        if variant == "transform":
            sources = [
                torch.einsum("dc,nchw->ndhw", part.weight, u)
                for part, u in zip(route.maps, sources, strict=True)
            ]
        return weights[0] * sources[0] + weights[1] * sources[1]

    u = [net(h, context) for net in low.nets]
    v = [high.nets[j](taken(z[j], high.routes[j], u), context) for j in range(2)]
    outputs = model(x)
    for task in TASKS:
        expected = model.heads[task](taken(to_heads[task], model.to_heads[task], v))
        torch.testing.assert_close(outputs[task], expected)


@pytest.mark.parametrize("variant", ["average", "transform"])
def test_a_shut_connection_leaves_nothing_behind(variant: str) -> None:
    """With all connections of a sub-network shut, what it holds does not matter."""
    model = built("image", variant=variant).eval()
    with torch.no_grad():
        for reader in model.levels[1].routes:
            reader.gates.log_alpha[1] = -20
    x = images(6)
    outputs = model(x)
    for parameter in model.levels[0].nets[1].parameters():
        nn.init.zeros_(parameter)
    again = model(x)
    assert all(again[t].equal(outputs[t]) for t in TASKS)
    with torch.no_grad():
        for parameter in model.levels[0].nets[2].parameters():
            parameter.zero_()
    assert not any(model(x)[t].equal(outputs[t]) for t in TASKS)


def test_the_term_is_the_expectation_over_what_is_used() -> None:
    model = built("image", l0=0.5, levels=2)
    expected = {}
    model(images(4))
    found = model.penalties()["open connections"]
    chance = {name: torch.sigmoid(p - 0.9 * math.log(0.1 / 1.1)) for name, p in alphas(model)}
    everything = sum(value.sum() for value in chance.values())
    torch.testing.assert_close(found, 0.5 * everything)
    assert len(chance) == 3 + 3
    found.backward()
    assert all(p.grad.gt(0).all() for _, p in alphas(model))
    model(images(4), tasks=("b",))
    expected = [value.sum() for name, value in chance.items() if "to_heads" not in name]
    expected.append(chance["to_heads.b.gates.log_alpha"].sum())
    torch.testing.assert_close(model.penalties()["open connections"], 0.5 * sum(expected))
    model.eval()
    model(images(4))
    assert model.penalties() == {}
    free = built("image", l0=0)
    free(images(4))
    assert free.penalties() == {}


def alphas(model: SNR) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if name.endswith("log_alpha")]


def test_connections_between_levels_are_common_and_those_to_a_head_are_its_own() -> None:
    model = built("image", levels=3)
    users = {name: "".join(who) for name, who in model.shared_parameters().items()}
    assert users["levels.1.routes.0.gates.log_alpha"] == "abc"
    assert users["levels.2.routes.2.gates.log_alpha"] == "abc"
    assert users["to_heads.b.gates.log_alpha"] == "b"
    between, to_heads = model.routes()
    assert [tuple(z.shape) for z in between] == [(3, 3), (3, 3)]
    assert {t: tuple(z.shape) for t, z in to_heads.items()} == {"a": (3,), "b": (3,), "c": (3,)}
    assert list(model.prune("b").routes()[1]) == ["b"]


def test_a_task_starts_the_same_in_any_company() -> None:
    one = built("image", variant="transform").prune("b").state_dict()
    other = built("image", variant="transform", tasks=[Output("z"), B]).prune("b").state_dict()
    assert list(one) == list(other)
    assert all(value.equal(other[name]) for name, value in one.items())


def test_sub_networks_start_from_their_own_weights() -> None:
    torch.manual_seed(0)
    encoder = create_encoder("mlp", TABLE, hidden=(8, 8))
    model = SNR(encoder, [A, B])
    for level, stage in zip(model.levels, encoder.stages, strict=True):
        weights = [net.stages[0][0].weight for net in level.nets]
        assert weights[0] is stage[0].weight
        assert not weights[0].equal(weights[1])
        assert not weights[1].equal(weights[2])


def test_the_penalty_shuts_connections_in_real_training() -> None:
    """A strong one shuts some, to exactly 0; without it none is."""
    shut = {}
    for l0 in (0.0, 1.0):
        model = digit_model("snr", subnetworks=2, l0=l0, start=0.9)
        losses = trained(model, lr=3e-2, epochs=5, batch_size=45)
        assert losses[-1] < losses[0]
        between, to_heads = model.routes()
        gates = torch.cat([z.flatten() for z in (*between, *to_heads.values())])
        chance = torch.cat([torch.sigmoid(p.detach() + 2.158) for _, p in alphas(model)])
        shut[l0] = (int((gates == 0).sum()), float(chance.mean()))
    assert shut[0.0][0] == 0 < shut[1.0][0]
    assert shut[0.0][1] > shut[1.0][1] + 0.1


def test_it_learns_real_digits() -> None:
    losses = trained(digit_model("snr", subnetworks=2, variant="transform"), epochs=3)
    assert losses[-1] < 0.7 * losses[0]


def test_saving_and_loading() -> None:
    assert same_after_loading(built("image"), built("image", seed=1))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_batch_of_one_row(encoder: str) -> None:
    model = built(encoder).eval()
    assert all(len(o) == 1 and o.isfinite().all() for o in model(batch_of(encoder, 1)).values())


def test_widths_are_needed_for_matrices_alone() -> None:
    encoder = nn.Sequential(nn.Linear(11, 6), nn.ReLU(), nn.Linear(6, 4))
    encoder.output_size = 4
    x = wine()[0]["numeric"][:5]
    assert SNR(encoder, [A])(x)["a"].shape == (5, 1)
    with pytest.raises(UserError, match="widths of the stages"):
        SNR(encoder, [A], variant="transform")
    assert SNR(encoder, [A], variant="transform", example=x)(x)["a"].shape == (5, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subnetworks": 0}, "subnetworks must be"),
        ({"levels": 4}, "from 1 to 3"),
        ({"variant": "averge"}, "did you mean 'average'"),
        ({"l0": -1}, "l0 must be a finite number at least 0, found -1"),
        ({"beta": 0}, "beta must be a finite number above 0"),
        ({"gamma": 0}, "gamma must be a finite number below 0"),
        ({"zeta": 1}, "zeta must be a finite number above 1"),
        ({"start": 1}, "start must be a finite number above 0 and below 1, found 1"),
        ({"start": math.nan}, "start must be"),
        ({"l0": "much"}, "l0 must be"),
        ({"shared_stages": 4}, "from 0 to 3"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        built("image", **options)


def test_words_from_a_config() -> None:
    encoder = create_encoder("mlp", TABLE)
    model = create_architecture("snr", encoder, [A], variant="transform", subnetworks=2)
    assert len(model.routes()[0]) == 1
    with pytest.raises(UserError, match="did you mean 'transform'"):
        create_architecture("snr", encoder, [A], variant="transfrom")


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "matrices": ("table", {"variant": "transform", "levels": 3}),
    "matrices on maps": ("image", {"variant": "transform", "subnetworks": 2}),
    "from pixels": ("image", {"shared_stages": 0, "levels": 4, "subnetworks": 2}),
    "one level": ("image", {"levels": 1, "head_hidden": (6,)}),
    "no term": ("image", {"l0": 0.0}),
    "tokens": ("tokens", {"levels": 2, "variant": "transform"}),
    "flattening": ("flattening", {"levels": 3, "shared_stages": 0}),
    "graphs": ("graphs", {"variant": "transform", "shared_stages": 0}),
    "pooled graphs": ("pooled graphs", {"shared_stages": 0, "variant": "transform"}),
    "learned context": ("learned context", {"levels": 4, "shared_stages": 0}),
    "words": ("words", {"shared_stages": 0}),
    "one sub-network": ("image", {"subnetworks": 1}),
    "pretrained": ("flattening", {"fresh": False}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = CASES[request.param]

    def make(self) -> Made:
        x = batch_of(self.encoder, 32)
        example = batch_of(self.encoder, 2)
        return SNR(ENCODERS[self.encoder](), TASKS, example=example, **self.options), x, TASKS
