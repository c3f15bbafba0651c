"""An architecture of your own in one file: hard sharing, with a gated correction for each task.

Every task may bend the shared representation z a little: z_t = z + tanh(g_t) * f_t(z), with a
small network f_t and one learned gate g_t a channel. Gates start at 0, where this is hard
sharing to the bit; a task that gains nothing from a correction leaves its gate closed.

    python examples/own_architecture.py     # a quick study of it on the digits, in this process
    polytask list architectures gated --plugins examples/own_architecture.py
    polytask compare --plugins examples/own_architecture.py --data digits \
        --architectures hard_sharing gated_correction --methods linear --seeds 3 --epochs 5
"""

from typing import Any

import torch
from torch import Tensor, nn

import polytask
from polytask.architectures import HardSharing, PerTask, draw_seed, represent, seeded


class Correction(nn.Module):
    """z + tanh(gate) * network(z), for the channels of vectors and of maps alike."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, z: Tensor) -> Tensor:
        """The corrected representation, of the same shape."""
        last = z.movedim(1, -1)
        return (last + self.gate.tanh() * self.network(last)).movedim(-1, 1)


@polytask.register_architecture
class GatedCorrection(HardSharing):  # known as "gated_correction"
    """Hard sharing, and for each task a small gated network that corrects the representation.

    Args:
        encoder: any module that answers [N, C] or maps [N, C, ...].
        tasks: tasks by name, or in a list.
        hidden: width of the hidden layer of every correction.
        options: those of `HardSharing`.

    """

    shares = "the whole encoder; corrections are each task's own"
    requires = "channels in dimension 1"
    # Behind a closed gate nothing moves at first: the gate opens, then the rest follows.
    silent_at_start = ("*corrections*.network.*",)

    def __init__(self, encoder: nn.Module, tasks: Any, hidden: int = 32, **options: Any) -> None:
        super().__init__(encoder, tasks, **options)
        seed, corrections = draw_seed(), {}
        for task in self.outputs:
            with seeded(seed, f"correction/{task}"):  # the same start in whatever company
                corrections[task] = Correction(self.width, hidden)
        # What a PerTask container holds is one task's own: never shared, and dropped by prune().
        self.corrections = PerTask(corrections)

    def compute(self, x: Any, tasks: tuple[str, ...]) -> tuple[dict[str, Tensor], Tensor]:
        """Run what these tasks need; answer their outputs and the representation they share."""
        z, _ = represent(self.encoder, x, self.width)
        return {t: self.heads.answer(t, self.corrections[t](z)) for t in tasks}, z


if __name__ == "__main__":
    print(
        polytask.compare(
            "digits",
            architectures=["hard_sharing", "gated_correction"],
            methods=["linear"],
            encoder={"resnet": {"width": 4}},
            seeds=1,
            epochs=2,
            lr=1e-2,
            out="runs/own_architecture",
        )
    )
