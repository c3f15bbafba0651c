"""Trees from affinities at several depths: against enumeration, at the ends, into a network."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
import yaml
from sklearn.datasets import load_digits

from polytask.architectures import create_architecture, create_encoder
from polytask.data import InputSpec
from polytask.errors import UserError
from polytask.relationships import Affinity, branch_tree
from polytask.tasks import Task

DIGITS = ["digit", "odd", "ink"]


def table(seed: int, tasks: int) -> Affinity:
    draw = np.random.default_rng(seed)
    values = draw.random((tasks, tasks))
    return Affinity(tuple("dacbefgh"[:tasks]), values)


def partitions(names: list[str]) -> list[frozenset[frozenset[str]]]:
    found = set()
    for labels in product(range(len(names)), repeat=len(names)):
        groups: dict[int, set[str]] = {}
        for name, label in zip(names, labels, strict=True):
            groups.setdefault(label, set()).add(name)
        found.add(frozenset(map(frozenset, groups.values())))
    return list(found)


def refines(fine, coarse) -> bool:
    return all(any(one <= other for other in coarse) for one in fine)


def price(levels, tables, costs, same):
    pairs = [
        (stage, a, b)
        for stage, groups in enumerate(levels)
        for group in groups
        for a, b in combinations(sorted(group), 2)
    ]
    means = {(s, a, b): (tables[s][a][b] + tables[s][b][a]) / 2 for s, a, b in pairs}
    apart = sum(max(same - mean, 0) for mean in means.values())
    copies = sum(c * len(groups) for c, groups in zip(costs, levels, strict=True))
    return apart, copies / sum(costs)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("budget", "size", "same"), [(2.0, 0.0, 1.0), (4.0, 0.3, 0.7), (1.5, 0.1, None)]
)
def test_it_is_the_best_of_all_trees(seed, budget, size, same) -> None:
    tables, costs = [table(10 * seed + stage, 4) for stage in range(3)], [1.0, 3.0, 2.5]
    every = partitions(["a", "b", "c", "d"])
    trees = [
        (one, two, three)
        for one, two in product(every, every)
        if refines(two, one)
        for three in every
        if refines(three, two)
    ]
    found = branch_tree(tables, costs, budget=budget, size=size, same=same, beam=500)
    if same is None:
        off = ~np.eye(4, dtype=bool)
        same = max(((t.values + t.values.T) / 2)[off].max() for t in tables)
    prices = [price(tree, tables, costs, same) for tree in trees]
    least = min(apart + size * copies for apart, copies in prices if copies <= budget + 1e-9)
    apart, copies = price(found.levels, tables, costs, same)
    assert (apart, copies) == pytest.approx((found.dissimilarity, found.cost))
    assert copies <= budget + 1e-9
    assert apart + size * copies == pytest.approx(least, abs=1e-9)


def test_a_budget_of_one_encoder_is_one_for_all() -> None:
    found = branch_tree([table(0, 5)] * 3, budget=1)
    assert found.levels == ((("a", "b", "c", "d", "e"),),) * 3
    assert found.cost == 1


def test_unrelated_tasks_are_apart_where_that_can_be_paid() -> None:
    names = ("a", "b", "c")
    unrelated = [Affinity(names, np.eye(3) + 0.01 * k) for k in range(2)]
    found = branch_tree(unrelated, budget=10.0, same=1.0)
    assert found.levels == ((("a",), ("b",), ("c",)),) * 2
    assert (found.cost, found.dissimilarity) == (3, 0)
    # Nothing says that 0 is little: all pairs are as alike as any.
    assert branch_tree(unrelated[:1] * 2, budget=10.0).cost == 1
    assert branch_tree(unrelated, budget=10.0, same=1.0, size=1e3).cost == 1


def test_what_stays_alike_longer_parts_later() -> None:
    def depth(alike):
        """First stage at which a and b are apart, of four."""
        tables = [
            Affinity.from_mapping(
                {"a": {"b": v, "c": 0}, "b": {"a": v, "c": 0}, "c": {"a": 0, "b": 0}}
            )
            for v in alike
        ]
        levels = branch_tree(tables, budget=3.0, size=2.0, same=1.0).levels
        together = [any({"a", "b"} <= set(group) for group in groups) for groups in levels]
        assert together == sorted(together, reverse=True)
        return together.count(True)

    assert depth([0.9, 0.2, 0.1, 0.1]) < depth([0.9, 0.9, 0.4, 0.1]) < depth([0.9] * 4) == 4


def test_ties_have_one_answer_whatever_the_order() -> None:
    names = ("a", "b", "c", "d")
    even = np.full((4, 4), 0.5)
    trees = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        tables = [Affinity(tuple(names[i] for i in order), even)] * 2
        trees.append(branch_tree(tables, budget=1.5, same=1.0))
    assert trees[0] == trees[1] == trees[2]
    assert trees[0].cost == 1.5
    scaled = [Affinity(names, 1e6 * table(1, 4).values - 3) for _ in range(2)]
    plain = [Affinity(names, table(1, 4).values) for _ in range(2)]
    assert branch_tree(scaled, budget=1.5).levels == branch_tree(plain, budget=1.5).levels


def test_many_tasks_and_one() -> None:
    draw = np.random.default_rng(0)
    tables = [Affinity(tuple(f"t{i}" for i in range(14)), draw.random((14, 14))) for _ in range(4)]
    found = branch_tree(tables, [1, 1, 2, 4], budget=3.0)
    assert found.cost <= 3.0
    assert branch_tree([Affinity(("a",), [[np.nan]])]).levels == ((("a",),),)


@pytest.mark.parametrize("name", ["off", "1", "täglich: ja", 'a "b", [c]', "{x}"])
def test_the_option_is_yaml_that_gives_the_tree_back(name) -> None:
    found = branch_tree([Affinity((name, "z"), [[1, 0.1], [0.2, 1]])] * 2, budget=2, same=1.0)
    option = yaml.safe_load(found.to_option())
    assert option == {"branched": {"tree": [[list(g) for g in level] for level in found.levels]}}


def digits_network(**options):
    torch.manual_seed(0)
    spec = InputSpec(image=(1, 8, 8))
    data = load_digits()
    raw = {"digit": data.target, "odd": data.target % 2, "ink": data.data.mean(1)}
    tasks = [
        Task("digit", "multiclass", classes=tuple(range(10))),
        Task("odd", "binary"),
        Task("ink", "regression"),
    ]
    targets = {t.name: t.encode(raw[t.name][:64]) for t in tasks}
    tasks = [t.fitted(targets[t.name]) for t in tasks]
    encoder = create_encoder("resnet", spec, width=4)
    images = torch.tensor(data.images[:64, None] / 16, dtype=torch.float32)
    known = {name: torch.from_numpy(target) for name, target in targets.items()}
    return create_architecture("branched", encoder, tasks, **options), tasks, images, known


def test_the_network_of_the_tree_learns_digits() -> None:
    close = {"digit": {"odd": 0.8, "ink": 0.1}, "odd": {"digit": 0.7, "ink": 0.1}}
    early = Affinity.from_mapping(close | {"ink": {"digit": 0.2, "odd": 0.1}})
    late = Affinity(early.tasks, early.values / 3)
    found = branch_tree([early, early, late, late], budget=2.2, same=1.0)
    assert 1 < found.cost <= 2.2
    model, tasks, images, targets = digits_network(
        tree=yaml.safe_load(found.to_option())["branched"]["tree"]
    )
    assert model.tree == found.levels
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = [p.detach().clone() for p in model.parameters()]

    def loss():
        outputs = model(images)
        return sum(task.loss(outputs[task.name], targets[task.name]).value for task in tasks)

    first = loss()
    first.backward()
    optimizer.step()
    assert float(loss().detach()) < float(first.detach())
    assert all(not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def test_the_architecture_finds_the_same_tree_from_the_same_affinities() -> None:
    draw = np.random.default_rng(4)
    tables = [Affinity(("digit", "odd", "ink"), draw.random((3, 3))) for _ in range(4)]
    costs = [1.0, 2.0, 2.0, 4.0]
    for budget in (1.0, 1.7, 2.5):
        found = branch_tree(tables, costs, budget=budget)
        model = digits_network(affinity=tables, costs=costs, budget=budget)[0]
        assert model.tree == found.levels
    one = branch_tree([tables[0]] * 4, costs, budget=2.0)
    assert digits_network(affinity=tables[0], costs=costs)[0].tree == one.levels


@pytest.mark.parametrize(
    ("affinities", "options", "message"),
    [
        ([], {}, "one Affinity per stage of the encoder, found none"),
        (table(0, 2), {}, r"found Affinity. Give \[affinity\] \* stages"),
        ([table(0, 2), table(0, 3)], {}, "the same tasks at every stage, found d, a at stage 0"),
        (
            [Affinity(("a", "b"), [[1, np.nan], [0, 1]])],
            {},
            "found none for 'a' with 'b' at stage 0",
        ),
        ([table(0, 3)] * 2, {"costs": [1]}, "one number per stage"),
        ([table(0, 3)] * 2, {"costs": [0, 0]}, "not all 0"),
        ([table(0, 3)] * 2, {"costs": [-1, 2]}, "costs: expected a finite number"),
        ([table(0, 3)], {"budget": 0.5}, "budget must be at least 1"),
        ([table(0, 3)], {"budget": "two"}, "budget: expected a finite number"),
        ([table(0, 3)], {"size": -1}, "size must be 0 or more"),
        ([table(0, 3)], {"beam": 0}, "beam: expected a whole number"),
    ],
)
def test_faulty_trees(affinities, options, message) -> None:
    with pytest.raises(UserError, match=message):
        branch_tree(affinities, **options)
