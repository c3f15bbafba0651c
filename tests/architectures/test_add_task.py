"""A task added to a model: what stays, what is drawn, what learns, and who refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from real_inputs import TABLE, Output, first, wine
from test_architecture_conformance import build
from torch import Tensor, nn

from polytask import Task, Trainer
from polytask.architectures import Architecture, create_encoder, list_architectures
from polytask.errors import UserError
from polytask.training._optim import make_optimizer

A, B, C = Output("a", 1), Output("b", 3), Output("c", 2)
REFUSING = {
    "adashare",
    "cascaded",
    "dmtrl",
    "learning_to_branch",
    "mti_net",
    "nddr",
    "pad_net",
    "pap_net",
    "ple",
}
"""With default options; all but ple, which takes one where it has one level, whatever they are."""


def batch() -> dict[str, Tensor]:
    return first(wine()[0], 24)


def model_of(name: str, *tasks: Output, seed: int = 0, **options: object) -> Architecture:
    torch.manual_seed(seed)
    encoder = create_encoder("mlp", TABLE, hidden=(12, 12))
    model: Architecture = build(name, encoder, list(tasks), batch(), **options)
    return model.eval()


def with_norm() -> nn.Module:
    """Batch norm and dropout in the encoder."""
    return nn.Sequential(nn.Linear(13, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))


@pytest.mark.parametrize("name", list_architectures())
def test_who_refuses_says_why_and_what_to_do(name: str) -> None:
    model = model_of(name, A, B)
    if name not in REFUSING:
        model.add_task(C)
        assert model.task_names == ("a", "b", "c")
        return
    with pytest.raises(UserError) as refused:
        model.add_task(C)
    assert any(word in str(refused.value) for word in ("Train", "Build", "takes one more"))
    assert model.task_names == ("a", "b")


@pytest.mark.parametrize("name", sorted(set(list_architectures()) - REFUSING - {"multi_depth"}))
def test_what_a_task_has_for_itself_is_what_it_would_have_had(name: str) -> None:
    grown, built = model_of(name, A, B), model_of(name, A, B, C)
    grown.add_task(C)
    values = dict(built.named_parameters())
    own = {n: p for n, p in grown.named_parameters() if p.requires_grad}
    assert own, "nothing of the new task learns"
    for parameter_name, parameter in own.items():
        assert parameter.equal(values[parameter_name]), parameter_name


def test_another_seed_draws_another_head_and_leaves_the_stream_alone() -> None:
    one, other = model_of("hard_sharing", A), model_of("hard_sharing", A)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    one.add_task(C)
    other.add_task(C, seed=1)
    assert torch.rand(2).equal(expected)
    assert not one(batch())["c"].equal(other(batch())["c"])


def test_parameters_stay_the_same_objects() -> None:
    model = model_of("single_task", A, B)
    before = dict(model.named_parameters())
    model.add_task(C)
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())


@pytest.mark.parametrize("name", ["cross_stitch", "sluice"])
def test_old_columns_take_nothing_of_the_new_one(name: str) -> None:
    model = model_of(name, A, B)
    before = {n: p.clone() for n, p in model.named_parameters() if n.endswith(".alpha")}
    model.add_task(C)
    after = dict(model.named_parameters())
    for at, alpha in before.items():
        new = after[at] if name == "cross_stitch" else after[at].mT
        old = alpha if name == "cross_stitch" else alpha.mT
        assert new[: len(old)].equal(old)
        assert not new[len(old) :].any()
    of_new = [p for n, p in after.items() if n.endswith("c.alpha")]
    assert all(alpha.ne(0).all() for alpha in of_new)


@pytest.mark.parametrize("name", ["cross_stitch", "sluice", "single_task", "branched", "mmoe"])
def test_a_lone_task_gets_company(name: str) -> None:
    model = model_of(name, A)
    before = model(batch())["a"]
    model.add_task(B)
    torch.testing.assert_close(model(batch())["a"], before, rtol=0, atol=0)
    model.add_task(C)
    torch.testing.assert_close(model(batch())["a"], before, rtol=0, atol=0)
    assert model.task_names == ("a", "b", "c")


def test_groups_of_a_tree_keep_their_parts_wherever_they_come_to_stand() -> None:
    z, m = Output("z", 1), Output("m", 1)
    model = model_of("branched", m, z, groups=[["m"], ["z"]], at=0)
    before = model(batch())
    model.add_task(A, groups=[["a", "z"], ["m"]])
    after = model(batch())
    assert all(after[task].equal(before[task]) for task in before)
    assert model.tree[0] == (("a", "z"), ("m",))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="groups must have every task"):
        model.add_task(B)
    with pytest.raises(UserError, match="stay together"):
        model.add_task(B, groups=[["a"], ["b", "z"], ["m"]])
    assert model.task_names == ("m", "z", "a")


def test_a_new_task_reads_at_a_depth_that_is_said() -> None:
    model = model_of("multi_depth", A, B)
    before = model(batch())
    model.add_task(C, depths={"c": 1})
    assert model.depths == {"a": 1, "b": 2, "c": 1}  # type: ignore[attr-defined]
    after = model(batch())
    assert all(after[task].equal(before[task]) for task in before)


def test_frozen_parts_stay_in_eval_mode_and_their_statistics_stay() -> None:
    torch.manual_seed(0)
    model = build("hard_sharing", with_norm(), [A], torch.zeros(2, 13))
    model(torch.randn(20, 13))
    model.add_task(B)
    kept = copy.deepcopy(model.state_dict())
    model.train()
    assert model.training
    assert model.heads["b"].training
    assert not any(part.training for part in model.encoder.modules())
    assert not any(part.training for part in model.heads["a"].modules())
    x = torch.randn(20, 13)
    assert model(x)["a"].equal(model(x)["a"]), "dropout is on"
    assert all(value.equal(kept[name]) for name, value in model.state_dict().items())
    copied = copy.deepcopy(model).train()
    assert not copied.encoder.training
    pruned = model.prune("a").train()
    assert not pruned.encoder.training


def test_without_freezing_old_parameters_learn_gently() -> None:
    torch.manual_seed(0)
    model = build("cross_stitch", with_norm(), [A, B], torch.zeros(2, 13), alpha_rate=4.0)
    model.add_task(C, freeze=False, lr_factor=0.5)
    groups = make_optimizer("sgd", model, 0.1, 0.01).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    rate = {
        names[id(p)]: (round(group["lr"], 6), group["weight_decay"])
        for group in groups
        for p in group["params"]
    }
    assert rate["heads.c.layers.0.weight"] == (0.1, 0.01)
    assert rate["heads.a.layers.0.weight"] == (0.05, 0.01)
    assert rate["joints.1.a.alpha"] == (0.2, 0.0)
    assert rate["joints.1.c.alpha"] == (0.4, 0.0)
    assert set(rate) == {name for name, _ in model.named_parameters()}
    assert all(part.training for part in model.train().modules())


def test_what_was_frozen_learns_again_but_not_what_the_user_froze() -> None:
    model = model_of("hard_sharing", A)
    user = next(iter(dict(model.named_parameters())))
    dict(model.named_parameters())[user].requires_grad_(False)
    model.add_task(B)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        "heads.b.layers.0.weight",
        "heads.b.layers.0.bias",
    }
    model.add_task(C, freeze=False)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {user}


def test_a_head_of_ones_own_and_of_an_old_task() -> None:
    own, added = nn.Linear(12, 1), nn.Linear(12, 2)
    model = model_of("hard_sharing", A, heads={"a": own})
    weight, before = own.weight, model(batch())["a"]
    model.add_task(C, head=added)
    assert model(batch())["a"].equal(before)
    parameters = {id(p) for p in model.parameters()}
    assert {id(weight), id(added.weight)} <= parameters


def test_a_copied_or_pickled_model_takes_a_task_too() -> None:
    model = model_of("mmoe", A, B)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.add_task(C)
        assert other.task_names == ("a", "b", "c")
    assert model.task_names == ("a", "b")
    pruned = model.prune("b")
    before = pruned(batch())["b"]
    pruned.add_task(C)
    assert pruned(batch())["b"].equal(before)
    assert pruned.task_names == ("b", "c")


def test_columns_that_were_pruned_refuse() -> None:
    model = model_of("cross_stitch", A, B).prune("a")
    with pytest.raises(UserError, match="would not answer as before"):
        model.add_task(C)


def test_bad_input() -> None:
    model = model_of("hard_sharing", A, B)
    with pytest.raises(UserError, match="there already"):
        model.add_task(A)
    with pytest.raises(UserError, match="with a name and an output size"):
        model.add_task("c")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="lr_factor must be"):
        model.add_task(C, freeze=False, lr_factor=0)
    with pytest.raises(UserError, match="cannot be built with these options"):
        model.add_task(C, groups=1)
    assert model.task_names == ("a", "b")


def test_two_additions_trained_by_the_trainer_leave_the_first_as_it_was() -> None:
    x = wine()[0]
    torch.manual_seed(0)
    encoder = create_encoder("mlp", TABLE, hidden=(12, 12))
    level = next(iter(x.values()))[:, 0].float()
    tasks = [Task("level", "regression").fitted(level)]
    model = build("mtan", encoder, tasks, first(x, 2))
    settings: dict[str, Any] = {"epochs": 2, "lr": 1e-2, "progress": False}
    Trainer(model, tasks, **settings).fit((x, {"level": level}))
    before = model.eval()(x)["level"]
    for name in ("more", "most"):
        target = level.square() if name == "more" else level.exp()
        tasks.append(Task(name, "regression").fitted(target))
        model.add_task(tasks[-1])
        history = Trainer(model, tasks, **settings).fit((x, {name: target}))
        losses = [record[f"train/{name}/loss"] for record in history.epochs]
        assert losses[-1] < losses[0]
        torch.testing.assert_close(model.eval()(x)["level"], before, rtol=0, atol=0)
