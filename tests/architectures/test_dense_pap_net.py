"""PAP-Net: affinities sum to 1, diffusion, what is mixed, and rows without places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dense_cases import SMALL, dense_digits, dense_tasks, model_of, trained
from real_inputs import DIGITS, TABLE, TEXT, Output, digits, first, text, wine
from torch import nn

from polytask.architectures import create_encoder
from polytask.architectures.pap_net import Affinity, Mix, PAPNet, diffused, flattened
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

ITEM = [Output("a", 1), Output("b", 3), Output("c", 2)]


def of_images(**options: Any) -> PAPNet:
    torch.manual_seed(0)
    encoder = create_encoder("resnet", DIGITS, **SMALL["resnet"])
    return PAPNet(encoder, ITEM, **{"width": 6, "example": first(digits()[0], 2)} | options)


def images(count: int = 8) -> torch.Tensor:
    return digits()[0]["image"][:count]


class TestOptions(ArchitectureConformance):
    """Labels at every place, several steps, no diffusion, rows and tokens with padding."""

    @pytest.fixture(
        autouse=True,
        params=[
            ("resnet", {"width": 5, "beta": 1.0, "steps": 2, "head_hidden": (4,)}),
            ("resnet", {"width": 5, "beta": 0}),
            ("mlp", {"width": 5}),
            ("transformer", {"width": 5}),
        ],
        ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}",
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options = request.param

    def make(self) -> Made:
        tasks: dict[str, Any] = {t.name: t for t in ITEM}
        if self.encoder == "resnet":
            tasks = dict(dense_tasks("glow", "even", "which"))
            encoder: nn.Module = create_encoder("resnet", DIGITS, **SMALL["resnet"])
            batch: Any = dense_digits()[0][:16]
        elif self.encoder == "mlp":
            encoder, batch = create_encoder("mlp", TABLE, hidden=(9, 6)), first(wine()[0], 16)
        else:
            encoder = create_encoder("transformer", TEXT, width=8, heads=2, characters=4)
            batch = first(text()[0], 16)
        return PAPNet(encoder, tasks, example=batch, **self.options), batch, tasks


@pytest.mark.parametrize(("dim", "shape"), [(1, (2, 6, 3, 4)), (-1, (2, 5, 6))])
def test_rows_of_every_affinity_sum_to_1(dim: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    found = torch.stack([Affinity(6, dim)(torch.randn(shape), {}) for _ in range(3)])
    places = found.shape[-1]
    assert found.shape == (3, 2, places, places)
    assert (found > 0).all()
    mix = Mix(3)
    torch.testing.assert_close(mix(found), found.mean(0))
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([1.0, -2.0, 0.5]))
    torch.testing.assert_close(mix(found).sum(-1), torch.ones(2, places))


def test_padding_gives_nothing_and_an_empty_item_stays_finite() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    found = Affinity(4, -1)(torch.randn(2, 3, 4), {"mask": mask})
    assert found[0, :, 2].eq(0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 3))


@pytest.mark.parametrize(("dim", "shape"), [(1, (2, 6, 3, 4)), (-1, (2, 5, 6))])
def test_diffusion_by_hand(dim: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    h = torch.randn(shape)
    flat = flattened(h, dim)
    places = flat.shape[1]
    same, mean = torch.eye(places).expand(2, -1, -1), torch.full((2, places, places), 1 / places)
    torch.testing.assert_close(diffused(h, same, 0.3, 4, dim), h)
    once = 0.3 * flat.mean(1, keepdim=True) + 0.7 * flat
    torch.testing.assert_close(flattened(diffused(h, mean, 0.3, 1, dim), dim), once)
    twice = 0.51 * flat.mean(1, keepdim=True) + 0.49 * flat
    torch.testing.assert_close(flattened(diffused(h, mean, 0.3, 2, dim), dim), twice)


def test_no_diffusion_is_the_plain_network_bit_for_bit() -> None:
    plain, model = of_images(beta=0).eval(), of_images().eval()
    state = model.state_dict()
    assert all(value.equal(state[name]) for name, value in plain.state_dict().items())
    assert not any(model(images())[t].equal(plain(images())[t]) for t in "abc")
    model.beta = 0.0
    for task, output in plain(images()).items():
        torch.testing.assert_close(model(images())[task], output)


def test_rows_have_nothing_to_diffuse() -> None:
    model = PAPNet(create_encoder("mlp", TABLE), ITEM)
    assert model.affinity is None
    assert model.mix is None
    users = model.shared_parameters()
    assert {who for name, who in users.items() if name.startswith("refine.1.")} == {("b",)}


def test_everybody_uses_all_affinities() -> None:
    for name, who in of_images().shared_parameters().items():
        shared = name.split(".")[0] in ("encoder", "refine", "affinity")
        assert len(who) == (3 if shared else 1), name


def test_dense_tasks_are_learned() -> None:
    tasks = dense_tasks()
    losses = trained(model_of("pap_net", tasks, width=12), tasks, epochs=2)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"width": 0}, "width"),
        ({"steps": 0}, "steps"),
        ({"beta": 1.1}, "beta"),
        ({"beta": "x"}, "beta"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        of_images(**options)
