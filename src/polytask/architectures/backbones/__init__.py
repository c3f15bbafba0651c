"""Models of other libraries as encoders of stages, with the very same parameters.

A model is recognised by the module that its class, or a base of it, is defined in, so none of the
libraries is imported, or needed, for the others' sake.
"""

from __future__ import annotations

import importlib

from torch import nn

from polytask.architectures.stages import Staged

_ADAPTERS = {"transformers": "_transformers", "timm": "_timm", "torch_geometric": "_graph"}


def backbone(model: nn.Module) -> Staged | None:
    """The stages of a model of transformers, timm or torch-geometric; None for any other module.

    Also None for a class of theirs that is no whole model: it is an encoder like any module.
    """
    for base in type(model).__mro__:
        library = base.__module__.partition(".")[0]
        if library in _ADAPTERS:
            adapter = importlib.import_module(f"{__name__}.{_ADAPTERS[library]}")
            stages: Staged | None = adapter.stages_of(model)
            return stages
    return None
