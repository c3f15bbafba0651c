from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from torch import Tensor, nn
from trunk_cases import digit_model, flattening, images, same_after_loading, tokens, trained

from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures._adapters import SqueezeExcitation
from polytask.architectures.adapters import Adapters
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
KINDS = ("residual", "se", "modulation")


def mlp(*hidden: int) -> nn.Module:
    return create_encoder("mlp", TABLE, hidden=hidden or (16, 12, 8))


def disturb(model: nn.Module) -> None:
    """Adapters as they are after training: no identity any more."""
    torch.manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("adapters"):
                parameter.add_(0.3 * torch.randn_like(parameter))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("encoder", [mlp, tokens, flattening])
def test_it_starts_as_hard_sharing_to_the_bit(kind: str, training: bool, encoder: Any) -> None:
    x = first(wine()[0], 20) if encoder is mlp else images(20)
    outputs = []
    for name, options in (("adapters", {"kind": kind}), ("hard_sharing", {})):
        torch.manual_seed(3)
        model = create_architecture(name, encoder(), [A, B, C], **options)
        outputs.append(model.train(training)(x))
    assert all(outputs[0][t].equal(outputs[1][t]) for t in "abc")


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_moves_its_own_task_only(kind: str) -> None:
    model = Adapters(mlp(), [A, B], kind=kind).eval()
    x = first(wine()[0], 20)
    before = model(x)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("adapters.b."):
                parameter.add_(0.2)
    after = model(x)
    assert after["a"].equal(before["a"])
    assert not after["b"].equal(before["b"])


def test_residual_is_a_linear_map_of_the_channels() -> None:
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3))
    model = Adapters(encoder, [A], norm=False, example=images(2)).eval()
    disturb(model)
    z = encoder(images())
    weight = model.adapters["a"].get_parameter("1.up.weight")
    adapted = z + nn.functional.conv2d(z, weight[:, :, None, None])
    layer = model.heads["a"].get_submodule("layers.0")
    expected = layer(adapted.mean(dim=(2, 3)))
    torch.testing.assert_close(model(images())["a"], expected)


def test_modulation_scales_and_shifts_channels() -> None:
    model = Adapters(tokens(), [A], kind="modulation", stages=[1]).eval()
    own = model.adapters["a"].get_submodule("1")
    h = torch.randn(3, 8, 12)
    disturb(model)
    torch.testing.assert_close(own(h, {}), h * own.scale + own.shift)


def test_a_gate_lies_between_0_and_2_and_leaves_padding_out() -> None:
    torch.manual_seed(0)
    gate = SqueezeExcitation(5, 8, channel_dim=-1)
    nn.init.normal_(gate.excite.weight, std=3)
    h, mask = torch.randn(2, 4, 5), torch.tensor([[True] * 4, [True, True, False, False]])
    padded = h.clone()
    padded[1, 2:] = 1e6
    out = gate(padded, {"mask": mask})
    torch.testing.assert_close(out[1, :2], gate(h[1:, :2], {})[0])
    ratio = out[mask] / h[mask]
    assert (ratio > 0).all()
    assert (ratio < 2).all()


def test_rows_that_are_nodes_take_the_gate_of_their_graph() -> None:
    gate = SqueezeExcitation(3, 8, channel_dim=-1)
    nn.init.normal_(gate.excite.weight)
    nodes, segments = torch.rand(5, 3), torch.tensor([0, 0, 1, 1, 1])
    out = gate(nodes, {"segments": segments, "items": 2})
    for graph in (0, 1):
        alone = nodes[segments == graph]
        torch.testing.assert_close(out[segments == graph], gate(alone[None], {})[0])


class Counting(nn.Linear):
    """A stage that counts its calls."""

    calls = 0

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(h)


def test_stages_before_the_first_adapter_run_once() -> None:
    stages = [Counting(11, 8), Counting(8, 8), Counting(8, 8), Counting(8, 8)]
    model = Adapters(Staged(stages, widths=[8] * 4), [A, B, C], stages=[4, 2])
    model(wine()[0]["numeric"][:4])
    assert [stage.calls for stage in stages] == [1, 1, 3, 3]
    assert [name for name, _ in model.adapters["a"].named_children()] == ["2", "4"]


def test_parameters_as_the_docstring_counts_them() -> None:
    def own(**options: Any) -> int:
        model = Adapters(Staged([nn.Linear(11, 64)], widths=[64]), [A, B], **options)
        return sum(p.numel() for p in model.adapters["a"].parameters())

    assert own(norm=False) == 64**2
    assert own(norm=False, reduction=8) == 2 * 64 * 8
    assert own() == 64**2 + 2 * 64
    assert own(kind="modulation") == 2 * 64
    assert own(kind="se", reduction=4) == 2 * 64 * 16 + 16 + 64
    assert own(kind="se") == own(kind="se", reduction=8)


