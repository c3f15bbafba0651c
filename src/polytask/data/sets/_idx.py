"""The idx format of MNIST and its relatives: http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np

from polytask.errors import UserError

UNSIGNED_BYTE = 8


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an idx file, gzipped when its name ends so.

    Raises:
        UserError: it is not an idx file of bytes, or its length differs from what it declares.
    """
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    dimensions = content[3] if len(content) > 3 else 0
    start = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)]
    whole = len(content) == start + math.prod(shape)
    if content[:3] != bytes([0, 0, UNSIGNED_BYTE]) or not dimensions or not whole:
        raise UserError(
            f"{path} is not a whole idx file of bytes: expected its 0 0 8 at the start and a "
            f"length that fits its shape, found {len(content)} bytes that begin with "
            f"{content[:4].hex(' ') or 'nothing'}."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
