"""The search for a tree and the expected number of copies, against enumeration."""

from __future__ import annotations

from itertools import pairwise, product
from math import inf

import pytest
import torch
from torch import Tensor

from polytask.architectures._affinity import dissimilarities
from polytask.architectures._branching import expected_copies
from polytask.errors import UserError
from polytask.trees import Groups, best_tree


def partitions(tasks: int) -> list[Groups]:
    """Every partition, by the group of each task."""
    found = set()
    for labels in product(range(tasks), repeat=tasks):
        groups = [tuple(i for i in range(tasks) if labels[i] == g) for g in set(labels)]
        found.add(tuple(sorted(groups)))
    return sorted(found)


def refines(fine: Groups, coarse: Groups) -> bool:
    return all(any(set(one) <= set(other) for other in coarse) for one in fine)


def price(tree: tuple[Groups, ...], d: Tensor, costs: list[float]) -> tuple[float, float]:
    """Dissimilarity and size of a tree."""
    apart = sum(
        float(d[stage, i, j])
        for stage, groups in enumerate(tree)
        for group in groups
        for i in group
        for j in group
        if i < j
    )
    copies = sum(c * len(groups) for c, groups in zip(costs, tree, strict=True))
    return apart, copies / sum(costs)


def random_dissimilarities(seed: int, stages: int, tasks: int) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    d = torch.rand(stages, tasks, tasks, generator=stream, dtype=torch.float64)
    return (d + d.transpose(1, 2)) / 2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("budget", "size"), [(inf, 0.7), (1.8, 0.0), (2.5, 0.3), (1.0, 0.0)])
def test_the_best_tree_of_all(seed: int, budget: float, size: float) -> None:
    d, costs = random_dissimilarities(seed, 3, 4), [1.0, 3.0, 2.5]
    every = partitions(4)
    assert len(every) == 15
    trees = [
        (first, second, third)
        for first in every
        for second in every
        if refines(second, first)
        for third in every
        if refines(third, second)
    ]
    prices = [price(tree, d, costs) for tree in trees]
    least = min(apart + size * copies for apart, copies in prices if copies <= budget + 1e-9)
    found = best_tree(d.tolist(), costs, budget=budget, size=size, beam=1000)
    apart, copies = price(found, d, costs)
    assert copies <= budget + 1e-9
    assert apart + size * copies == pytest.approx(least, abs=1e-9)


@pytest.mark.parametrize("beam", [1, 3, 8])
def test_any_beam_finds_a_tree_within_the_budget(beam: int) -> None:
    d, costs = random_dissimilarities(9, 4, 9), [1.0, 1.0, 2.0, 4.0]
    found = best_tree(d.tolist(), costs, budget=2.2, beam=beam)
    assert price(found, d, costs)[1] <= 2.2
    assert all(refines(fine, coarse) for coarse, fine in pairwise(found))
    assert all(sorted(sum(groups, ())) == list(range(9)) for groups in found)


def test_many_tasks() -> None:
    d, costs = random_dissimilarities(2, 3, 24), [1.0, 1.0, 1.0]
    wide = price(best_tree(d.tolist(), costs, budget=4.0, beam=8), d, costs)
    narrow = price(best_tree(d.tolist(), costs, budget=4.0, beam=1), d, costs)
    assert wide[1] <= 4.0
    assert wide[0] <= narrow[0]
    # Four random groups of six at every stage have 60 of all 276 pairs in them.
    assert wide[0] < 60 / 276 * float(d.triu(1).sum())


