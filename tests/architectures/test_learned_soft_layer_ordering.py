from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from learned_cases import (
    DIGIT_TASKS,
    A,
    B,
    C,
    equal,
    halving,
    images,
    reloaded,
    table,
    tokens,
    trained,
    wines,
)
from real_inputs import DIGITS
from torch import Tensor, nn

from polytask.architectures import HardSharing, create_encoder
from polytask.architectures.soft_layer_ordering import SoftLayerOrdering
from polytask.errors import UserError
from polytask.testing.architectures import ArchitectureConformance, Made


def built(*tasks: Any, encoder: Callable[[], nn.Module] = table, **options: Any) -> Any:
    torch.manual_seed(options.pop("seed", 0))
    return SoftLayerOrdering(encoder(), tasks or (A, B), **options)


def resnet() -> nn.Module:
    return create_encoder("resnet", DIGITS, width=4, blocks=(1, 3))


CASES: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, Any]]] = {
    "kept-stages": (table, wines(48), {"modules": 2, "depth": 3}),
    "kept-and-added": (resnet, images(), {"modules": 3, "depth": 2}),
    "tokens": (tokens, images(), {"modules": 3, "depth": 1}),
    "one-module": (table, wines(48), {"modules": 1, "depth": 3}),
}


class TestOptions(ArchitectureConformance):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Made:
        encoder, batch, options = CASES[self.name]
        tasks = {task.name: task for task in (A, B, C)}
        return SoftLayerOrdering(encoder(), tasks, **options), batch, tasks


def test_every_module_counts_alike_at_first_and_shares_sum_to_one() -> None:
    model = built(modules=3, depth=5)
    assert model.proportions("a").shape == (5, 3)
    torch.testing.assert_close(model.proportions("a"), torch.full((5, 3), 1 / 3))
    nn.init.normal_(model.orders["a"].logits)
    torch.testing.assert_close(model.proportions("a").sum(dim=1), torch.ones(5))


def test_the_equation() -> None:
    model = built(modules=2, depth=3).eval()
    with torch.no_grad():
        model.orders["b"].logits.copy_(torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]))
    first, second = model.layers()
    y = model.encoder.stages[0](model.encoder.entrance(wines()))
    for row in torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]):
        share = row.exp() / row.exp().sum()
        y = share[0] * first(y) + share[1] * second(y)
    torch.testing.assert_close(model(wines())["b"], model.heads.answer("b", y))


def test_the_encoders_own_order_is_the_encoder() -> None:
    """A task that chooses module d at depth d has the plain network."""
    model = built(modules=2).eval()
    torch.manual_seed(0)
    plain = HardSharing(table(), [A, B]).eval()
    assert not model(wines())["a"].allclose(plain(wines())["a"])
    with torch.no_grad():
        model.orders["a"].logits.copy_(1000 * torch.eye(2))
    assert model(wines())["a"].equal(plain(wines())["a"])


def test_one_module_is_one_repeated_layer() -> None:
    model = built(modules=1, depth=3).eval()
    outputs, z = model(wines(), return_features=True)
    h = model.encoder.entrance(wines())
    for stage in (0, 1, 2, 2, 2):
        h = model.encoder.stages[stage](h)
    assert z.equal(h)
    assert outputs["a"].equal(model.heads.answer("a", h))
    assert not [name for name, _ in model.named_parameters() if "orders" in name]


def test_the_same_modules_at_every_depth() -> None:
    shallow, deep = built(modules=2, depth=1), built(modules=2, depth=6)
    count = [
        sum(p.numel() for n, p in m.named_parameters() if "orders" not in n)
        for m in (shallow, deep)
    ]
    assert count[0] == count[1]
    calls = []
    for layer in deep.layers():
        layer.register_forward_hook(lambda module, *_: calls.append(module))
    deep(wines())
    # At the first depth all tasks read the trunk, so a module runs once for both.
    assert len(calls) == 2 + 2 * 5 * 2


@pytest.mark.parametrize(
    ("encoder", "example", "modules", "trunk", "added"),
    [
        (table, None, 4, 1, 2),
        (table, None, 1, 2, 0),
        (lambda: table(8, 6), None, 3, 2, 3),
        (resnet, None, 4, 3, 2),
        (tokens, None, 2, 1, 0),
        (halving, images(2), 2, 2, 2),
        (lambda: nn.Sequential(nn.Linear(64, 5)), images(2).flatten(1), 2, 1, 2),
    ],
)
def test_what_is_trunk_and_what_is_module(
    encoder: Any, example: Any, modules: int, trunk: int, added: int
) -> None:
    model = built(encoder=encoder, example=example, modules=modules)
    assert (model.trunk, len(model.added), len(model.layers())) == (trunk, added, modules)
    weights = [next(layer.parameters()) for layer in model.layers()]
    for i, one in enumerate(weights):
        assert all(not one.equal(other) for other in weights[i + 1 :])


def test_a_stage_that_halves_the_map_is_found_out() -> None:
    model = built(encoder=halving, modules=2)
    with pytest.raises(UserError, match=r"\(24, 4, 8, 8\).*\(24, 4, 4, 4\).*example="):
        model(images())


def test_a_task_starts_the_same_in_any_company() -> None:
    alone, many = built(B).state_dict(), built(C, B, A).state_dict()
    assert all(value.equal(many[name]) for name, value in alone.items())


def test_one_row_saving_and_pruning() -> None:
    model = built(A, B, C, modules=2)
    nn.init.normal_(model.orders["b"].logits)
    assert model(wines(1))["c"].shape == (1, 2)
    assert reloaded(model, built(A, B, C, modules=2, seed=1), wines())
    pruned = model.prune("b", "c")
    assert set(pruned.orders) == {"b", "c"}
    assert equal(pruned(wines()), {t: o for t, o in model(wines()).items() if t != "a"})


def test_faulty_options() -> None:
    for options, message in [
        ({"modules": 0}, "modules must be"),
        ({"modules": 2.0}, "modules must be"),
        ({"depth": 0}, "depth must be"),
    ]:
        with pytest.raises(UserError, match=message):
            built(**options)
    with pytest.raises(UserError, match="did you mean 'a'"):
        built().proportions("aa")


def test_it_learns_digits_and_the_order() -> None:
    model = built(*DIGIT_TASKS, encoder=resnet, modules=2)
    losses = trained(model, epochs=5)
    assert losses[-1] < 0.8 * losses[0]
    shares: list[Tensor] = [model.proportions(task.name) for task in DIGIT_TASKS]
    assert all((share - 0.5).abs().max() > 0.01 for share in shares)
    assert not shares[0].allclose(shares[1], atol=1e-3)
