"""PAD-Net: the equations, what messages change, early answers, and what one task needs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from dense_cases import SMALL, dense_digits, dense_tasks, model_of, trained
from real_inputs import DIGITS, TABLE, Output, digits, first, wine
from torch import nn
from torch.nn.functional import gelu, linear

from polytask import Trainer
from polytask.architectures import Staged, create_encoder
from polytask.architectures._distillation import Distil, Local, Refine
from polytask.architectures.pad_net import PADNet
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made

ITEM = [Output("a", 1), Output("b", 3), Output("c", 2)]


def of_images(**options: Any) -> PADNet:
    """Item-level tasks over maps."""
    torch.manual_seed(0)
    encoder = create_encoder("resnet", DIGITS, **SMALL["resnet"])
    return PADNet(encoder, ITEM, **{"width": 6, "example": first(digits()[0], 2)} | options)


def images(count: int = 8) -> torch.Tensor:
    return digits()[0]["image"][:count]


class TestOptions(ArchitectureConformance):
    """Other options than the defaults, over maps with labels at every place, rows and tokens."""

    @pytest.fixture(
        autouse=True,
        params=[
            ("resnet", {"width": 5}, 3),
            ("resnet", {"width": 5, "messages": False, "head_hidden": (4,)}, 3),
            ("resnet", {"messages": False}, 1),
            ("mlp", {"messages": False}, 2),
            ("tokens", {"width": 7}, 2),
        ],
        ids=lambda case: f"{case[0]}-{case[2]}-{'-'.join(map(str, case[1].values()))}",
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        self.encoder, self.options, self.count = request.param

    def make(self) -> Made:
        if self.encoder == "resnet":
            tasks: dict[str, Any] = dense_tasks(*["glow", "even", "which"][: self.count])
            encoder: nn.Module = create_encoder("resnet", DIGITS, **SMALL["resnet"])
            batch: Any = dense_digits()[0][:16]
        elif self.encoder == "tokens":
            tasks = {**dense_tasks("even"), "b": Output("b", 2)}
            encoder = Staged([nn.Linear(8, 6)], Rows(), channel_dim=-1, widths=(6,))
            batch = images(16)
        else:
            tasks = {t.name: t for t in ITEM[: self.count]}
            encoder = create_encoder("mlp", TABLE, **SMALL["mlp"])
            batch = first(wine()[0], 16)
        return PADNet(encoder, tasks, **self.options), batch, tasks


class Rows(nn.Module):
    """The rows of an image as tokens, [N, H, W]."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 0]


def test_closed_messages_are_the_plain_network_bit_for_bit() -> None:
    model, plain = of_images().eval(), of_images(messages=False).eval()
    state = model.state_dict()
    assert all(value.equal(state[name]) for name, value in plain.state_dict().items())
    before = model(images())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".messages." in name:
                parameter.zero_()
    closed, expected = model(images()), plain(images())
    assert all(closed[t].equal(expected[t]) for t in expected)
    assert not any(before[t].equal(expected[t]) for t in expected)


def test_a_message_is_gated_by_the_features_of_the_receiver() -> None:
    torch.manual_seed(0)
    own, one, two = torch.randn(3, 2, 4, 5, 5)
    convs = [Local(4, 4, 1, maps=True) for _ in range(3)]
    gate = torch.sigmoid(convs[0](own))
    wanted = own + gate * convs[1](one) + gate * convs[2](two)
    found = Distil(convs[1:], convs[:1])(own, [one, two])
    torch.testing.assert_close(found, wanted)
    each = Distil(convs[1:], [convs[0], convs[2]])(own, [one, two])
    wanted = own + gate * convs[1](one) + torch.sigmoid(convs[2](own)) * convs[2](two)
    torch.testing.assert_close(each, wanted)


def test_the_output_follows_the_equations() -> None:
    model = of_images().eval()
    z = model.encoder(images())
    a, b, c = (refine(z) for refine in model.refine)
    distil = model.distil["b"]
    received = b + distil.gates[0](b).sigmoid() * (distil.messages[0](a) + distil.messages[1](c))
    head = model.heads["b"].get_submodule("layers")
    wanted = head(model.decode["b"](received).mean(dim=(2, 3)))
    torch.testing.assert_close(model(images())["b"], wanted)


def test_maps_are_convolved_and_rows_are_not() -> None:
    def kinds(model: PADNet) -> set[str]:
        return {type(m.layer).__name__ for m in model.modules() if isinstance(m, Local)}

    assert kinds(of_images()) == {"Conv2d"}
    assert kinds(PADNet(create_encoder("mlp", TABLE), ITEM)) == {"Pointwise"}
    unseen = create_encoder("resnet", DIGITS, width=4)
    assert kinds(PADNet(unseen, ITEM)) == {"Pointwise"}, "nothing says that these are maps"
    assert kinds(PADNet(unseen, dense_tasks())) == {"Conv2d"}, "labels at places [H, W] do"


