"""Models of transformers (Hugging Face): embeddings, layers or stages, and the final norm.

    model = AutoModel.from_pretrained("google-bert/bert-base-uncased")
    create_architecture("hard_sharing", model, tasks)

The encoder answers what `model(**inputs).last_hidden_state` is, to the bit: tokens [N, L, C], or
maps [N, C, H, W]. Batches are what the model's `forward` takes, as a dictionary (`input_ids`,
`attention_mask`, ...) or as its main input alone. Default heads read the mean of all tokens that
`attention_mask` keeps, special ones such as [CLS] included; to read [CLS] alone, pass `heads=`
that take `z[:, 0]`. Without a mask padding counts like any token.

Of a model with a head (`AutoModelForSequenceClassification`) the body is taken. Poolers and mask
tokens, which `last_hidden_state` does not depend on, are left out: they would never get a
gradient. Layers are stages where they form a plain chain (BERT, RoBERTa, ViT, DINOv2, ConvNeXt,
ResNet, Llama, ...); where they do not (ALBERT's one layer used twelve times, layers with masks of
their own, audio) the model is one stage. Of a model in nested lists (Swin) it is the largest list
that is a chain. A model's own dropping of whole layers in training is not done.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._inputs import unwrapped
from polytask.architectures.backbones._cut import Backbone, cut
from polytask.architectures.backbones._watch import containers
from polytask.errors import UserError, unknown


def stages_of(model: nn.Module) -> Backbone | None:
    """The body of a model as stages; None for a part of one, such as `model.encoder`."""
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        return None
    body: Any = model.base_model
    takes = tuple(inspect.signature(body.forward).parameters)
    library = _Transformers(body.main_input_name, takes, getattr(body.config, "hidden_size", None))
    return cut(body, library, _made_up(body, takes), containers(body), channel_dim=-1)


@dataclass(frozen=True)
class _Transformers:
    """How a model is called: its main input, what else it takes, the width its config names."""

    main: str
    takes: tuple[str, ...]
    width: int | None

    def read(self, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The named inputs, and the mask of real tokens where there is one."""
        x = unwrapped(x)
        if isinstance(x, Tensor):
            return {self.main: x}, {}
        if not isinstance(x, Mapping):
            raise UserError(
                f"expected a tensor or a dictionary of tensors as input, found {type(x).__name__}."
            )
        for name in x:
            if name not in self.takes:
                raise unknown("input", name, self.takes)
        mask = x.get("attention_mask")
        if not isinstance(mask, Tensor) or mask.dim() != 2:
            return dict(x), {}
        return dict(x), {"mask": mask.bool()}

    def answer(self, model: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
        """The last hidden state."""
        # A cache of keys and values would carry over from one pass of a layer to the next.
        no_cache = {"use_cache": False} if "use_cache" in self.takes else {}
        found = model(**{**no_cache, **inputs})
        z: Tensor = found[0] if isinstance(found, tuple) else found.last_hidden_state
        return z

    def channel_dim(self, z: Tensor) -> int:
        """The last of tokens; of maps the first, but for the few models that have it last."""
        return 1 if z.dim() == 4 and z.shape[-1] != self.width else -1


def _made_up(model: Any, takes: tuple[str, ...]) -> dict[str, Tensor] | None:
    """A batch of two that the model can read, with padding; None where we know of none."""
    like, config = next(model.parameters()), model.config
    if model.main_input_name == "input_ids":
        ids = torch.ones(2, 4, dtype=torch.long, device=like.device)
        mask = ids.clone()
        mask[1, 2:] = 0  # so that the model makes the mask it would make of padding
        return {"input_ids": ids} | ({"attention_mask": mask} if "attention_mask" in takes else {})
    if model.main_input_name == "pixel_values":
        size = getattr(config, "image_size", 64)
        height, width = size if isinstance(size, list | tuple) else (size, size)
        shape = (2, getattr(config, "num_channels", 3), height, width)
        return {"pixel_values": torch.zeros(shape, device=like.device, dtype=like.dtype)}
    return None
