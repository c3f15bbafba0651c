from __future__ import annotations

import re

import pytest
import torch
from real_inputs import DIGITS, TABLE, Widths, digits, first, wine
from torch import nn

from polytask.architectures import create_encoder
from polytask.architectures.encoders.mlp import MLP
from polytask.architectures.encoders.resnet import ResNet
from polytask.errors import UserError


def test_mlp_answers_its_output_size() -> None:
    encoder = MLP(TABLE, hidden=[32, 9], dropout=0.1)
    assert encoder.output_size == 9
    z = encoder(wine()[0])
    assert z.shape == (178, 9)
    assert z.ge(0).all()


def test_mlp_reads_every_column() -> None:
    torch.manual_seed(0)
    encoder = MLP(TABLE, hidden=(64,))
    x = first(wine()[0], 40)
    z = encoder(x)
    for column in range(11):
        moved = x["numeric"].clone()
        moved[:, column] += 1
        assert not encoder({**x, "numeric": moved}).equal(z), column
    for column in range(2):
        moved = x["categorical"].clone()
        moved[:, column] = (moved[:, column] + 1) % 3
        assert not encoder({**x, "categorical": moved}).equal(z), column


def test_mlp_unknown_category_starts_at_zero_and_learns() -> None:
    encoder = MLP(Widths(categorical=(4,)), hidden=(6,))
    table = encoder.entrance.embeddings[0]
    assert isinstance(table, nn.Embedding)
    assert table.weight[0].eq(0).all()
    assert table.weight[1:].ne(0).all()
    encoder({"categorical": torch.tensor([[0], [2]])}).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad[0].ne(0).any()
    table.reset_parameters()
    assert table.weight[0].eq(0).all()


def test_mlp_kinds_may_be_lacking() -> None:
    numeric = wine()[0]["numeric"]
    encoder = MLP(Widths(numeric=11), hidden=(5,))
    expected = encoder(numeric)
    assert encoder({"numeric": numeric}).equal(expected)
    assert encoder({"numeric": numeric, "categorical": torch.zeros(178, 0)}).equal(expected)
    only = MLP(Widths(categorical=TABLE.categorical), hidden=(5,))
    assert only({"categorical": wine()[0]["categorical"]}).shape == (178, 5)


def test_mlp_embedding_widths() -> None:
    def widths(**options: int) -> list[int]:
        codes = (2, 3, 100, 100_000)
        encoder = MLP(Widths(categorical=codes), hidden=(4,), **options)
        return [e.weight.shape[1] for e in encoder.entrance.embeddings]

    assert widths() == [2, 3, 21, 50]
    assert widths(embedding=7) == [7] * 4


def test_mlp_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    encoder = MLP(TABLE, hidden=(64,), dropout=0.5)
    x = wine()[0]
    assert not encoder(x).equal(encoder(x))
    encoder.eval()
    assert encoder(x).equal(encoder(x))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (Widths(), {}, "found no columns"),
        (DIGITS, {}, "found an image (1, 8, 8). For images use the encoder resnet"),
        (TABLE, {"hidden": ()}, "hidden must be a list of whole numbers above 0, at least one"),
        (TABLE, {"hidden": 64}, "found 64"),
        (TABLE, {"hidden": (8, -1)}, "Found (8, -1)"),
        (TABLE, {"dropout": 1.0}, "dropout must be in [0, 1), found 1.0"),
        (TABLE, {"embedding": 0}, "embedding must be"),
        (TABLE, {"hiden": (8,)}, "did you mean 'hidden'"),
    ],
)
def test_mlp_refuses(spec: Widths, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        create_encoder("mlp", spec, **options)


def test_mlp_refuses_other_inputs() -> None:
    encoder = MLP(TABLE)
    x = first(wine()[0], 3)
    with pytest.raises(UserError, match="unknown input 'categorical'"):
        encoder({"numeric": x["numeric"]})
    with pytest.raises(UserError, match="found one tensor"):
        encoder(x["numeric"])
    with pytest.raises(UserError, match=r"11 numeric columns.*found shape \(3, 10\)"):
        encoder({**x, "numeric": x["numeric"][:, :10]})


@pytest.mark.parametrize("blocks", [(1,), (1, 1, 1), (2, 1)])
def test_resnet_answers_its_feature_map(blocks: tuple[int, ...]) -> None:
    encoder = ResNet(DIGITS, width=4, blocks=blocks)
    side = 8 // 2 ** (len(blocks) - 1)
    z = encoder(digits()[0]["image"][:3])
    assert z.shape == (3, encoder.output_size, side, side)
    assert encoder.output_size == 4 * 2 ** (len(blocks) - 1)
    assert encoder({"image": digits()[0]["image"][:3]}).equal(z)


def test_resnet_items_do_not_see_each_other() -> None:
    encoder = ResNet(DIGITS)
    image = digits()[0]["image"][:6]
    together = encoder(image)
    torch.testing.assert_close(together[:2], encoder(image[:2]))


@pytest.mark.parametrize("width", [1, 2, 3, 6, 16])
@pytest.mark.parametrize("side", [1, 5])
def test_resnet_takes_any_width_and_size(width: int, side: int) -> None:
    torch.manual_seed(0)
    encoder = ResNet(Widths(image=(3, side, side)), width=width)
    image = torch.rand(4, 3, side, side)
    z = encoder(image)
    assert z.isfinite().all()
    z.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TABLE, {}, "reads images, found none"),
        (Widths(numeric=2, image=(1, 8, 8)), {}, "2 numeric and 0 categorical columns beside"),
        (DIGITS, {"width": 0}, "width must be"),
        (DIGITS, {"blocks": ()}, "blocks must be"),
        (DIGITS, {"blocks": (1, 0)}, "Found (1, 0)"),
    ],
)
def test_resnet_refuses(spec: Widths, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        create_encoder("resnet", spec, **options)


def test_resnet_refuses_another_image() -> None:
    with pytest.raises(UserError, match=r"\[N, 1, H, W\], found shape \(2, 3, 8, 8\)"):
        ResNet(DIGITS)(torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("name", "widths"), [("mlp", {"numeric": 3}), ("resnet", {"image": (1, 8, 8)})]
)
def test_inputs_are_not_silently_left_unread(name: str, widths: dict[str, object]) -> None:
    with pytest.raises(UserError, match="unread: text"):
        create_encoder(name, Widths(**widths, other=(("text", (40,)),)))
