"""Projected attention: the backbone at first, attention by hand, any layout of features."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from real_inputs import DIGITS, TABLE, TEXT, Output, digits, first, text, wine
from sequence_cases import TASKS, encoder, lines, losses, text_model, trained
from torch import Tensor, nn

from polytask import Trainer
from polytask.architectures import Staged, create_architecture, create_encoder
from polytask.architectures._projected import ProjectedLayers, at_places
from polytask.architectures._self_attention import SelfAttention, readable
from polytask.architectures.projected_attention import ProjectedAttention
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.testing.architectures import ArchitectureConformance, Made

OUTPUTS = [Output("a"), Output("b", 3)]


def drawn(model: Any, seed: int = 5) -> Any:
    """The model with projections back that say something."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".decode." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=stream))
    return model


def made(name: str) -> tuple[Any, Any]:
    """An encoder and a batch of its inputs."""
    torch.manual_seed(0)
    if name == "tokens":
        return encoder(), lines()
    if name == "maps":
        return create_encoder("resnet", DIGITS, width=4), digits()[0]["image"][:20]
    return create_encoder("mlp", TABLE, hidden=(12, 6)), first(wine()[0], 20)


@pytest.mark.parametrize("name", ["tokens", "maps", "table"])
@pytest.mark.parametrize("training", [False, True])
def test_it_starts_as_hard_sharing_to_the_bit(name: str, training: bool) -> None:
    answers = []
    for architecture in ("projected_attention", "hard_sharing"):
        one, batch = made(name)
        torch.manual_seed(3)
        model = create_architecture(architecture, one, OUTPUTS).train(training)
        answers.append(model(batch))
    assert all(answers[0][task].equal(answers[1][task]) for task in answers[0])


def by_hand(layer: SelfAttention, h: Tensor, there: Tensor) -> Tensor:
    """Multi-head attention of one item, in float64, a head and a query at a time."""
    weight, bias = layer.project.weight.double(), layer.project.bias.double()
    q, k, v = (h.double() @ weight.T + bias).chunk(3, dim=1)
    out = torch.zeros_like(q)
    part = q.shape[1] // layer.heads
    for head in range(layer.heads):
        own = slice(head * part, (head + 1) * part)
        for place in range(len(h)):
            scores = (k[there][:, own] @ q[place, own]) / math.sqrt(part)
            out[place, own] = scores.softmax(0) @ v[there][:, own]
    return out


def test_attention_is_the_formula_and_padding_is_not_read() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(12, 3)
    h = torch.randn(4, 5, 12)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]) > 0
    found = layer(h, readable(mask))
    for row in range(3):
        expected = by_hand(layer, h[row], mask[row]).float()
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)
    assert found.isfinite().all(), "a row without any token"
    h[1, 3] = 1e6
    torch.testing.assert_close(layer(h, readable(mask))[1, :2], found[1, :2])


def test_a_task_adds_what_its_projected_attention_makes_of_what_a_stage_reads() -> None:
    """Two blocks of the transformer, by hand."""
    model = drawn(create_architecture("projected_attention", encoder(), OUTPUTS, size=6,
                                      attention_heads=2)).eval()  # fmt: skip
    x = lines(12)
    h, context = model.encoder.entrance(x)
    own = model.layers["b"]
    for stage in (0, 1):
        low = own.encode["16"](h)
        attended = torch.stack(
            [by_hand(own.attention[stage], low[i], m) if (m := context["mask"][i]).any()
             else torch.zeros_like(low[i]).double() for i in range(len(h))]
        )  # fmt: skip
        extra = attended.float() @ own.decode["16"].weight.T
        h = model.encoder.stages[stage](h, context) + extra
    z = model.encoder.exit(h)
    z = (z * context["mask"][..., None]).sum(1) / context["mask"].sum(1, keepdim=True).clamp(min=1)
    expected = model.heads["b"].layers(z)
    full = context["mask"].any(1)
    torch.testing.assert_close(model(x)["b"][full], expected[full], rtol=1e-3, atol=1e-4)


def test_projections_are_one_for_all_stages_of_a_width() -> None:
    tokens = create_architecture("projected_attention", encoder(layers=3), OUTPUTS, size=8)
    own = dict(tokens.layers["a"].named_parameters())
    assert own["encode.16.weight"].shape == (8, 16)
    assert own["decode.16.weight"].shape == (16, 8)
    assert sum(p.numel() for p in own.values()) == 2 * 8 * 16 + 3 * (3 * 8 * 8 + 3 * 8)
    maps = create_architecture("projected_attention", made("maps")[0], OUTPUTS)
    assert set(maps.layers["a"].encode) == {"1", "4", "8"}
    assert set(maps.layers["a"].decode) == {"4", "8", "16"}
    assert maps.layers["a"].attention[0].project.in_features == 4, "a quarter of the widest"


def test_what_is_silent_at_first_is_the_part_before_the_zeros() -> None:
    model = create_architecture("projected_attention", encoder(), OUTPUTS)
    sum(o.sum() for o in model(lines()).values()).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("layers."):
            assert parameter.grad.ne(0).any() == (".decode." in name), name


def test_a_lone_token_attends_to_itself_or_to_nothing() -> None:
    """softmax over its own score and 0 is a gate: sigmoid(q k / sqrt(size))."""
    torch.manual_seed(0)
    layers = ProjectedLayers([5], [5], 4, 1, 1)
    nn.init.normal_(layers.decode["5"].weight)
    h = torch.randn(7, 5)
    low = layers.encode["5"](h)
    q, k, v = layers.attention[0].project(low).chunk(3, dim=1)
    gated = ((q * k).sum(1) / 2).sigmoid()[:, None] * v
    torch.testing.assert_close(layers(0, h, h, {}), h + layers.decode["5"](gated))


