"""State kept by task name, sized as tasks appear, saved whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class NamedState(nn.Module):
    """A module whose state is a table of tensors by (entry, task).

    Unlike plain buffers the table may grow: a task gets its entry when it first appears. A
    fresh object takes a saved `state_dict` before its first step and continues identically.
    Keys are flat, `entry:task`, so that safetensors can hold them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[tuple[str, str], Tensor] = {}

    def entry(
        self, name: str, tasks: Sequence[str], initial: Callable[[], Tensor] | float, like: Tensor
    ) -> Tensor:
        """The entry `name` of the given tasks, stacked, shape [T, ...]; new ones are made."""
        for task in tasks:
            if (name, task) not in self.table:
                start = initial() if callable(initial) else torch.tensor(float(initial))
                self.table[name, task] = start
        held = [self.table[name, task] for task in tasks]
        return torch.stack([tensor.to(like.device, like.dtype) for tensor in held])

    def store(self, name: str, tasks: Sequence[str], values: Tensor) -> None:
        """Keep one value a task."""
        for task, value in zip(tasks, values.detach().unbind(), strict=True):
            self.table[name, task] = value.clone()

    def has(self, name: str, task: str = "") -> bool:
        """Whether there is such an entry."""
        return (name, task) in self.table

    def reset(self) -> None:
        """Forget everything learned."""
        self.table.clear()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self.table = {key: fn(value) for key, value in self.table.items()}
        return self

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for (name, task), value in self.table.items():
            destination[f"{prefix}{name}:{task}"] = value if keep_vars else value.detach().clone()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any, **keywords: Any
    ) -> None:
        own = {
            key: value
            for key, value in state_dict.items()
            if key.startswith(prefix) and ":" in key[len(prefix) :]
        }
        self.table.clear()
        for key, value in own.items():
            name, _, task = key[len(prefix) :].partition(":")
            self.table[name, task] = value.detach().clone()
        rest = {key: value for key, value in state_dict.items() if key not in own}
        super()._load_from_state_dict(rest, prefix, *arguments, **keywords)
