"""The two-dimensional landscape of the PCGrad paper: Adam stays in a valley, PCGrad leaves it.

Two tasks whose gradients conflict and differ in size along a curved valley (Yu et al. 2020,
section 3 and figure 1). Run: `python examples/pcgrad_landscape.py [--steps 500000] [--out FILE]`.
Takes about two minutes; prints the losses at the end and draws both paths.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

import polytask

START = (0.5, -3.0)
FLOOR = 5e-6


def losses_and_gradients(x: float, y: float) -> tuple[list[float], list[list[float]]]:
    """Both losses at (x, y), and one gradient a row."""
    slope = 1 - math.tanh(y) ** 2
    values, rows = [], []
    for size, inside, dy in (
        (20.0, 0.5 * x + math.tanh(y), slope),
        (25.0, 0.5 * x - math.tanh(y) + 2, -slope),
    ):
        values.append(size * math.log(max(abs(inside), FLOOR)))
        live = abs(inside) > FLOOR
        rows.append([size * 0.5 / inside, size * dy / inside] if live else [0.0, 0.0])
    return values, rows


def descend(method: str, steps: int, lr: float = 1e-3) -> tuple[list[tuple[float, float]], float]:
    """Adam on the weighted sum of the gradients; the path (every 500 steps) and the final loss."""
    balancer = polytask.create_method(method, generator=torch.Generator().manual_seed(0))
    point = list(START)
    first, second = [0.0, 0.0], [0.0, 0.0]
    path = [START]
    for step in range(1, steps + 1):
        _, rows = losses_and_gradients(*point)
        conflict = rows[0][0] * rows[1][0] + rows[0][1] * rows[1][1] < 0
        weights = [1.0, 1.0]
        if conflict and method != "linear":  # without a conflict both methods are the plain sum
            jacobian = torch.tensor(rows, dtype=torch.float64)
            weights = balancer.weights(jacobian @ jacobian.T).tolist()
        for i in range(2):
            gradient = weights[0] * rows[0][i] + weights[1] * rows[1][i]
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            unbiased = first[i] / (1 - 0.9**step)
            point[i] -= lr * unbiased / (math.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
        if step % 500 == 0:
            path.append((point[0], point[1]))
    return path, sum(losses_and_gradients(*point)[0])


def draw(paths: dict[str, list[tuple[float, float]]], out: Path) -> None:
    """Contours of the summed loss and both paths."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    xs = torch.linspace(-5, 3, 300)
    ys = torch.linspace(-4, 7, 300)
    field = [[sum(losses_and_gradients(float(x), float(y))[0]) for x in xs] for y in ys]
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    axes.contourf(xs, ys, field, levels=40, cmap="Greys_r")
    styles = {"linear": ("#E69F00", "--", "s"), "pcgrad": ("#0072B2", "-", "o")}
    for name, path in paths.items():
        colour, line, marker = styles[name]
        across, up = zip(*path, strict=True)
        axes.plot(across, up, color=colour, linestyle=line, linewidth=2, label=name)
        axes.plot(across[-1], up[-1], color=colour, marker=marker, markersize=9)
    axes.plot(*START, color="black", marker="x", markersize=9, linestyle="none", label="start")
    axes.set(xlabel="θ₁", ylabel="θ₂", title="Sum of the two losses (darker is lower)")
    axes.legend()
    figure.savefig(out, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--out", type=Path, default=Path("runs/pcgrad_landscape.png"))
    options = parser.parse_args()
    paths = {}
    for method in ("linear", "pcgrad"):
        paths[method], total = descend(method, options.steps)
        where = ", ".join(f"{value:.2f}" for value in paths[method][-1])
        print(f"{method:7} after {options.steps:,} Adam steps: L1 + L2 = {total:.1f} at ({where})")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw(paths, options.out)
    print(f"figure: {options.out}")


if __name__ == "__main__":
    main()