def test_nodes_attend_to_those_of_their_own_graph() -> None:
    torch.manual_seed(0)
    layers = ProjectedLayers([5], [6], 4, 2, -1)
    nn.init.normal_(layers.decode["6"].weight)
    h, after = torch.randn(6, 5), torch.randn(6, 6)
    context = {"segments": torch.tensor([0, 0, 0, 1, 1, 1]), "items": 2}
    found = layers(0, h, after, context)
    for nodes in (slice(0, 3), slice(3, 6)):
        alone = layers(0, h[None, nodes], after[None, nodes], {})[0]
        torch.testing.assert_close(found[nodes], alone)


def test_what_is_added_follows_the_places_of_the_stage() -> None:
    maps, tokens, rows = torch.randn(2, 4, 6, 3), torch.randn(2, 5, 3), torch.randn(2, 3)
    assert at_places(maps, torch.zeros(2, 9, 4, 6), 1, {}).equal(maps)
    halved = at_places(maps, torch.zeros(2, 9, 2, 3), 1, {})
    expected = maps.reshape(2, 2, 2, 3, 2, 3).mean(dim=(2, 4))
    torch.testing.assert_close(halved, expected)
    torch.testing.assert_close(at_places(maps, torch.zeros(2, 9), 1, {}), maps.mean((1, 2)))
    assert at_places(rows, torch.zeros(2, 5, 9), -1, {}).equal(rows[:, None])
    assert at_places(rows, torch.zeros(2, 9), 1, {}).equal(rows)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]) > 0
    found = at_places(tokens, torch.zeros(2, 9), -1, {"mask": mask})
    torch.testing.assert_close(found[0], tokens[0, :2].mean(0))
    nodes = {"segments": torch.tensor([0, 0, 0, 1, 1]), "items": 2}
    torch.testing.assert_close(
        at_places(tokens[0], torch.zeros(2, 9), -1, nodes)[0], tokens[0, :3].mean(0)
    )
    with pytest.raises(UserError, match="reads features with 1 axes of places and answers 2"):
        at_places(tokens, torch.zeros(2, 9, 4, 6), 1, {})


def flattening() -> Staged:
    """Maps that shrink, then vectors."""
    return Staged(
        [
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 6, 3, stride=2), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.Linear(24, 10), nn.ReLU()),
            nn.Sequential(nn.Linear(10, 8), nn.Tanh()),
        ],
        widths=(4, 6, 10, 8),
        entrance_width=1,
    )


def test_it_learns_real_lines_and_digits() -> None:
    found = losses(trained(text_model("projected_attention"), epochs=5))
    assert found[-1] < 0.75 * found[0]
    task = Task("digit", "multiclass", classes=tuple(range(10)))
    torch.manual_seed(0)
    model = ProjectedAttention(flattening(), [task], example=digits()[0]["image"][:2])
    trainer = Trainer(model, [task], lr=1e-2, epochs=4, batch_size=64, progress=False)
    rows = (first(digits()[0], 900), {"digit": digits()[1]["digit"][:900]})
    found = trainer.fit(rows).series("train/digit/loss")
    assert found[-1] < 0.6 * found[0]
    assert all(p.ne(0).any() for p in model.layers["digit"].decode.parameters())


def test_items_without_tokens_and_single_rows() -> None:
    model = drawn(create_architecture("projected_attention", encoder(), OUTPUTS)).eval()
    x = text()[0]
    empty = x["case"].ne(0).sum(1) == 0
    for rows in (empty, torch.arange(len(empty)) == 3):
        outputs = model({name: value[rows] for name, value in x.items()})
        assert all(o.isfinite().all() for o in outputs.values())


def test_saving_and_loading() -> None:
    model = drawn(text_model("projected_attention")).eval()
    other = text_model("projected_attention", seed=1).eval()
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert all(other(lines())[task].equal(o) for task, o in model(lines()).items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 10}, "found size=10 and attention_heads=4. Take size=12"),
        ({"size": 0}, "size must be"),
        ({"attention_heads": 0}, "attention_heads must be"),
    ],
)
def test_it_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        create_architecture("projected_attention", encoder(), OUTPUTS, **options)


def test_an_encoder_that_embeds_in_its_stage_is_refused_with_the_reason() -> None:
    class Words(nn.Module):
        takes_dict = True
        channel_dim = -1
        output_size = 4

        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(4, 4)

        def forward(self, x: dict[str, Tensor]) -> Tensor:
            return self.words(x["case"])

    with pytest.raises(UserError, match="embed the input in the encoder's entrance"):
        ProjectedAttention(Words(), OUTPUTS, example=lines())


ENCODERS: dict[str, Callable[[], tuple[nn.Module, Any, Any]]] = {
    "tokens": lambda: (encoder(torch.initial_seed(), dropout=0.1), lines(), TASKS),
    "maps to vectors": lambda: (flattening(), digits()[0]["image"][:24], OUTPUTS),
}


class TestDrawn(ArchitectureConformance):
    """Projections back that are not zero, and other sizes."""

    @pytest.fixture(autouse=True, params=list(ENCODERS))
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Made:
        built, batch, tasks = ENCODERS[self.name]()
        options: dict[str, Any] = {"size": 6, "attention_heads": 3, "head_hidden": (5,)}
        model = ProjectedAttention(built, tasks, **options)
        return drawn(model, torch.initial_seed()), batch, {task.name: task for task in tasks}


def test_the_spec_of_the_text_is_that_of_the_text() -> None:
    x = text()[0]
    for name, shape, codes in TEXT.tokens:
        assert tuple(x[name].shape[1:]) == shape
        assert x[name].max() < codes
