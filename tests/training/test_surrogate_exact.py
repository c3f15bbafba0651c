"""Where a network is linear the surrogate is exact: least squares and ridge regression."""

import numpy as np
import pytest
import torch
from surrogate_cases import Linear, halves, regressions

from polytask.training import projected_gradient_affinity
from polytask.training._surrogate_directions import Answers

DIRECTIONS, OWN = 9, 7  # more than the 4 parameters of a vector: nothing is lost


def arrays(model, part, name, start):
    """x, what is left to explain and which rows have a label, of one task."""
    x = part.inputs["x"].numpy()
    y = part.targets[name].numpy()
    vector = (model.shared + model.own[name]).detach().numpy()
    known = ~np.isnan(y)
    return x[known], (y - (x @ vector if start == "trained" else 0))[known]


def held_out_losses(model, held, group, solution, start):
    """Mean squared errors after adding to each task a vector and a constant."""
    losses = {}
    for name in group:
        x, rest = arrays(model, held, name, start)
        vector, constant = solution[name]
        losses[name] = np.mean((rest - x @ vector - constant) ** 2)
    return losses


def least_squares(model, train, group, start):
    """One vector for all tasks of a group, each counting by its mean; constants of their own."""
    xs, ys = [], []
    for place, name in enumerate(group):
        x, y = arrays(model, train, name, start)
        ones = np.zeros((len(x), len(group)))
        ones[:, place] = start == "zero"
        xs.append(np.hstack([x, ones]) / np.sqrt(len(x)))
        ys.append(y / np.sqrt(len(y)))
    found = np.linalg.lstsq(np.concatenate(xs), np.concatenate(ys), rcond=None)[0]
    return {name: (found[:4], found[4 + place]) for place, name in enumerate(group)}


def ridge_regression(model, train, tasks, group, ridge, record):
    """The minimum over w, the tasks' own u and their constants, by the normal equations."""
    seed, scale, constants = record["seed"], record["scale"], record["start"] == "zero"
    answers = Answers(model, tasks)
    shared = [answers.direction(("model.shared",), k, DIRECTIONS, seed) for k in range(DIRECTIONS)]
    names = tuple(f"model.own.{name}" for name in tasks)
    own = [answers.direction(names, k, OWN, seed + 1_000_000_007) for k in range(OWN)]
    v = np.stack([one["model.shared"].numpy() for one in shared], 1) / scale
    u = {n: np.stack([one[f"model.own.{n}"].numpy() for one in own], 1) / scale for n in tasks}
    free = DIRECTIONS + OWN * len(group)
    size = free + len(group)
    left, right = np.zeros((size, size)), np.zeros(size)
    left[:free, :free] = ridge * np.eye(free)
    if not constants:
        left[free:, free:] = np.eye(len(group))
    columns = {}
    for place, name in enumerate(group):
        x, rest = arrays(model, train, name, record["start"])
        moves = np.zeros((4, size))
        begin = DIRECTIONS + OWN * place
        moves[:, :DIRECTIONS], moves[:, begin : begin + OWN] = v, u[name]
        j = x @ moves
        j[:, free + place] = constants
        left += j.T @ j / len(x)
        right += j.T @ rest / len(x)
        columns[name] = moves
    found = np.linalg.solve(left, right)
    return {n: (m @ found, found[free + k]) for k, (n, m) in enumerate(columns.items())}