def test_channels_last_maps_are_convolved_alike() -> None:
    torch.manual_seed(0)
    first_, last = Refine(3, 4, 1, maps=True), Refine(3, 4, -1, maps=True)
    last.load_state_dict(first_.state_dict())
    h = torch.randn(2, 3, 6, 5)
    torch.testing.assert_close(last(h.movedim(1, -1)).movedim(-1, 1), first_(h))


def test_early_answers_are_there_in_training_alone_and_for_these_tasks() -> None:
    model, tasks = model_of("pad_net", dense_tasks()), dense_tasks()
    image = dense_digits()[0][:4]
    outputs = model(image)
    assert {t: [tuple(o.shape) for o in early] for t, early in model.intermediate.items()} == {
        t: [tuple(output.shape)] for t, output in outputs.items()
    }
    model(image, tasks=("glow",))
    assert list(model.intermediate) == ["glow"]
    with torch.no_grad():
        model(image)
    assert not model.intermediate
    model.eval()(image)
    assert not model.intermediate
    assert list(tasks) == list(outputs)


def test_the_trainer_adds_the_loss_of_early_answers() -> None:
    image, targets, _ = dense_digits()
    tasks = dense_tasks("glow", "which")
    model = model_of("pad_net", tasks)
    trainer = Trainer(model, tasks, progress=False)
    outputs, _ = trainer.forward({"image": image[:8]})
    part = {name: targets[name][:8] for name in tasks}
    losses = trainer.forward.losses(outputs, part).values
    for name, task in tasks.items():
        (early,) = model.intermediate[name]
        wanted = task.loss(outputs[name], part[name]).value + task.loss(early, part[name]).value
        torch.testing.assert_close(losses[name], wanted)


def test_an_early_answer_is_its_own_tasks_and_features_are_everybodys() -> None:
    users = of_images().shared_parameters()
    everybody = ("a", "b", "c")
    for name, who in users.items():
        part, *rest = name.split(".")
        assert who == (everybody if part in ("encoder", "refine") else (rest[0],)), name
    alone = of_images(messages=False).shared_parameters()
    assert {who for name, who in alone.items() if name.startswith("refine.1.")} == {("b",)}


def test_one_task_needs_the_features_of_all_and_nothing_else_of_theirs() -> None:
    model = of_images()
    kept = {name.split(".")[0] for name, _ in model.prune("b").named_parameters()}
    assert kept == {"encoder", "refine", "distil", "decode", "initial", "heads"}
    assert all(part is not None for part in model.prune("b").refine)
    plain = of_images(messages=False).prune("b")
    assert [part is None for part in plain.refine] == [True, False, True]
    assert not plain.eval()(images())["b"].isnan().any()


def test_features_of_a_lone_task_and_of_networks_without_messages() -> None:
    _, features = of_images()(images(), return_features=True)
    assert isinstance(features, list)
    assert [tuple(f.shape) for f in features] == [(8, 6, 2, 2)] * 3
    _, z = of_images(messages=False)(images(), return_features=True)
    assert isinstance(z, torch.Tensor)
    assert z.shape == (8, 16, 2, 2)


def test_a_task_starts_the_same_whatever_its_company() -> None:
    torch.manual_seed(0)
    encoder = create_encoder("resnet", DIGITS, **SMALL["resnet"])
    state = torch.get_rng_state()
    many = PADNet(copy.deepcopy(encoder), ITEM)
    torch.set_rng_state(state)
    two = PADNet(copy.deepcopy(encoder), [ITEM[2], ITEM[0]])
    pairs = [("refine.2", "refine.0"), ("decode.c", "decode.c"), ("heads.a", "heads.a")]
    pairs += [("initial.c", "initial.c"), ("distil.c.messages.0", "distil.c.messages.0")]
    for one, other in pairs:
        for name, value in many.get_submodule(one).state_dict().items():
            assert value.equal(two.get_submodule(other).state_dict()[name]), one


def test_a_batch_of_one_row_and_of_one_task() -> None:
    for tasks in (ITEM, ITEM[:1]):
        model = PADNet(create_encoder("mlp", TABLE, hidden=(5,)), tasks)
        assert model(first(wine()[0], 1))["a"].shape == (1, 1)


def test_dense_tasks_are_learned() -> None:
    tasks = dense_tasks()
    losses = trained(model_of("pad_net", tasks, width=12), tasks, epochs=2)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(("options", "says"), [({"width": 0}, "width"), ({"width": "x"}, "width")])
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        of_images(**options)


def test_residual_block_by_hand() -> None:
    torch.manual_seed(0)
    block, x = Refine(3, 4, 1, maps=False), torch.randn(5, 3)
    base = linear(x, block.project.weight, block.project.bias)
    normal = (base - base.mean(1, keepdim=True)) / (
        base.var(1, keepdim=True, correction=0) + 1e-5
    ).sqrt()
    inner = gelu(linear(normal, block.first.layer.weight, block.first.layer.bias))
    wanted = base + linear(inner, block.second.layer.weight, block.second.layer.bias)
    torch.testing.assert_close(block(x), wanted)
