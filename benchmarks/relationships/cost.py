"""What it costs to measure affinities along one ordinary training.

`python -m benchmarks.relationships.cost` trains one network of T tasks with and without recorders,
whole trainings taking turns in one process, and compares within each round; beside it what training
all pairs of tasks would cost, from the measured time of one pair. Writes
`benchmarks/results/relationships_cost.md`; with other sizes it only prints.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.tables import keep, markdown
from benchmarks.timing import Step, interleave, machine, milliseconds
from polytask.architectures import create_architecture
from polytask.tasks import Task
from polytask.training import AffinityRecorder, Callback, ConflictRecorder, Trainer

TASKS = (2, 5, 10, 20, 40)
ROUNDS = 5
EPOCHS = 10
PROMISE = 1.3
RECORDERS: dict[str, Callable[[], Callback]] = {
    "look-ahead, first order": AffinityRecorder,
    "look-ahead, first order, all shared layers": lambda: AffinityRecorder(statistic="exact"),
    "look-ahead, exact": lambda: AffinityRecorder(order="exact"),
    "gradient cosine": ConflictRecorder,
}
DEFAULT = "look-ahead, first order"


class Encoder(nn.Sequential):
    """Layers to 128 features."""

    output_size = 128


def table() -> tuple[nn.Module, Tensor, int]:
    """1,700 rows of 103 numbers (yeast's training part), two layers of 128, batches of 64."""
    sizes = [nn.Linear(103, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return Encoder(*sizes), torch.randn(1700, 103), 64


def images() -> tuple[nn.Module, Tensor, int]:
    """1,000 images of 3 x 16 x 16, three convolutions and a linear layer, batches of 50."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(256, 128), nn.ReLU()]
    return Encoder(*layers), torch.randn(1000, 3, 16, 16), 50


NETS = {"table": table, "images": images}


def training(net: str, tasks: int, epochs: int, recorder: Callable[[], Callback] | None) -> Step:
    """One whole training, from building the network on."""
    torch.manual_seed(0)
    _, x, _ = NETS[net]()
    labels = (x.flatten(1) @ torch.randn(x[0].numel(), tasks) > 0).float()
    names = [f"t{place}" for place in range(tasks)]
    targets = {name: labels[:, place] for place, name in enumerate(names)}
    every = [Task(name, "binary", classes=("no", "yes")) for name in names]

    def train() -> Trainer:
        torch.manual_seed(0)
        encoder, _, batch = NETS[net]()
        trainer = Trainer(
            create_architecture("hard_sharing", encoder, every),
            every,
            epochs=epochs,
            batch_size=batch,
            callbacks=[] if recorder is None else [recorder()],
            device="cpu",
            progress=False,
        )
        trainer.fit(({"x": x}, targets))
        return trainer

    return train


def recordings(net: str, tasks: int, epochs: int) -> str:
    """How many look-aheads a training of these sizes records."""
    recorder = AffinityRecorder()
    training(net, tasks, epochs, lambda: recorder)()
    return str(len(recorder.record()["values"]))


def rows(net: str, tasks: int, epochs: int, rounds: int) -> tuple[list[str], float]:
    """One line of the table, and the ratio of the default recorder."""
    steps = {"plain": training(net, tasks, epochs, None)}
    steps |= {name: training(net, tasks, epochs, make) for name, make in RECORDERS.items()}
    steps["pair"] = training(net, 2, epochs, None)
    plain = milliseconds(steps["plain"], 1) / 1e3
    ratios = interleave(steps, "plain", rounds, "cpu")
    pairs = math.comb(tasks, 2) * ratios["pair"].middle
    cells = [str(tasks), f"{plain:.1f} s", *(str(ratios[name]) for name in RECORDERS)]
    return [*cells, recordings(net, tasks, epochs), f"{pairs:.1f}"], ratios[DEFAULT].middle


def main() -> None:
    """Measure, print, and write the table when the whole was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TASKS))
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    header = ["T", "training", *RECORDERS, "recorded steps", "all pairs"]
    parts, worst = [], {}
    for net in options.nets:
        lines = []
        for tasks in options.tasks:
            line, worst[net, tasks] = rows(net, tasks, options.epochs, options.rounds)
            print(net, *line, sep=" | ", file=sys.stderr, flush=True)
            lines.append(line)
        about = " ".join((NETS[net].__doc__ or "").split())
        parts += [f"## {net}", about, markdown(header, lines)]
    net, tasks = max(worst, key=lambda key: worst[key])
    kept = worst[net, tasks] <= PROMISE
    text = "\n\n".join(
        [
            "# Cost of measuring affinities",
            f"Made by `python -m benchmarks.relationships.cost` on {machine('cpu')}. A training of "
            f"T tasks for {options.epochs} epochs with a recorder, in units of the same training "
            f"without one: median (middle half) of {options.rounds} rounds. *All pairs*: the "
            "trainings of all T (T - 1) / 2 pairs in the same unit, from the measured time of one.",
            f"The default recorder costs at most {worst[net, tasks]:.2f} trainings ({net}, T = "
            f"{tasks}); within {PROMISE} everywhere: {'yes' if kept else 'no'}.",
            *parts,
        ]
    )
    whole = options.tasks == list(TASKS) and options.nets == list(NETS)
    if whole and options.epochs == EPOCHS:
        keep("relationships_cost", text)
    else:  # a part replaces no whole
        print(text, flush=True)


if __name__ == "__main__":
    main()
