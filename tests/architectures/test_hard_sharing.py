from __future__ import annotations

import pytest
import torch
from real_inputs import DIGITS, TABLE, Output, Widths, digits, first, wine
from torch import Tensor, nn

from polytask.architectures import HardSharing, create_architecture, create_encoder
from polytask.errors import UserError

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)


def built(*tasks: Output, seed: int = 0, **options: object) -> HardSharing:
    torch.manual_seed(seed)
    encoder = create_encoder("mlp", TABLE, hidden=(16, 8))
    return HardSharing(encoder, tasks, **options)


def test_one_task_starts_from_the_same_weights_as_many() -> None:
    many = built(A, B, C)
    for task in (A, B, C):
        alone = built(task).state_dict()
        for name, value in alone.items():
            assert value.equal(many.state_dict()[name]), name


def test_order_of_tasks_does_not_move_the_weights() -> None:
    one, other = built(A, B).state_dict(), built(B, A).state_dict()
    assert all(value.equal(other[name]) for name, value in one.items())


def test_heads_differ_between_tasks_and_seeds() -> None:
    twins = built(Output("x", 2), Output("y", 2))
    weights = [twins.heads[t].get_parameter("layers.0.weight") for t in ("x", "y")]
    assert not weights[0].equal(weights[1])
    again = built(Output("x", 2), seed=1).heads["x"].get_parameter("layers.0.weight")
    assert not weights[0].equal(again)


def test_construction_takes_the_same_from_the_stream_whatever_the_tasks() -> None:
    built(A)
    one = torch.rand(2)
    built(A, B, C, head_hidden=(4,))
    assert torch.rand(2).equal(one)


def test_the_encoder_is_used_as_it_is() -> None:
    encoder = create_encoder("mlp", TABLE)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = HardSharing(encoder, [A, B])
    assert model.encoder is encoder
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())


def test_default_head_pools_a_feature_map() -> None:
    model = HardSharing(create_encoder("resnet", DIGITS, width=4), [B]).eval()
    batch = digits()[0]["image"][:6]
    outputs, z = model(batch, return_features=True)
    assert z.shape == (6, 16, 2, 2)
    layer = model.heads["b"].get_submodule("layers.0")
    torch.testing.assert_close(outputs["b"], layer(z.mean(dim=(2, 3))))


def test_hidden_layers_of_the_heads() -> None:
    head = built(A, B, head_hidden=[6, 5]).heads["b"].get_submodule("layers")
    shapes = [tuple(m.weight.shape) for m in head.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(6, 8), (5, 6), (3, 5)]


def test_a_head_of_ones_own_reads_the_feature_map() -> None:
    dense = nn.Conv2d(16, 2, 1)
    encoder = create_encoder("resnet", DIGITS, width=4)
    model = HardSharing(encoder, [C, A], heads={"c": dense})
    outputs = model(digits()[0]["image"][:3])
    assert {t: tuple(o.shape) for t, o in outputs.items()} == {"c": (3, 2, 2, 2), "a": (3, 1)}
    assert model.shared_parameters()["heads.c.weight"] == ("c",)


def test_heads_follow_device_and_dtype_of_the_encoder() -> None:
    encoder = nn.Sequential(nn.Linear(11, 5)).double()
    batch = wine()[0]["numeric"][:4].double()
    outputs = HardSharing(encoder, [A, B], example=batch)(batch)
    assert {o.dtype for o in outputs.values()} == {torch.float64}


def test_no_task_computes_nothing() -> None:
    model = built(A, B)
    model.encoder.register_forward_pre_hook(lambda *_: pytest.fail("the encoder ran"))
    assert model(first(wine()[0], 4), tasks=(), return_features=True) == ({}, None)


def test_pruned_model_learns_on_its_own() -> None:
    model = built(A, B)
    x = first(wine()[0], 32)
    before = model(x)
    pruned = model.prune("b")
    assert list(pruned.heads) == ["b"]
    pruned(x)["b"].square().mean().backward()
    torch.optim.SGD(pruned.parameters(), lr=1.0).step()
    assert not pruned(x)["b"].equal(before["b"])
    assert all(model(x)[t].equal(before[t]) for t in "ab")
    assert pruned.training == model.training


