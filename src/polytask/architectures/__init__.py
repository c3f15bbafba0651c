"""Architectures: encoders in, one head per task out; one file per way of sharing.

An architecture takes any `torch.nn.Module` as its encoder and answers a dictionary of
outputs keyed by task name. Importing this package costs nothing: torch is imported with the
first name that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from polytask import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from polytask.architectures._base import Architecture, TaskLike
    from polytask.architectures._init import draw_seed, reinitialise, seeded
    from polytask.architectures._inputs import unwrap
    from polytask.architectures._per_task import PerTask
    from polytask.architectures._register import register_architecture
    from polytask.architectures._represent import represent
    from polytask.architectures.adapters import Adapters
    from polytask.architectures.adashare import AdaShare
    from polytask.architectures.branched import Branched
    from polytask.architectures.cascaded import Cascaded
    from polytask.architectures.cgc import CGC
    from polytask.architectures.cross_stitch import CrossStitch
    from polytask.architectures.dmtrl import DMTRL
    from polytask.architectures.dselect_k import DSelectK
    from polytask.architectures.encoders._spec import Spec
    from polytask.architectures.hard_sharing import HardSharing
    from polytask.architectures.learning_to_branch import LearningToBranch
    from polytask.architectures.mmoe import MMoE
    from polytask.architectures.mtan import MTAN
    from polytask.architectures.mti_net import MTINet
    from polytask.architectures.multi_depth import MultiDepth
    from polytask.architectures.nddr import NDDR
    from polytask.architectures.pad_net import PADNet
    from polytask.architectures.pap_net import PAPNet
    from polytask.architectures.ple import PLE
    from polytask.architectures.projected_attention import ProjectedAttention
    from polytask.architectures.shared_private import SharedPrivate
    from polytask.architectures.single_task import SingleTask
    from polytask.architectures.sluice import Sluice
    from polytask.architectures.snr import SNR
    from polytask.architectures.soft_layer_ordering import SoftLayerOrdering
    from polytask.architectures.soft_sharing import SoftSharing
    from polytask.architectures.stages import Staged, as_stages
    from polytask.architectures.task_routing import TaskRouting

_HOME = {
    "AdaShare": "adashare",
    "Adapters": "adapters",
    "Architecture": "_base",
    "Branched": "branched",
    "CGC": "cgc",
    "Cascaded": "cascaded",
    "CrossStitch": "cross_stitch",
    "DMTRL": "dmtrl",
    "DSelectK": "dselect_k",
    "HardSharing": "hard_sharing",
    "LearningToBranch": "learning_to_branch",
    "MMoE": "mmoe",
    "MTAN": "mtan",
    "MTINet": "mti_net",
    "MultiDepth": "multi_depth",
    "NDDR": "nddr",
    "PADNet": "pad_net",
    "PAPNet": "pap_net",
    "PLE": "ple",
    "PerTask": "_per_task",
    "ProjectedAttention": "projected_attention",
    "SNR": "snr",
    "SharedPrivate": "shared_private",
    "SingleTask": "single_task",
    "Sluice": "sluice",
    "SoftLayerOrdering": "soft_layer_ordering",
    "SoftSharing": "soft_sharing",
    "Staged": "stages",
    "TaskRouting": "task_routing",
    "as_stages": "stages",
    "draw_seed": "_init",
    "register_architecture": "_register",
    "reinitialise": "_init",
    "represent": "_represent",
    "seeded": "_init",
    "unwrap": "_inputs",
}

__all__ = [
    "CGC",
    "DMTRL",
    "MTAN",
    "NDDR",
    "PLE",
    "SNR",
    "AdaShare",
    "Adapters",
    "Architecture",
    "Branched",
    "Cascaded",
    "CrossStitch",
    "DSelectK",
    "HardSharing",
    "LearningToBranch",
    "MMoE",
    "MTINet",
    "MultiDepth",
    "PADNet",
    "PAPNet",
    "PerTask",
    "ProjectedAttention",
    "SharedPrivate",
    "SingleTask",
    "Sluice",
    "SoftLayerOrdering",
    "SoftSharing",
    "Staged",
    "TaskRouting",
    "as_stages",
    "create_architecture",
    "create_encoder",
    "draw_seed",
    "list_architectures",
    "list_encoders",
    "register_architecture",
    "reinitialise",
    "represent",
    "seeded",
    "unwrap",
]


def list_architectures(pattern: str = "*") -> list[str]:
    """Sorted names of the architectures that match a shell pattern, without importing them."""
    return registry.names("architecture", pattern)


def list_encoders(pattern: str = "*") -> list[str]:
    """Sorted names of the encoders that match a shell pattern, without importing them."""
    return registry.names("encoder", pattern)


def create_encoder(name: str, spec: Spec, **arguments: Any) -> nn.Module:
    """Build the encoder called `name` for inputs of the widths in `spec`.

    `spec` is what a fitted `polytask.data.Preprocessor` calls `.spec`. Raises `UserError` for
    an unknown name or argument, and when the encoder cannot read such inputs.
    """
    encoder: nn.Module = registry.create("encoder", name, spec=spec, **arguments)
    return encoder


def create_architecture(
    name: str,
    encoder: nn.Module,
    tasks: Mapping[str, TaskLike] | Iterable[TaskLike],
    **arguments: Any,
) -> Architecture:
    """Build the architecture called `name` over `encoder`, with one head per task.

    Raises `UserError` for an unknown name or argument, and when the encoder does not fit.

    >>> import torch
    >>> from torch import nn
    >>> from polytask.tasks import Task
    >>> tasks = [Task("age", "regression"), Task("sold", "binary")]
    >>> encoder = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> model = create_architecture("hard_sharing", encoder, tasks, example=torch.zeros(2, 4))
    >>> {task: tuple(output.shape) for task, output in model(torch.zeros(2, 4)).items()}
    {'age': (2, 1), 'sold': (2, 1)}
    """
    model: Architecture = registry.create(
        "architecture", name, encoder=encoder, tasks=tasks, **arguments
    )
    return model


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
