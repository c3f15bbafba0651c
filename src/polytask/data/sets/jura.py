"""Soil of the Swiss Jura: seven heavy metals at a few hundred places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data._rdata import plain, rda
from polytask.data.fetch import fetch
from polytask.data.table import table_dataset
from polytask.errors import need, unknown

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Heavy metals in the soil of the Swiss Jura",
    "kind": "table",
    "rows": 359,
    "inputs": "2 coordinates in kilometres, land use (4 classes) and rock type (5 classes)",
    "tasks": {
        "Cd": "regression: cadmium, mg/kg",
        "Co": "regression: cobalt, mg/kg",
        "Cr": "regression: chromium, mg/kg",
        "Cu": "regression: copper, mg/kg",
        "Ni": "regression: nickel, mg/kg",
        "Pb": "regression: lead, mg/kg",
        "Zn": "regression: zinc, mg/kg",
    },
    "split": "drawn by seed; split='published' gives 259 training and 100 test places, and "
    "split=spatial, without it, keeps squares of the map together",
    "address": "https://cran.r-project.org/package=gstat",
    "source": "O. Atteia, J.-P. Dubois and R. Webster, Environmental Pollution 86, 1994; in the "
    "form of P. Goovaerts, Geostatistics for Natural Resources Evaluation, 1997",
    "licence": "GPL-2.0-or-later (the carrying package, which is never imported)",
    "carriers": [
        {
            "client": "apt",
            "package": "r-cran-gstat",
            "version": "2.1-0-1",
            "members": ["usr/lib/R/site-library/gstat/data/jura.rda"],
            "sha256": "d800c65d5c767737e78d565a36c881be23b359ddb3912d70c1b20618a341353a",
            "megabytes": 2.3,
        }
    ],
    "notes": [
        "geostatisticians often let the other metals be known at the test places (cokriging); "
        "here every metal is a target and none is an input",
        "6 places have Portlandian rock and 8 are tilled: small parts of a split may lack them",
    ],
}
INPUTS = {"Xloc": "x", "Yloc": "y", "Landuse": "land_use", "Rock": "rock"}


def jura(split: str | None = None) -> Dataset:
    """Soil of the Swiss Jura: 359 places; seven heavy metals from place, land use and rock.

    Args:
        split: `published` for Goovaerts's 100 validation places as test rows; None to draw one.

    Raises:
        UserError: an unknown split, or the data cannot be fetched.
        MissingExtraError: rdata or pandas is not installed.
    """
    if split not in (None, "published"):
        raise unknown("split of jura:", split, ["published"])
    try:
        import pandas as pd
    except ImportError as error:
        raise need("pandas", "app", "reading jura") from error
    (file,) = fetch(CARD).values()
    tables = rda(file)
    train, test = plain(tables["jura.pred"]), plain(tables["jura.val"])
    frame = pd.concat([train, test], ignore_index=True).rename(columns=INPUTS)
    targets = dict.fromkeys(CARD["tasks"], "regression")
    table = frame[[*INPUTS.values(), *targets]]
    dataset = table_dataset(table, targets, coordinates=["x", "y"], name="jura")
    dataset.notes += CARD["notes"]
    if split == "published":
        rows = np.arange(len(frame))
        dataset.fixed_split = {"train": rows[: len(train)], "test": rows[len(train) :]}
    return dataset
