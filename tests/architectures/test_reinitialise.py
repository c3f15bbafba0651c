from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrizations

from polytask.architectures import reinitialise
from polytask.architectures._init import draw_seed, fresh_copy, seeded


def test_same_stream_same_weights_as_construction() -> None:
    """Redrawing runs in the order of construction, so it gives what a new module would have."""

    def new() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2), nn.Embedding(5, 2), nn.GRU(2, 3)
        )

    torch.manual_seed(1)
    expected = new().state_dict()
    module = new()
    module[1](torch.rand(2, 3, 4, 4))  # moves the running statistics
    assert not module.state_dict()["1.running_mean"].equal(expected["1.running_mean"])
    torch.manual_seed(1)
    assert reinitialise(module) == ()
    for name, value in module.state_dict().items():
        assert value.equal(expected[name]), name


def test_transformer_layers_are_drawn_anew() -> None:
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(8, 2, 16)
    before = {n: v.clone() for n, v in module.state_dict().items() if "weight" in n}
    assert reinitialise(module) == ()
    for name in ("self_attn.in_proj_weight", "linear1.weight", "linear2.weight"):
        assert not module.state_dict()[name].equal(before[name]), name


class Parent(nn.Module):
    """Chooses its child's weights itself."""

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Linear(2, 2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.child.weight, 0.5)


def test_a_parent_has_the_last_word() -> None:
    module = nn.Sequential(Parent())
    nn.init.zeros_(module[0].child.weight)
    reinitialise(module)
    assert module[0].child.weight.eq(0.5).all()


def test_parametrised_weights_are_named_as_kept() -> None:
    module = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)))
    before = module[0].weight.clone()
    assert reinitialise(module) == ("0.parametrizations.weight",)
    assert module[0].weight.equal(before)


def test_a_module_used_twice_is_drawn_once() -> None:
    shared = nn.Linear(3, 3)
    torch.manual_seed(4)
    reinitialise(shared)
    once = shared.weight.clone()
    torch.manual_seed(4)
    reinitialise(nn.Sequential(shared, nn.ReLU(), shared))
    assert shared.weight.equal(once)


def test_seeded_streams_depend_on_seed_and_name_and_restore() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    draws = {}
    for seed, name in [(1, "a"), (1, "b"), (2, "a"), (1, "a")]:
        with seeded(seed, name):
            draw = torch.rand(3)
        assert draws.setdefault((seed, name), draw).equal(draw)
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 3
    assert torch.rand(3).equal(expected)


def test_seeds_follow_torch() -> None:
    torch.manual_seed(9)
    first = draw_seed()
    assert draw_seed() != first
    torch.manual_seed(9)
    assert draw_seed() == first


def test_a_fresh_copy_keeps_what_is_frozen() -> None:
    """Pretrained layers that do not learn must not become random ones in a task's own network."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    module[:2].requires_grad_(False)
    module[:2](torch.rand(8, 3))  # moves the running statistics
    copied, _ = fresh_copy(module, 1, "a")
    for name, value in module.state_dict().items():
        assert copied.state_dict()[name].equal(value) == (not name.startswith("2.")), name