def test_blocks_are_recovered() -> None:
    blocks: Groups = ((0, 3), (1, 4, 5), (2,))
    affinity = torch.zeros(6, 6)
    for block in blocks:
        for i in block:
            affinity[i, list(block)] = 0.8
    names = list("abcdef")
    d = dissimilarities(affinity, names, names, 3)
    assert best_tree(d, [1, 1, 1], budget=3.0) == (blocks,) * 3
    # With less than that, they part as early as can be paid: at the cheaper first stage not yet.
    pair = [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    parted: Groups = ((0, 1), (2,))
    assert best_tree([pair] * 3, [1, 2, 2], budget=1.85) == (((0, 1, 2),), parted, parted)
    assert best_tree([pair] * 3, [1, 2, 2], budget=1.5) == (((0, 1, 2),), ((0, 1, 2),), parted)


def test_equally_good_trees_are_the_smallest() -> None:
    zero = [[[0.0] * 4] * 4] * 2
    assert best_tree(zero, [1, 2]) == (((0, 1, 2, 3),),) * 2
    one = [[[1.0] * 3] * 3] * 2
    assert best_tree(one, [1, 2]) == (((0,), (1,), (2,)),) * 2
    assert best_tree([[[0.0]]], [1]) == (((0,),),)
    assert best_tree(one, [0.0, 0.0], budget=1.0)[0] == ((0,), (1,), (2,))


def test_the_unit_of_the_affinity_does_not_matter() -> None:
    d = random_dissimilarities(3, 2, 5)
    names = list("abcde")
    trees = [
        best_tree(dissimilarities(a, names, names, 2), [1, 1], budget=1.5)
        for a in (-d, 5 - 1e6 * d, -1e-6 * d)
    ]
    assert trees[0] == trees[1] == trees[2]


def test_affinities_in_all_forms() -> None:
    rows = [[1.0, 0.2, 0.6], [0.4, 1.0, 0.1], [0.6, 0.1, 1.0]]
    names = ["x", "y", "z"]
    named = {a: {b: rows[i][j] for j, b in enumerate(names) if a != b} for i, a in enumerate(names)}
    expected = [[0.0, 0.3, 0.0], [0.3, 0.0, 0.5], [0.0, 0.5, 0.0]]
    for form in (rows, named, torch.tensor(rows).double(), [rows, named], torch.tensor([rows] * 2)):
        found = torch.tensor(dissimilarities(form, names, names, 2))
        torch.testing.assert_close(found, torch.tensor([expected] * 2))
    back = dissimilarities(rows, names, ["z", "y", "x"], 1)[0]
    assert back == [row[::-1] for row in dissimilarities(rows, names, names, 1)[0][::-1]]


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        ([[1.0, 0.2]], "matrix of the 2 tasks"),
        ([[1.0], [0.2]], "matrix of the 2 tasks"),
        ("high", "matrix of the 2 tasks"),
        ({"x": {"y": 1.0}}, "None for 'y' and 'x'"),
        ({"x": {"yy": 1.0}}, "did you mean 'y'"),
        ({"xx": {"y": 1.0}}, "did you mean 'x'"),
        ([[1.0, float("nan")], [0.2, 1.0]], "finite number for every two tasks, found nan"),
        ([[[1.0, 0.2], [0.2, 1.0]]], "3 stages, found 1 matrices"),
    ],
)
def test_affinities_that_are_none(affinity: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        dissimilarities(affinity, ["x", "y"], ["x", "y"], 3)


def test_faulty_prices() -> None:
    for options, message in [
        ({"budget": 0.9}, "budget must be at least 1"),
        ({"budget": float("nan")}, "budget must be at least 1"),
        ({"size": -1.0}, "size must be 0 or more"),
    ]:
        with pytest.raises(UserError, match=message):
            best_tree([[[0.0]]], [1.0], **options)


def enumerated(choices: list[Tensor]) -> Tensor:
    """Every way in which all readers can choose, with its probability."""
    rows = [(stage, reader) for stage, c in enumerate(choices) for reader in range(len(c))]
    expected = torch.zeros(len(choices), dtype=torch.float64)
    for drawn in product(*(range(choices[stage].shape[1]) for stage, _ in rows)):
        chosen = dict(zip(rows, drawn, strict=True))
        probability = torch.ones((), dtype=torch.float64)
        for (stage, reader), candidate in chosen.items():
            probability = probability * choices[stage][reader, candidate]
        readers = list(range(len(choices[-1])))
        for stage in reversed(range(len(choices))):
            readers = sorted({chosen[stage, reader] for reader in readers})
            one = torch.zeros(len(choices), dtype=torch.float64)
            one[stage] = len(readers)
            expected = expected + probability * one
    return expected


@pytest.mark.parametrize("shapes", [[(2, 2), (2, 2), (3, 2)], [(3, 3), (2, 3)], [(4, 2)], [(3, 1)]])
def test_expected_copies_are_those_of_all_trees(shapes: list[tuple[int, int]]) -> None:
    stream = torch.Generator().manual_seed(5)
    logits = [
        (2 * torch.randn(shape, generator=stream, dtype=torch.float64)).requires_grad_()
        for shape in shapes
    ]
    results = []
    for count in (expected_copies, enumerated):
        copies = count([values.softmax(dim=1) for values in logits])
        weights = torch.arange(1, len(shapes) + 1, dtype=torch.float64)
        gradients = torch.autograd.grad((weights * copies).sum(), logits)
        results.append([copies, *gradients])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_expected_copies_at_the_ends() -> None:
    alone = [torch.eye(4)] * 3
    assert expected_copies(alone).tolist() == [4.0] * 3
    together = [torch.eye(4)[[0] * 4]] * 3
    assert expected_copies(together).tolist() == [1.0] * 3
    certain = [choice.clone().requires_grad_() for choice in together]
    assert all(
        g.isfinite().all() for g in torch.autograd.grad(expected_copies(certain).sum(), certain)
    )
