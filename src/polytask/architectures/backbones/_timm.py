"""Models of timm: what `forward_features` answers, cut where its stages or blocks are.

    model = timm.create_model("convnext_tiny", pretrained=True)
    create_architecture("hard_sharing", model, tasks)

The encoder answers what `model.forward_features(x)` does: maps [N, C, H, W] ([N, H, W, C] where the
model's `output_fmt` says NHWC) or tokens [N, L, C]; of a model made with `features_only=True` the
last of its maps. Batches are images, as a tensor or as the only entry of a dictionary. Classifier
and pooling, which that does not depend on, are left out. Stages are the modules that
`feature_info` names where they form a plain chain, else the longest list of blocks that does, else
the whole model is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._inputs import unwrap
from polytask.architectures.backbones._cut import Backbone, cut
from polytask.architectures.backbones._watch import containers


def stages_of(model: nn.Module) -> Backbone | None:
    """A model as stages; None for a part of one, such as a layer."""
    only_features = not hasattr(model, "forward_features")
    if only_features and not hasattr(getattr(model, "feature_info", None), "channels"):
        return None
    layout = getattr(model, "output_fmt", "NCHW")
    library = _Timm(only_features, str(getattr(layout, "value", layout)))
    chains = [chain for chain in (_named_stages(model), *containers(model)) if chain]
    if hasattr(model, "hooks"):
        chains = []  # features_only by hooks on its parts, which would not survive a cut
    return cut(model, library, _made_up(model), chains, channel_dim=library.maps)


@dataclass(frozen=True)
class _Timm:
    """How a model is called, and the layout of its maps."""

    only_features: bool
    layout: str

    def read(self, x: Any) -> tuple[Tensor, dict[str, Any]]:
        """The images."""
        return unwrap(x), {}

    def answer(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Features before pooling; the last of several."""
        if not self.only_features:
            z: Tensor = model.forward_features(inputs)  # type: ignore[operator]
            return z
        maps = model(inputs)
        last: Tensor = list(maps.values() if isinstance(maps, Mapping) else maps)[-1]
        return last

    def channel_dim(self, z: Tensor) -> int:
        """The last of tokens; of maps as the model says."""
        return -1 if z.dim() == 3 else self.maps

    @property
    def maps(self) -> int:
        """Which dimension of maps holds channels."""
        return -1 if self.layout == "NHWC" else 1


def _named_stages(model: nn.Module) -> Sequence[str]:
    """The modules that `feature_info` names, but for those without weights (a stem's ReLU)."""
    modules = dict(model.named_modules())
    found = []
    for entry in getattr(model, "feature_info", ()):
        dotted = entry["module"]
        # A model made with features_only=True has the parts of a list under names of its own.
        name = dotted if dotted in modules else dotted.replace(".", "_")
        if name in modules and next(modules[name].parameters(), None) is not None:
            found.append(name)
    return found


def _made_up(model: nn.Module) -> Tensor | None:
    """Two black images of the size that the model was built for; None where it does not say."""
    settings = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", {})
    _, *sides = settings.get("input_size", (3, 224, 224))
    # `img_size=` and `in_chans=` of create_model are not in these settings.
    sides = getattr(getattr(model, "patch_embed", None), "img_size", None) or sides
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return None
    return torch.zeros(
        2, first.in_channels, *sides, device=first.weight.device, dtype=first.weight.dtype
    )
