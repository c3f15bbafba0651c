"""Nested state (an optimizer's, say) as JSON and tensors, and back, without a pickle.

Dictionaries with keys of any plain type, lists, tuples, numbers, text, None, tensors and NumPy
arrays survive exactly; anything else has no faithful form here and is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from polytask.errors import UserError
from polytask.metrics import Undefined

PLAIN = (str, bool, int, float, type(None))
MARK = "is"
"""Key of the one-entry dictionaries that stand for something JSON has no word for."""


def pack(tree: Any, tensors: dict[str, Tensor], path: str = "state") -> Any:
    """`tree` as JSON; its tensors go to `tensors`, copied to the CPU, named by their place.

    Raises `UserError`, naming the place, for an object of another type.
    """
    if isinstance(tree, Undefined):
        return {MARK: "undefined", "reason": tree.reason}
    if isinstance(tree, np.generic):
        tree = tree.item()
    if isinstance(tree, PLAIN):
        return tree
    if isinstance(tree, Tensor | np.ndarray):
        kind = "tensor" if isinstance(tree, Tensor) else "array"
        # A clone: safetensors refuses tensors that share memory, and training goes on meanwhile.
        tensors[path] = torch.as_tensor(tree).detach().cpu().clone().contiguous()
        return {MARK: kind, "at": path}
    if isinstance(tree, dict):
        items = [[pack(k, tensors, path), pack(v, tensors, f"{path}/{k}")] for k, v in tree.items()]
        return {MARK: "dict", "items": items}
    if isinstance(tree, list | tuple):
        items = [pack(value, tensors, f"{path}/{i}") for i, value in enumerate(tree)]
        return items if isinstance(tree, list) else {MARK: "tuple", "items": items}
    raise UserError(
        f"{path} is a {type(tree).__name__}, which cannot be saved without a pickle: expected "
        "tensors, numbers, text, lists and dictionaries of them."
    )


def unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """What `pack` was given."""
    if isinstance(packed, list):
        return [unpack(value, tensors) for value in packed]
    if not isinstance(packed, dict):
        return packed
    kind = packed[MARK]
    if kind == "tensor":
        return tensors[packed["at"]]
    if kind == "array":
        return tensors[packed["at"]].numpy()
    if kind == "undefined":
        return Undefined(packed["reason"])
    if kind == "tuple":
        return tuple(unpack(value, tensors) for value in packed["items"])
    return {unpack(k, tensors): unpack(v, tensors) for k, v in packed["items"]}
