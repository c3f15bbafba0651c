"""Houses of Lucas County, Ohio: price and living area of homes with their coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._blocks import square_blocks
from polytask.data._rdata import lazy_object, plain
from polytask.data.fetch import fetch
from polytask.data.table import table_dataset
from polytask.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Lucas County houses",
    "kind": "table",
    "rows": 25357,
    "inputs": "12 numeric columns, two of them coordinates in metres, and 3 categorical columns",
    "tasks": {
        "log_price": "regression: natural logarithm of the sale price in dollars",
        "log_area": "regression: natural logarithm of the total living area in square feet",
    },
    "split": "drawn by seed; split='group:block' keeps the houses of one square of the map "
    "together, as split='spatial:3000' does; split='time:sold' tests on the last sales",
    "address": "https://jakubnowosad.com/spData/reference/house.html",
    "source": "the auditor of Lucas County, Ohio: single-family homes sold from 1993 to 1998; "
    "from the Spatial Econometrics Toolbox of J. LeSage, in the R package spData",
    "licence": "CC0-1.0 (the carrying package)",
    "carriers": [
        {
            "client": "apt",
            "package": "r-cran-spdata",
            "version": "2.2.1-1",
            "members": [
                "usr/lib/R/site-library/spData/data/Rdata.rdb",
                "usr/lib/R/site-library/spData/data/Rdata.rdx",
            ],
            "sha256": "8cef41ae9ead07aba2e32306aeca3c00b283be958b86805b52ec79254f052248",
            "megabytes": 3.6,
        }
    ],
    "notes": [
        "the auditor's appraisal is left out: its logarithm correlates .965 with that of the price",
        "age and the indicators of the sale year are left out: they repeat yrbuilt and sold",
        "in a random split most test houses have training houses next door, so it measures "
        "interpolation; the group split measures what carries over to other places",
    ],
}
NUMERIC = (
    *("yrbuilt", "beds", "baths", "halfbaths", "rooms"),
    *("frontage", "depth", "lotsize", "garagesqft"),
)
CATEGORICAL = ("stories", "wall", "garage")
COORDINATES = ["x", "y"]


def lucas(block_km: float = 3.0) -> Dataset:
    """Lucas County houses: 25,357 homes on the map of Ohio; log price and log living area.

    `Dataset.coordinates` say where a house is (metres east and north, Ohio North state plane,
    EPSG:2834), and so do the two inputs named in `Dataset.columns["coordinates"]`. Blocks are
    squares of a grid over them, those of a spatial split.

    Args:
        block_km: side of the blocks of `split="group:block"`, in kilometres.

    Raises:
        UserError: block_km is not above 0, or the data cannot be fetched.
        MissingExtraError: rdata or pandas is not installed.
    """
    if not 0 < block_km < float("inf"):
        raise UserError(f"block_km of lucas is {block_km}; expected kilometres above 0.")
    frame = _table()
    frame["block"] = square_blocks(frame[COORDINATES].to_numpy(), block_km * 1000)
    targets = {"log_price": "regression", "log_area": "regression"}
    dataset = table_dataset(frame, targets, group="block", coordinates=COORDINATES, name="lucas")
    dataset.notes += [
        f"blocks: {frame['block'].nunique()} squares of {block_km:g} km",
        *CARD["notes"],
    ]
    return dataset


def _table() -> pd.DataFrame:
    """The columns that are used, one row a house."""
    house = lazy_object(fetch(CARD).values(), "house")
    raw = plain(house.data)
    frame = raw[[*NUMERIC, *CATEGORICAL]].copy()
    place = np.asarray(house.coords, np.float64)
    for i, name in enumerate(COORDINATES):
        frame.insert(i, name, place[:, i])
    frame.insert(2, "sold", _years(raw["sdate"].to_numpy()))
    frame["log_price"] = np.log(raw["price"].to_numpy(np.float64))
    frame["log_area"] = np.log(raw["TLA"].to_numpy(np.float64))
    return frame


def _years(dates: np.ndarray) -> np.ndarray:
    """Years with their parts, of dates of the last century written yymmdd: 960701 is 1996.5."""
    year, month, day = 1900 + dates // 10000, dates // 100 % 100, dates % 100
    years: np.ndarray = year + (month - 1) / 12 + (day - 1) / 372
    return years
