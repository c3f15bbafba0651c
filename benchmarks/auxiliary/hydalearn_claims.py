"""HydaLearn's two claims, on a linear model that two constructed tasks share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.tables import markdown
from polytask import create_method
from polytask.optimization import Balancer
from polytask.study.statistics import paired_interval

SEEDS = 10
STEPS = 200
LR = 3e-3
FORMS: dict[str, dict[str, Any]] = {
    "first order": {},
    "exact": {"look_ahead": "exact"},
}
PLAIN: dict[str, dict[str, Any]] = {
    "equal weights": {},
    "main alone": {"weights": {"helper": 0.0}},
}
Batches = Iterator[tuple[Tensor, Tensor, float]]
"""Inputs [B, 8], targets of main task and helper [B, 2], and the share that the helper is about."""


@dataclass(frozen=True)
class Course:
    """What one training on constructed data left behind."""

    weights: list[float]
    """The helper's share of both, step by step."""
    shares: list[float]
    """How much of each batch the helper is about; 0 or 1 where that is the whole batch."""
    error: float
    """Mean squared error of the main task against the clean function on fresh rows."""


def drifting(steps: int, generator: torch.Generator, teacher: Tensor) -> Batches:
    """The helper's relation to the main task changes its sign at mid-training."""
    for i in range(steps):
        x = torch.randn(32, len(teacher), generator=generator)
        noise = torch.randn(32, 2, generator=generator) * torch.tensor([1.0, 0.3])
        sign = 1.0 if i < steps // 2 else -1.0
        clean = x @ teacher
        yield x, torch.stack([clean, sign * clean], dim=1) + noise, float(sign > 0)


def mixed(steps: int, generator: torch.Generator, teacher: Tensor) -> Batches:
    """The helper knows the main function on a share of the rows that differs by batch."""
    for _ in range(steps):
        x = torch.randn(64, len(teacher), generator=generator)
        useful = torch.rand(64, generator=generator) < torch.rand((), generator=generator)
        noise = torch.randn(64, 2, generator=generator)
        clean = x @ teacher
        helper = torch.where(useful, clean + 0.3 * noise[:, 1], clean.std() * noise[:, 1])
        yield x, torch.stack([clean + noise[:, 0], helper], dim=1), float(useful.float().mean())


def train(seed: int, balancer: Balancer, data: Callable[..., Batches]) -> Course:
    """One training by plain gradient descent."""
    generator = torch.Generator().manual_seed(seed)
    teacher = torch.randn(8, generator=generator)
    fresh = torch.randn(2000, 8, generator=generator)
    torch.manual_seed(seed)
    model = nn.Linear(8, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    weights, shares = [], []
    for x, y, share in data(STEPS, generator, teacher):

        def losses(x: Tensor = x, y: Tensor = y) -> dict[str, Tensor]:
            errors = (model(x) - y).square().mean(dim=0)
            return {"main": errors[0], "helper": errors[1]}

        optimizer.zero_grad()
        step = balancer.backward(losses(), shared=model, closure=losses)
        optimizer.step()
        weights.append(
            float(step.weights["helper"] / (step.weights["helper"] + step.weights["main"]))
        )
        shares.append(share)
    with torch.no_grad():
        error = float((model(fresh)[:, 0] - fresh @ teacher).square().mean())
    return Course(weights, shares, error)


def claims() -> str:
    """The table of both claims."""
    rows = []
    for name, data in (("drift", drifting), ("batch composition", mixed)):
        plain = {
            word: _errors(
                [create_method("linear", scale="sum", **made) for _ in range(SEEDS)], data
            )
            for word, made in PLAIN.items()
        }
        for form, options in FORMS.items():
            made = {"main": "main", "inner_lr": LR, "scale": "sum", **options}
            courses = [
                train(seed, create_method("hydalearn", **made), data) for seed in range(SEEDS)
            ]
            errors = [course.error for course in courses]
            against = [verdict(np.subtract(errors, others)) for others in plain.values()]
            rows.append(
                [name if form == "first order" else "", form, _found(name, courses), *against]
            )
    header = ["data", "form", "claim", *(f"error - {word}" for word in PLAIN)]
    return (
        f"## Claims\n\n{SEEDS} seeds, {STEPS} steps of plain gradient descent on one linear model. "
        "Shares: the helper's weight over the sum of both. Error: of the main task against the "
        "function without noise, lower is better.\n\n" + markdown(header, rows)
    )


def _errors(balancers: list[Balancer], data: Callable[..., Batches]) -> list[float]:
    return [train(seed, balancer, data).error for seed, balancer in enumerate(balancers)]


def _found(name: str, courses: list[Course]) -> str:
    """The number that the claim is about."""
    if name == "drift":
        half = STEPS // 2
        before = [np.mean(course.weights[:half]) for course in courses]
        after = [np.mean(course.weights[half:]) for course in courses]
        return f"share before the switch {said(before)}, after {said(after)}"
    related = [np.corrcoef(course.weights, course.shares)[0, 1] for course in courses]
    return f"correlation with the batch's composition {said(related)}"


def said(values: Any) -> str:
    """Mean and interval."""
    found = paired_interval([float(value) for value in values])
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def verdict(differences: Any) -> str:
    """A difference of losses with its interval, in words too."""
    found = paired_interval([float(value) for value in differences])
    assert found.low is not None, "several seeds"
    assert found.high is not None, "several seeds"
    word = "better" if found.high < 0 else "worse" if found.low > 0 else "tie"
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}] {word}"