def test_it_learns_three_tasks_of_real_digits() -> None:
    x, targets = digits()
    torch.manual_seed(0)
    encoder = create_encoder("resnet", Widths(image=(1, 8, 8)), width=8)
    model = create_architecture(
        "hard_sharing", encoder, [Output("digit", 10), Output("even"), Output("ink")]
    )
    losses = {
        "digit": nn.functional.cross_entropy,
        "even": nn.functional.binary_cross_entropy_with_logits,
        "ink": nn.functional.mse_loss,
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for rows in torch.randperm(1300).split(64):
            outputs = model(x["image"][rows])
            loss = torch.stack([losses[t](o, targets[t][rows]) for t, o in outputs.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        outputs = model.eval()(x["image"][1300:])
    held_out = {name: target[1300:] for name, target in targets.items()}
    digit = (outputs["digit"].argmax(1) == held_out["digit"]).float().mean()
    even = ((outputs["even"] > 0) == (held_out["even"] > 0)).float().mean()
    ink = (outputs["ink"] - held_out["ink"]).square().mean() / held_out["ink"].var()
    assert digit > 0.85
    assert even > 0.85
    assert ink < 0.7  # of the variance; normalised images make brightness the hard one


class Answers(nn.Module):
    """An encoder of width 4 whose answer a test chooses."""

    def __init__(self, answer: object, output_size: object = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(11, 4)
        self.answer, self.output_size = answer, output_size

    def forward(self, x: Tensor) -> object:
        z = self.layer(x)
        return self.answer(z) if callable(self.answer) else self.answer


FAULTY = [
    (lambda z: (z, z), "tuple of 2"),
    (lambda z: {"out": z}, "answered a dict"),
    (lambda z: z.argmax(1, keepdim=True), "int64"),
    (lambda z: z.sum(), r"shape \(\)"),
    (lambda z: z[:, None, :], "which may be \\[N, channels, length\\]"),
    (lambda z: z[:, :3], r"\[N, 4\]"),
]


@pytest.mark.parametrize(("answer", "message"), FAULTY)
@pytest.mark.parametrize("when", ["construction", "first forward"])
def test_an_answer_no_head_can_read(answer: object, message: str, when: str) -> None:
    batch = wine()[0]["numeric"][:5]
    example = batch if when == "construction" else None
    with pytest.raises(UserError, match=message):
        HardSharing(Answers(answer), [A], example=example)(batch)


@pytest.mark.parametrize("size", [0, -1, "4", 4.0, True])
def test_a_declared_width_that_is_no_width(size: object) -> None:
    with pytest.raises(UserError, match="output_size must be a whole number"):
        HardSharing(Answers(lambda z: z, output_size=size), [A])


def test_unknown_width_says_both_remedies() -> None:
    with pytest.raises(UserError, match=r"example=.*encoder\.output_size"):
        HardSharing(nn.Sequential(nn.Linear(11, 4)), [A])


def frozen() -> nn.Module:
    return nn.Linear(3, 2).requires_grad_(False)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (nn.Flatten(), "no trainable parameters .found none"),
        (frozen(), "found 2, all frozen"),
        (nn.Linear, "Build it first"),
        ("mlp", "must be a torch module, found 'mlp'"),
    ],
)
def test_an_encoder_that_cannot_train(encoder: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        HardSharing(encoder, [A], example=torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "at least one task"),
        ([A, Output("a", 2)], "two tasks are called 'a'"),
        ({"b": A}, "is called 'a'"),
        (["a"], "found 'a'"),
        ([Output("", 1)], "found Output"),
        ([Output("a", 0)], "output size above 0"),
    ],
)
def test_faulty_tasks(tasks: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        HardSharing(create_encoder("mlp", TABLE), tasks)


def test_faulty_heads() -> None:
    encoder = create_encoder("mlp", TABLE, hidden=(8,))
    one = nn.Linear(8, 1)
    for heads, message in [
        ({"bb": one}, "did you mean 'b'"),
        (
            {"a": one, "b": nn.Sequential(one)},
            "shares its parameter '0.weight' with the head of 'a'",
        ),
        ({"a": encoder.get_submodule("stages.0.0")}, "with the encoder"),
        ({"a": torch.relu}, "must be a torch module"),
    ]:
        with pytest.raises(UserError, match=message):
            HardSharing(encoder, [A, B], heads=heads)
    for hidden in [(0,), 64, (1.5,), "64", (True,)]:
        with pytest.raises(UserError, match="head_hidden must be"):
            HardSharing(encoder, [A, B], head_hidden=hidden)


def test_asking_for_tasks_wrongly() -> None:
    model = built(Output("depth"), Output("seg"))
    x = first(wine()[0], 4)
    with pytest.raises(UserError, match="did you mean 'depth'"):
        model(x, tasks=("depht",))
    with pytest.raises(UserError, match=r"tasks=\('depth',\)"):
        model(x, tasks="depth")
    with pytest.raises(UserError, match="did you mean 'seg'"):
        model.prune("sge")
    with pytest.raises(UserError, match="at least one task to keep"):
        model.prune()


@pytest.mark.parametrize("name", ["hard_sharing", "mmoe", "cross_stitch", "multi_depth"])
def test_three_axes_of_unknown_layout_are_refused_by_all(name: str) -> None:
    encoder = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    batch = torch.rand(5, 7, 4)
    with pytest.raises(UserError, match=r"encoder\.channel_dim to 1 or to -1"):
        create_architecture(name, encoder, [A, B], example=batch)
    encoder.channel_dim = -1
    model = create_architecture(name, encoder, [A, B], example=batch)
    assert set(model(batch)) == {A.name, B.name}
