"""A container of modules keyed by task name, for any task name a table can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from urllib.parse import unquote

from torch import nn


class PerTask(nn.Module):
    """One module per task: `heads["price"]`, in the order given.

    Like `nn.ModuleDict`, which refuses names such as `type`, `values` or `price.usd` although
    they are ordinary column names. `Architecture.prune` drops the entries of unwanted tasks
    and `Architecture.shared_parameters` reads from them what belongs to one task alone.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for task, module in modules.items():
            self.add_module(module_key(task), module)

    def __getitem__(self, task: str) -> nn.Module:
        module = self._modules[module_key(task)]
        assert module is not None
        return module

    def __contains__(self, task: str) -> bool:
        return module_key(task) in self._modules

    def __iter__(self) -> Iterator[str]:
        return map(unquote, self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def keep(self, tasks: Collection[str]) -> None:
        """Forget the modules of all tasks but these."""
        for task in [task for task in self if task not in tasks]:
            del self._modules[module_key(task)]


_EMPTY = PerTask({})


def module_key(task: str) -> str:
    """The submodule name of a task: the name itself, percent-encoded where torch forbids it.

    One name has one key and back: a dot would split a `state_dict` key, and a name that every
    module already has as an attribute (`type`, `float`, `training`) would hide it.
    """
    key = task.replace("%", "%25").replace(".", "%2E")
    return f"%{ord(key[0]):02X}{key[1:]}" if hasattr(_EMPTY, key) else key
