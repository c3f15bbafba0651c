"""Terms without a state: values, gradients and proximal steps in closed form."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from stacks import TASKS, drawn, gradient

from polytask.errors import UserError
from polytask.optimization.regularization import create_regularizer

# Two tasks (columns) with weights at right angles; as a stack, tasks come first.
GOLDEN = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], dtype=torch.float64).T


def test_l2_is_half_the_sum_over_pairs() -> None:
    stack = drawn(3, 4, 5)
    pairs = [(a - b).square().sum() for a, b in combinations(stack, 2)]
    term = create_regularizer("l2", strength=0.3)
    torch.testing.assert_close(term.penalty(stack, TASKS), 0.15 * torch.stack(pairs).sum())
    mean = 3 * (stack - stack.mean(0)).square().sum()
    torch.testing.assert_close(term.penalty(stack, TASKS), 0.15 * mean)


def test_l2_without_bound_is_hard_sharing() -> None:
    stack = drawn(3, 4, 5)
    one = create_regularizer("l2", strength=1e12).prox(stack, 1.0)
    torch.testing.assert_close(one, stack.mean(0).expand_as(stack), atol=1e-9, rtol=0)


def test_trace_norm_of_a_known_matrix() -> None:
    term = create_regularizer("trace_norm", strength=1.0)
    assert term.penalty(GOLDEN, TASKS[:2]).item() == pytest.approx(7)
    found = gradient(lambda stack: term.penalty(stack, TASKS[:2]), GOLDEN)
    expected = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found.T, expected)
    expected = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(term.prox(GOLDEN, 1.0).T, expected)


@pytest.mark.parametrize("name", ["trace_norm", "tucker", "tensor_train"])
@pytest.mark.parametrize(
    "stack",
    [torch.zeros(3, 4, 2), torch.ones(3, 4, 2), torch.eye(3)[:, :, None].repeat(1, 1, 2)],
    ids=["zero", "rank one", "repeated"],
)
def test_nuclear_norms_are_smooth_enough(name: str, stack: torch.Tensor) -> None:
    term = create_regularizer(name, strength=1.0)
    assert gradient(lambda s: term.penalty(s, TASKS), stack).isfinite().all()


def test_sums_over_unfoldings_against_numpy() -> None:
    stack = drawn(3, 4, 5, 2)
    array = stack.numpy()
    unfoldings = [np.moveaxis(array, mode, 0).reshape(array.shape[mode], -1) for mode in range(4)]
    norms = [np.linalg.norm(matrix, "nuc") for matrix in unfoldings]
    found = create_regularizer("tucker", strength=2.0).penalty(stack, TASKS)
    assert found.item() == pytest.approx(2 * np.mean(norms))
    cuts = [array.reshape(rows, -1) for rows in (3, 12, 60)]
    norms = [np.linalg.norm(matrix, "nuc") for matrix in cuts]
    found = create_regularizer("tensor_train", strength=2.0).penalty(stack, TASKS)
    assert found.item() == pytest.approx(2 * np.mean(norms))


def test_of_vectors_all_trace_norms_are_one() -> None:
    """[tasks, inputs]: the only unfolding and its transpose."""
    stack = drawn(3, 6)
    found = [
        create_regularizer(name).penalty(stack, TASKS).item()
        for name in ("trace_norm", "tucker", "tensor_train")
    ]
    assert found == pytest.approx([found[0]] * 3)


def test_ranks_are_told() -> None:
    core = drawn(3, 1) @ drawn(1, 20, seed=1)
    stack = core.reshape(3, 4, 5)
    assert create_regularizer("trace_norm").diagnostics({"w": stack}, TASKS)["rank"] == {"w": 1}
    assert create_regularizer("tucker").diagnostics({"w": stack}, TASKS)["ranks"] == {
        "w": [1, 4, 4]
    }
    found = create_regularizer("tensor_train").diagnostics({"w": stack}, TASKS)
    assert (found["ranks"], found["full"]) == ({"w": [1, 4]}, {"w": [3, 5]})
    found = create_regularizer("tucker").diagnostics({"w": stack}, TASKS)
    assert found["full"] == {"w": [3, 4, 5]}
    told = create_regularizer("trace_norm").details({"w": drawn(3, 9)}, TASKS)
    assert told["rank"] == {"w": 3}
    values = np.linalg.svd(drawn(3, 9).numpy(), compute_uv=False)
    assert told["spectrum"]["w"] == pytest.approx(values / values[0])
    nothing = create_regularizer("trace_norm").details({"w": torch.zeros(3, 9)}, TASKS)
    assert nothing == {"rank": {"w": 0}, "spectrum": {"w": [0.0, 0.0, 0.0]}}


def test_block_sparsity_is_column_shrinkage() -> None:
    stack = torch.tensor([[3.0, 0.0, 0.1], [4.0, 0.0, 0.0]], dtype=torch.float64)
    term = create_regularizer("block_sparse", strength=0.5)
    assert term.penalty(stack, TASKS[:2]).item() == pytest.approx(0.5 * 5.1)
    shrunk = term.prox(stack, 2.0)
    expected = torch.tensor([[2.4, 0.0, 0.0], [3.2, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(shrunk, expected)
    assert gradient(lambda s: term.penalty(s, TASKS[:2]), torch.zeros(2, 3)).eq(0).all()
    found = term.diagnostics({"w": shrunk}, TASKS[:2])
    assert found["groups"] == {"w": {"groups": 3, "zero": 2}}


def test_groups_of_a_layer() -> None:
    stack = drawn(3, 4, 5, 2)
    norms = [stack[:, :, unit].norm() for unit in range(5)]
    term = create_regularizer("block_sparse", strength=1.0)
    torch.testing.assert_close(term.penalty(stack, TASKS), torch.stack(norms).sum())
    term = create_regularizer("block_sparse", strength=1.0, group="position")
    norms = [stack.flatten(1)[:, place].norm() for place in range(40)]
    torch.testing.assert_close(term.penalty(stack, TASKS), torch.stack(norms).sum())
    with pytest.raises(UserError, match=r"'column'\. Known: input, position"):
        create_regularizer("block_sparse", group="column")


def test_cosines_of_pairs_against_scipy() -> None:
    stack = drawn(3, 4, 5)
    rows = stack.flatten(1).numpy()
    expected = sum((1 - cosine(a, b)) ** 2 for a, b in combinations(rows, 2))
    term = create_regularizer("decorrelation", strength=2.0)
    assert term.penalty(stack, TASKS).item() == pytest.approx(2 * expected)
    told = term.diagnostics({"w": stack}, TASKS)["cosine"]
    assert told["wind"]["sun"] == pytest.approx(1 - cosine(rows[0], rows[2]))
    assert told["rain"]["rain"] == pytest.approx(1)


def test_cosines_of_equal_and_of_no_weights() -> None:
    term = create_regularizer("decorrelation", strength=1.0)
    same = drawn(4, 5).expand(3, 4, 5)
    assert term.penalty(same, TASKS).item() == pytest.approx(3)
    assert gradient(lambda s: term.penalty(s, TASKS), same).abs().max() < 1e-9
    zeros = torch.zeros(3, 4, 5)
    assert term.penalty(zeros, TASKS).item() == 0
    assert gradient(lambda s: term.penalty(s, TASKS), zeros).eq(0).all()
    assert term.diagnostics({"w": zeros}, TASKS)["cosine"]["sun"]["rain"] == 0


def test_descent_on_cosines_ends_at_right_angles() -> None:
    term = create_regularizer("decorrelation", strength=1.0)
    stack = drawn(3, 8) + 1
    for _ in range(500):
        stack = stack - gradient(lambda s: term.penalty(s, TASKS), stack)
    rows = torch.nn.functional.normalize(stack, dim=1)
    torch.testing.assert_close(rows @ rows.T, torch.eye(3).double(), atol=1e-4, rtol=0)
