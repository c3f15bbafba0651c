"""Properties: unlabelled items and the cutting into batches change nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.metrics import Metric, Undefined, find_metric, list_metrics
from polytask.tasks import Task, evaluate

KINDS = ("regression", "vector", "binary", "multiclass", "multilabel", "custom")


def spread(output: torch.Tensor, target: torch.Tensor) -> float:
    """A metric that needs all items at once."""
    return (output.reshape(len(target), -1).sum(1).sort().values.diff().sum()).item()


def make(kind: str) -> Task:
    """A task of each kind with every metric it can have."""
    if kind == "custom":
        return Task(
            "t",
            "custom",
            size=2,
            loss_function=lambda o, t: (o.sum(1) - t).square(),
            metrics=("loss", Metric("spread", "min", spread)),
        )
    real = "regression" if kind == "vector" else kind
    words = tuple(list_metrics(real))
    words = tuple(sorted(words, key=lambda word: word == "r2"))
    return Task(
        "t",
        real,  # type: ignore[arg-type]
        classes={"multiclass": (0, 1, 2), "multilabel": ("x", "y")}.get(kind, ()),
        size=3 if kind == "vector" else 1,
        mean=0.5 if real == "regression" else 0.0,
        std=2.0 if real == "regression" else 1.0,
        metrics=(*words, Metric("spread", "min", spread)),
    )


def batch(kind: str, task: Task, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random outputs and targets, some of them missing."""
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(n, task.output_size, generator=generator)
    if kind in ("binary", "multiclass"):
        codes = torch.randint(0, max(task.output_size, 2), (n,), generator=generator)
        return output, codes.masked_fill(torch.rand(n, generator=generator) < 0.3, -100)
    shape = (n,) if kind in ("regression", "custom") else (n, task.output_size)
    target = torch.randn(shape, generator=generator)
    if kind == "multilabel":
        target = (target > 0).float()
    missing = torch.rand(shape, generator=generator) < 0.3
    return output, target.masked_fill(missing, torch.nan)


def blank(target: torch.Tensor, rows: int) -> torch.Tensor:
    """Missing targets of the same sort."""
    value = torch.nan if target.is_floating_point() else -100
    return torch.full((rows, *target.shape[1:]), value, dtype=target.dtype)


def scores(task: Task, output: torch.Tensor, target: torch.Tensor) -> dict:
    return evaluate([task], {"t": output}, {"t": target})["t"]


def same(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        if isinstance(a[name], Undefined):
            assert a[name] == b[name], name
        else:
            assert a[name] == pytest.approx(b[name], rel=1e-9, abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(0, 12),
    extra=st.integers(1, 6),
    seed=st.integers(0, 2**20),
    junk=st.sampled_from([0.0, 1e30, float("nan"), float("inf"), -float("inf")]),
)
def test_unlabelled_rows_change_nothing(kind, n, extra, seed, junk):
    task = make(kind)
    output, target = batch(kind, task, n, seed)
    order = torch.randperm(n + extra, generator=torch.Generator().manual_seed(seed))
    more_output = torch.cat([output, torch.full((extra, task.output_size), junk)])[order]
    more_target = torch.cat([target, blank(target, extra)])[order]
    back = order.argsort()[:n]

    a, b = output.clone().requires_grad_(), more_output.clone().requires_grad_()
    plain, padded = task.loss(a, target), task.loss(b, more_target)
    assert plain.count == padded.count
    torch.testing.assert_close(plain.value, padded.value)
    plain.value.backward()
    padded.value.backward()
    assert a.grad is not None
    assert b.grad is not None
    torch.testing.assert_close(a.grad, b.grad[back])
    outside = torch.ones(n + extra, dtype=torch.bool)
    outside[back] = False
    assert b.grad[outside].eq(0).all()
    same(scores(task, output, target), scores(task, more_output, more_target))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 15), seed=st.integers(0, 2**20), data=st.data())
def test_any_cutting_into_batches_gives_the_same_scores(kind, n, seed, data):
    task = make(kind)
    output, target = batch(kind, task, n, seed)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    whole = scores(task, output, target)
    parts = {}
    for metric in task.all_metrics:
        accumulator = metric.fresh(task)
        for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
            accumulator.update(output[start:stop], target[start:stop])
        parts[metric.name] = accumulator.compute()
    same(whole, parts)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 10), seed=st.integers(0, 2**20))
def test_element_losses_add_up(n, seed):
    """The mean over elements: count times value is additive over batches."""
    task = make("multilabel")
    output, target = batch("multilabel", task, n, seed)
    half = n // 2
    whole = task.loss(output, target)
    parts = [task.loss(output[:half], target[:half]), task.loss(output[half:], target[half:])]
    assert whole.count == sum(part.count for part in parts)
    total = sum(part.value * part.count for part in parts)
    torch.testing.assert_close(whole.value * whole.count, total)


def test_compute_in_between_does_not_disturb():
    task = make("binary")
    accumulator = find_metric("auroc", "binary").fresh(task)
    accumulator.update(torch.tensor([[1.0]]), torch.tensor([1]))
    assert isinstance(accumulator.compute(), Undefined)
    accumulator.update(torch.tensor([[0.0]]), torch.tensor([0]))
    assert accumulator.compute() == 1.0
    assert accumulator.compute() == 1.0
