"""What a step costs: measured one after another, before the runs, on a machine left alone.

A probe trains with the Trainer, real batches and the real method for a few steps, in a
process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import torch

from polytask.training import Callback, build_method
from polytask.training._forward import batches_on

if TYPE_CHECKING:
    from polytask.data import Batches, Dataset
    from polytask.study.unit import EncoderMaker, Prepared
    from polytask.training import Trainer

WARM_UP = 3
STEPS = 20
SECONDS = 0.7
"""Steps are repeated until they took this long: those of small networks are short and noisy."""
PASSING = 0.2
"""Seconds of predicting one batch again and again."""
MOST_PASSES = 1000
LONG, FEW = 5.0, 5
"""Slow steps need fewer: these many, once they took that long, are as good a sample."""
MOST_EPOCHS = 20
ROUNDS = 3
"""How often the contender's steps and those of equal weights take turns."""
OF_EACH = 4
"""Of several data sets: steps of each in a group, so that groups are alike."""
REFERENCE = {"name": "linear", "arguments": {"scale": "sum"}}


class StepClock(Callback):
    """Wall seconds of every step, from the batch's arrival to the end of the update."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        """Start the clock."""
        self._wait(trainer)
        self._began = time.perf_counter()

    def on_batch_end(self, trainer: Trainer, batch_index: int, losses: dict[str, float]) -> None:
        """Stop it; batches without any label do not count."""
        self._wait(trainer)
        if losses:
            self.seconds.append(time.perf_counter() - self._began)

    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: dict[str, Any]) -> None:
        """End once enough has been measured."""
        steps, seconds = len(self.seconds), sum(self.seconds)
        if steps >= WARM_UP + STEPS and seconds >= SECONDS:
            trainer.should_stop = True
        if steps >= WARM_UP + FEW and seconds >= LONG:
            trainer.should_stop = True

    @staticmethod
    def _wait(trainer: Trainer) -> None:
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)


def probe(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: Path | None = None,
    make_encoder: EncoderMaker | None = None,
) -> dict[str, Any]:
    """Median step seconds, evaluation seconds, seconds to predict a batch, and peak memory.

    A machine's speed drifts, so the steps of equal weights on the same network are timed in
    turn with the contender's own, in the same process: `reference_seconds` (None for equal
    weights themselves). Relative costs come from such pairs.

    A method that decides every k-th step, or steps every k-th batch, is timed in groups of k:
    `step_seconds` is then what a batch costs on average. Steps on several data sets
    are timed in groups too, as their batches may differ in size.

    `peak_memory_mb` is what building and training add to the process's memory: resident
    memory on a CPU (Linux; undefined elsewhere), allocated memory on a GPU. `load` is the
    machine's load average when the probe began: well above 0 on an idle machine means that
    the times are too long.
    """
    from polytask.study.unit import prepare

    load = os.getloadavg()[0]
    prepared = prepare(config, dataset)
    size = config["batch_size"]
    steps_per_epoch = len(prepared.train(config))
    few = prepared.enough(WARM_UP + STEPS, size)
    # A step of two rows first: code and caches that any run touches are not this one's memory.
    chosen = config["method"]
    reads = build_method(chosen["name"], prepared.tasks, **chosen["arguments"]).batches
    _steps({**config, "batch_size": 2}, prepared.enough(reads, 2), make_encoder, epochs=1)
    base = _reset_peak()
    rounds = -(-(WARM_UP + STEPS) // len(few.train(config)))
    clock, trainer = _steps(config, few, make_encoder, max(rounds, MOST_EPOCHS))
    memory = _peak(trainer.device, base)
    began = time.perf_counter()
    trainer.evaluate(prepared.judging("val", size), "val")
    evaluation = time.perf_counter() - began
    times = clock.seconds[WARM_UP:] or clock.seconds
    turn = OF_EACH * prepared.sources if prepared.sources > 1 else 1
    cycle = trainer.balancer.batches * trainer.balancer.refresh_every * turn
    reference = None
    if not _is_reference(config):
        plain, again = [], times
        alone = {word: value for word, value in config.items() if word != "distill"}
        for _ in range(ROUNDS):
            plain += _block({**alone, "method": REFERENCE}, few, make_encoder)
            again = again + _block(config, few, make_encoder)
        times, reference = again, median(_per_cycle(plain, turn))
    return {
        "step_seconds": median(_per_cycle(times, cycle)),
        "reference_seconds": reference,
        "steps_measured": len(times),
        "steps_per_epoch": steps_per_epoch,
        "passes": prepared.passes,
        "evaluation_seconds": evaluation,
        "inference_seconds": _inference(trainer, few.batches("train", size)),
        "peak_memory_mb": memory,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "device": str(trainer.device),
        "load": load,
    }


def _is_reference(config: Mapping[str, Any]) -> bool:
    if "distill" in config:
        return False
    return config["method"]["name"] == REFERENCE["name"] or len(config["tasks"]) == 1


def _block(
    config: Mapping[str, Any], few: Prepared, make_encoder: EncoderMaker | None
) -> list[float]:
    """Seconds of a short run of steps, the first ones left out."""
    clock, _ = _steps(config, few, make_encoder, epochs=1)
    return clock.seconds[WARM_UP:] or clock.seconds


def _steps(
    config: Mapping[str, Any],
    prepared: Prepared,
    make_encoder: EncoderMaker | None,
    epochs: int,
) -> tuple[StepClock, Trainer]:
    """Train on the training part as it is, and time every step."""
    from polytask.study.distillation import distillation
    from polytask.study.unit import SAFE_RATE, build, held_out, make_trainer, stand_in

    clock = StepClock()
    trainer = make_trainer(
        config,
        prepared,
        build(config, prepared, make_encoder),
        epochs=epochs,
        lr=SAFE_RATE,
        select="loss",
        reference=stand_in(prepared),
        callbacks=[clock],
        distill=distillation(config, prepared, make_encoder),
        patience=None,
    )
    train = prepared.train(config)
    trainer.fit(train, held_out(trainer, prepared, config["batch_size"], train))
    return clock, trainer


def _inference(trainer: Trainer, batches: Batches) -> float:
    """Median seconds of a forward pass of one batch as in predicting: no gradients."""
    inputs, _ = next(batches_on(batches, trainer.device))
    training = trainer.model.training
    trainer.model.eval()
    seconds: list[float] = []
    with torch.no_grad():
        for _ in range(MOST_PASSES):
            StepClock._wait(trainer)
            began = time.perf_counter()
            trainer.forward(inputs)
            StepClock._wait(trainer)
            seconds.append(time.perf_counter() - began)
            if len(seconds) >= WARM_UP + STEPS and sum(seconds) >= PASSING:
                break
    trainer.model.train(training)
    return median(seconds[WARM_UP:])


def _per_cycle(seconds: list[float], cycle: int) -> list[float]:
    """Mean seconds of every whole group of `cycle` batches; of all when there is none."""
    groups = [seconds[i : i + cycle] for i in range(0, len(seconds) - cycle + 1, cycle)]
    return [fmean(group) for group in groups or [seconds]]


def _reset_peak() -> float | None:
    """Start a new peak; the memory in use now in MB, None where it cannot be known.

    What the allocator holds without using it goes back to the system first, or the run would
    be served from it and seem to need nothing.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS")
    except OSError:
        return None


def _peak(device: torch.device, base: float | None) -> Any:
    """MB added since `_reset_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if base is None:
        return {"undefined": "this system does not tell a process's peak memory"}
    return max(0.0, _status("VmHWM") - base)


def _status(key: str) -> float:
    """A memory figure of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {key}")
