"""Time and peak memory of one step, as ratios to a step on the plain sum of the losses.

Run on an idle machine: `python -m benchmarks step_cost`, or
`python -m benchmarks.step_cost.run --device cuda`. Contenders are interleaved round by round
and compared within a round; the table gives the median and the middle half.
"""

from __future__ import annotations

import argparse
import os

import torch

from benchmarks.step_cost.contenders import contenders
from benchmarks.step_cost.nets import NETS
from benchmarks.tables import keep, markdown
from benchmarks.timing import Step, interleave, machine, milliseconds, peak_mib

TASKS = (2, 8, 40)


def main() -> None:
    """Measure and write `results/step_cost[_cuda].md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--tasks", type=int, nargs="+", default=list(TASKS))
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--seconds", type=float, default=10.0, help="budget a row group")
    parser.add_argument("--no-peers", action="store_true", help="where TorchJD is not installed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    device = options.device
    sections = [
        f"# Cost of one step\n\nMade by `python -m benchmarks.step_cost.run --device {device}` on "
        f"{machine(device)}. Method: UPGrad where gradients are read. Times are multiples of the "
        "plain-sum step of the same round, median (middle half); memory is the peak above what "
        "was held before the step."
    ]
    for name in options.nets:
        rows = []
        for tasks in options.tasks:
            torch.manual_seed(0)
            steps = contenders(NETS[name](tasks, device), peers=not options.no_peers)
            failed = [key for key, step in steps.items() if not _fits(step)]
            for contender in failed:
                del steps[contender]
            plain = milliseconds(steps["plain sum"], 5, device)
            round_ms = sum(milliseconds(step, 1, device) for step in steps.values())
            rounds = max(3, min(40, int(1e3 * options.seconds / round_ms)))
            ratios = interleave(steps, "plain sum", rounds, device)
            for contender, step in steps.items():
                first = contender == "plain sum"
                rows.append(
                    [
                        str(tasks) if first else "",
                        contender,
                        f"{plain:.1f} ms" if first else str(ratios[contender]),
                        f"{peak_mib(step, device):.0f}",
                    ]
                )
            rows += [["", contender, "out of memory", ""] for contender in failed]
        table = markdown(["T", "step", "time", "peak MiB"], rows)
        about = " ".join((NETS[name].__doc__ or "").split())
        sections.append(f"## {name}\n\n{about}\n\n{table}")
        print(sections[-1], flush=True)
    if options.nets == list(NETS) and options.tasks == list(TASKS):  # a part replaces no whole
        keep("step_cost" if device == "cpu" else "step_cost_cuda", "\n\n".join(sections))


def _fits(step: Step) -> bool:
    try:
        step()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return False
    return True


if __name__ == "__main__":
    main()