@pytest.mark.parametrize("start", ["zero", "trained"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_without_ridge_it_is_least_squares(missing, start):
    tasks, inputs, targets = regressions("abcd", missing=missing)
    train, held = halves(inputs, targets)
    model = Linear(tasks, 4)
    record = projected_gradient_affinity(
        model, tasks, train, held, start=start, directions=DIRECTIONS, ridge=0, size=3
    )
    assert len(record["subsets"]) == 4
    for group in [entry["tasks"] for entry in record["subsets"]] + [[name] for name in tasks]:
        solution = least_squares(model, train, group, start)
        oracle = held_out_losses(model, held, group, solution, start)
        if len(group) == 1:
            assert record["alone"][group[0]]["loss"] == pytest.approx(oracle[group[0]], rel=1e-6)
            continue
        (entry,) = [entry for entry in record["subsets"] if entry["tasks"] == group]
        assert entry["losses"] == pytest.approx(oracle, rel=1e-6)
        for name in group:
            gain = 1 - entry["losses"][name] / record["alone"][name]["loss"]
            assert entry["gains"][name] == pytest.approx(gain, abs=1e-12)


@pytest.mark.parametrize("start", ["zero", "trained"])
@pytest.mark.parametrize("derivatives", ["differences", "forward"])
@pytest.mark.parametrize("ridge", [1e-3, 0.1, 2.0])
def test_with_ridge_it_is_ridge_regression(ridge, derivatives, start):
    tasks, inputs, targets = regressions()
    train, held = halves(inputs, targets)
    model = Linear(tasks, 4)
    options = {"directions": DIRECTIONS, "head_directions": OWN, "ridge": ridge, "seed": 5}
    options["derivatives"] = derivatives
    record = projected_gradient_affinity(model, tasks, train, held, start=start, **options)
    assert record["derivatives"] == derivatives
    for entry in record["subsets"]:
        solution = ridge_regression(model, train, tasks, entry["tasks"], ridge, record)
        oracle = held_out_losses(model, held, entry["tasks"], solution, start)
        assert entry["losses"] == pytest.approx(oracle, rel=1e-5)


def test_the_start_is_the_networks_own_loss():
    tasks, inputs, targets = regressions()
    train, held = halves(inputs, targets)
    model = Linear(tasks, 4)
    options = {"directions": 9, "ridge": 1e9}
    record = projected_gradient_affinity(model, tasks, train, held, start="trained", **options)
    for name in tasks:
        _, rest = arrays(model, held, name, "trained")
        assert record["alone"][name]["start"] == pytest.approx(np.mean(rest**2), rel=1e-12)
        # So much ridge leaves everything as it is, and so nobody gains.
        assert record["alone"][name]["loss"] == pytest.approx(np.mean(rest**2), rel=1e-6)
    assert all(abs(g) < 1e-6 for entry in record["subsets"] for g in entry["gains"].values())


def test_with_much_ridge_only_the_constants_are_learned():
    tasks, inputs, targets = regressions()
    targets = {name: value + 3 for name, value in targets.items()}
    train, held = halves(inputs, targets)
    options = {"directions": 9, "ridge": 1e9}
    record = projected_gradient_affinity(Linear(tasks, 4), tasks, train, held, **options)
    for name in tasks:
        ours, theirs = (part.targets[name][~part.targets[name].isnan()] for part in (train, held))
        found = record["alone"][name]
        assert found["start"] == pytest.approx(float((theirs**2).mean()), rel=1e-12)
        assert found["loss"] == pytest.approx(float(((theirs - ours.mean()) ** 2).mean()), rel=1e-6)


def test_the_scale_makes_a_mean_square_derivative_of_one():
    tasks, inputs, targets = regressions(missing=0.0)
    train, _ = halves(inputs, targets)
    records = []
    for factor in (1.0, 10.0):
        scaled = {"x": factor * inputs["x"]}
        first, second = halves(scaled, targets)
        model = Linear(tasks, 4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter /= factor
        records.append(
            projected_gradient_affinity(
                model, tasks, first, second, directions=30, ridge=0.1, head_directions=30
            )
        )
    assert records[1]["scale"] == pytest.approx(10 * records[0]["scale"])
    for one, other in zip(records[0]["subsets"], records[1]["subsets"], strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-6)
    # Signs over the root of their number: every square is |x|², of shared and own parameters.
    square = (train.inputs["x"] ** 2).sum(1).mean()
    assert records[0]["scale"] == pytest.approx(float((2 * square).sqrt()), rel=0.3)
