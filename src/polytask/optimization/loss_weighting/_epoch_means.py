"""Mean losses of an epoch, by task, for methods that learn from one epoch to the next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polytask.optimization.state import NamedState


def add_losses(state: NamedState, tasks: Sequence[str], losses: Tensor) -> None:
    """Add one step's losses, shape [T], to the running epoch."""
    state.store("epoch.sum", tasks, state.entry("epoch.sum", tasks, 0.0, losses) + losses)
    state.store("epoch.count", tasks, state.entry("epoch.count", tasks, 0.0, losses) + 1)


def close_epoch(state: NamedState) -> dict[str, Tensor]:
    """Mean loss of every task that was present since the last close; the sums start anew."""
    seen = [task for name, task in state.table if name == "epoch.sum"]
    means = {
        task: state.table["epoch.sum", task] / state.table["epoch.count", task] for task in seen
    }
    for task in seen:
        del state.table["epoch.sum", task], state.table["epoch.count", task]
    return {task: mean.to(torch.float64) for task, mean in means.items()}
