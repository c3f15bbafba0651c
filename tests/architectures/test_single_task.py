from __future__ import annotations

import torch
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from torch import Tensor, nn

from polytask.architectures import HardSharing, SingleTask, create_encoder

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def test_every_drawn_parameter_differs_between_copies() -> None:
    torch.manual_seed(0)
    encoder = create_encoder("mlp", TABLE)
    model = SingleTask(encoder, [A, B, C])
    states = [encoder.state_dict(), *(model.encoders[t].state_dict() for t in "abc")]
    for name in states[0]:
        for i, one in enumerate(states):
            for other in states[i + 1 :]:
                assert not one[name].equal(other[name]), name
    assert model.copied == ()


def test_the_given_encoder_is_left_alone() -> None:
    encoder = create_encoder("mlp", TABLE)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = SingleTask(encoder, [A, B])
    model(first(wine()[0], 8))["a"].sum().backward()
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_nothing_is_shared() -> None:
    model = SingleTask(create_encoder("resnet", DIGITS, width=4), [A, B])
    _, features = model(digits()[0]["image"][:4], return_features=True)
    assert features is None
    assert {len(users) for users in model.shared_parameters().values()} == {1}
    storage = [{p.data_ptr() for p in model.encoders[t].parameters()} for t in "ab"]
    assert not storage[0] & storage[1]


def test_a_task_starts_the_same_in_any_company() -> None:
    def network(*tasks: Output) -> dict[str, Tensor]:
        torch.manual_seed(3)
        return SingleTask(create_encoder("mlp", TABLE), tasks).prune("b").state_dict()

    one, other = network(A, B), network(C, B, A)
    assert all(value.equal(other[name]) for name, value in one.items())


def test_a_lone_task_is_hard_sharing_of_that_task() -> None:
    outputs = []
    for architecture in (SingleTask, HardSharing):
        torch.manual_seed(5)
        model = architecture(create_encoder("mlp", TABLE), [B], head_hidden=(4,))
        outputs.append(model.eval()(first(wine()[0], 20))["b"])
    assert outputs[0].equal(outputs[1])


def test_a_pretrained_encoder_is_kept_when_asked() -> None:
    encoder = create_encoder("mlp", TABLE)
    model = SingleTask(encoder, [A, B], fresh=False)
    for task in "ab":
        state = model.encoders[task].state_dict()
        assert all(value.equal(state[name]) for name, value in encoder.state_dict().items())


class Token(nn.Module):
    """A parameter of its own and no way to draw it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(11))
        self.layer = nn.Linear(11, 4)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.layer(x + self.token)
        return z


def test_what_cannot_be_drawn_anew_is_copied_and_named() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(Token(), nn.ReLU())
    model = SingleTask(encoder, [A, B], example=wine()[0]["numeric"][:2])
    assert model.copied == ("0",)
    tokens = [model.encoders[t].get_parameter("0.token") for t in "ab"]
    weights = [model.encoders[t].get_parameter("0.layer.weight") for t in "ab"]
    assert tokens[0].equal(tokens[1])
    assert tokens[0] is not tokens[1]
    assert not weights[0].equal(weights[1])
