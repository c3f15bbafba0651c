from __future__ import annotations

import pytest
import torch
from real_inputs import Output, digits, wine
from torch import Tensor, nn

from polytask.architectures import HardSharing, unwrap
from polytask.architectures._init import draw_seed
from polytask.architectures._inputs import encode, representation_width
from polytask.errors import UserError


def test_unwrap_finds_the_one_tensor() -> None:
    x = torch.rand(3, 2)
    assert unwrap(x) is x
    assert unwrap({"numeric": x}) is x
    assert unwrap({"numeric": x, "categorical": torch.zeros(3, 0)}) is x
    assert unwrap({"numeric": x, "image": torch.zeros(3, 1, 2, 2)}, "numeric") is x


def test_unwrap_refuses_to_guess() -> None:
    x = {"numeric": torch.rand(3, 2), "image": torch.rand(3, 1, 2, 2)}
    with pytest.raises(UserError, match="found 2: numeric, image"):
        unwrap(x)
    with pytest.raises(UserError, match="found 0: none"):
        unwrap({})
    with pytest.raises(UserError, match="did you mean 'image'"):
        unwrap(x, "imag")
    with pytest.raises(UserError, match="found list"):
        unwrap([1])


class Both(nn.Module):
    """Reads a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(13, 6)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        z: Tensor = self.layer(torch.cat([x["numeric"], x["categorical"].float()], dim=1))
        return z


def test_plain_modules_get_the_tensor_and_others_the_dictionary() -> None:
    x = wine()[0]
    assert representation_width(nn.Linear(11, 4), {"numeric": x["numeric"]}) == 4
    assert representation_width(Both(), x) == 6

    class Taker(Both):
        takes_dict = True

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            assert isinstance(x, dict)
            return super().forward({"categorical": x["numeric"][:, :2], **x})

    assert encode(Taker(), {"numeric": x["numeric"]}).shape == (178, 6)


def test_dry_run_leaves_no_trace() -> None:
    encoder = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.ReLU(), nn.Flatten()
    )
    encoder[1].eval()
    modes = [m.training for m in encoder.modules()]
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    assert representation_width(encoder, digits()[0]["image"][:4]) == 3 * 36
    assert torch.rand(2).equal(expected)
    assert [m.training for m in encoder.modules()] == modes
    assert all(value.equal(state[name]) for name, value in encoder.state_dict().items())


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_modules_are_filled_by_the_example() -> None:
    encoder = nn.Sequential(nn.LazyLinear(7), nn.ReLU())
    batch = wine()[0]["numeric"][:4]
    torch.manual_seed(0)
    model = HardSharing(encoder, [Output("a", 2)], example=batch)
    after = torch.rand(2)
    torch.manual_seed(0)
    draw_seed()
    assert torch.rand(2).equal(after), "filling them took from the stream of everything else"
    assert model(batch)["a"].shape == (4, 2)
    assert model.width == 7


def test_an_example_the_encoder_cannot_read() -> None:
    encoder = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(UserError, match=r"Sequential could not read .*a tensor \(178, 11\)"):
        representation_width(encoder, wine()[0]["numeric"])
    with pytest.raises(UserError, match=r"categorical: a tensor \(178, 2\)"):
        representation_width(encoder, wine()[0])
    assert encoder.training


def test_declared_and_measured_width_must_agree() -> None:
    encoder = nn.Linear(11, 3)
    encoder.output_size = 5
    with pytest.raises(UserError, match=r"\(178, 3\).*\[N, 5\]"):
        representation_width(encoder, wine()[0]["numeric"])