def test_features_where_all_that_learns_lies_before_them() -> None:
    x = images()
    last = Adapters(flattening(), [A, B], stages=[3])
    _, features = last(x, return_features=True)
    assert isinstance(features, Tensor)
    assert features.shape == (32, 10)
    for model in (Adapters(flattening(), [A, B]), Adapters(tokens(), [A, B], stages=[3])):
        assert model(x, return_features=True)[1] is None


@pytest.mark.parametrize("came_frozen", [True, False])
def test_a_frozen_encoder_is_a_still_copy(came_frozen: bool) -> None:
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    encoder.output_size = 144
    encoder.requires_grad_(not came_frozen)
    x = images()
    model = Adapters(encoder, [A, B], freeze=True, kind="modulation", example=x[:2]).train()
    before = copy.deepcopy(model.encoder.state_dict())
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all(name.split(".")[0] in ("adapters", "heads") for name in trainable)
    outputs, features = model(x, return_features=True)
    assert features is None
    torch.stack([o.sum() for o in outputs.values()]).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert all(v.equal(before[name]) for name, v in model.encoder.state_dict().items())
    assert model(x)["a"].equal(model(x)["a"]), "dropout acts in a frozen encoder"
    assert {p.requires_grad for p in encoder.parameters()} == {not came_frozen}


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "se"},
        {"kind": "modulation", "stages": [2, 3]},
        {"kind": "residual", "reduction": 3, "norm": False},
        {"kind": "residual", "reduction": 2, "stages": [3], "head_hidden": [6]},
        {"kind": "residual", "freeze": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("encoder", [flattening, tokens])
class TestConformance(ArchitectureConformance):
    @pytest.fixture(autouse=True)
    def _case(self, options: dict[str, Any], encoder: Any) -> None:
        self.options, self.encoder = options, encoder

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B, C)}
        return Adapters(self.encoder(), tasks, **self.options), images(), tasks


@pytest.mark.parametrize("kind", KINDS)
class TestTrained(ArchitectureConformance):
    """The same after training, when no adapter is the identity."""

    @pytest.fixture(autouse=True)
    def _case(self, kind: str) -> None:
        self.kind = kind

    def make(self) -> Made:
        tasks = {task.name: task for task in (A, B)}
        encoder = create_encoder("resnet", DIGITS, width=4)
        model = Adapters(encoder, tasks, kind=self.kind)
        state = torch.get_rng_state()
        disturb(model)
        torch.set_rng_state(state)
        return model, digits()[0]["image"][:16], tasks


@pytest.mark.parametrize("kind", KINDS)
def test_one_task_and_one_row(kind: str) -> None:
    model = Adapters(mlp(8), [B], kind=kind).train()
    output = model(first(wine()[0], 1))["b"]
    assert output.shape == (1, 3)
    assert output.isfinite().all()


def test_a_task_starts_the_same_in_any_company() -> None:
    states = []
    for tasks in ([A, B, C], [C, B]):
        torch.manual_seed(5)
        states.append(Adapters(mlp(), tasks, reduction=4).prune("b").state_dict())
    assert list(states[0]) == list(states[1])
    assert all(value.equal(states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "residul"}, "did you mean 'residual'"),
        ({"stages": [0]}, "stages must be a list of whole numbers above 0"),
        ({"stages": []}, "at least one"),
        ({"stages": [1, 4]}, r"from 1 to 3, found \[1, 4\]"),
        ({"stages": [1, 1]}, "different stages"),
        ({"reduction": 0}, "reduction must be"),
        ({"kind": "modulation", "reduction": 4}, "no inner width"),
        ({"kind": "se", "norm": False}, "only adapters of kind 'residual' have a norm"),
    ],
)
def test_faulty_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Adapters(mlp(), [A, B], **options)


def test_unknown_widths_ask_for_an_example() -> None:
    with pytest.raises(UserError, match=r"example="):
        Adapters(nn.Sequential(nn.Linear(11, 4)), [A])


@pytest.mark.parametrize("options", [{}, {"kind": "se", "stages": [3, 4]}])
def test_it_learns_the_real_digits_and_reloads(options: dict[str, Any]) -> None:
    model = digit_model("adapters", **options)
    losses = trained(model)
    assert losses[-1] < 0.6 * losses[0]
    assert same_after_loading(model, digit_model("adapters", 1, **options))


def test_adapters_of_a_frozen_encoder_learn() -> None:
    model = digit_model("adapters", freeze=True)
    before = copy.deepcopy(model.encoder.state_dict())
    losses = trained(model)
    assert losses[-1] < 0.6 * losses[0]
    assert all(v.equal(before[name]) for name, v in model.encoder.state_dict().items())


def test_gradient_methods_find_nothing_shared_beside_a_frozen_encoder() -> None:
    with pytest.raises(UserError, match="share none that require a gradient"):
        trained(digit_model("adapters", freeze=True), method="pcgrad")
