"""Data: tables, images and any other arrays with several targets, splits, preprocessing, batches.

Nothing is imported until it is used: listing data sets costs neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polytask.data._mixing_join import Parts
    from polytask.data._mixing_turn import InTurn
    from polytask.data._store import stored
    from polytask.data.batches import Batches
    from polytask.data.catalog import dataset_card, list_datasets, load_dataset
    from polytask.data.columns import transform_frame
    from polytask.data.data_sets import DataSets
    from polytask.data.dataset import Dataset
    from polytask.data.infer import Inference, infer_kind
    from polytask.data.mixing import Mixture
    from polytask.data.preprocess import InputSpec, Preprocessor
    from polytask.data.read import read_table
    from polytask.data.sources import Tables, read_tables
    from polytask.data.splits import make_splits
    from polytask.data.table import table_dataset, with_test_file

_WHERE = {
    "Batches": "batches",
    "DataSets": "data_sets",
    "Dataset": "dataset",
    "Inference": "infer",
    "InTurn": "_mixing_turn",
    "InputSpec": "preprocess",
    "Mixture": "mixing",
    "Parts": "_mixing_join",
    "Preprocessor": "preprocess",
    "Tables": "sources",
    "dataset_card": "catalog",
    "infer_kind": "infer",
    "list_datasets": "catalog",
    "load_dataset": "catalog",
    "make_splits": "splits",
    "read_table": "read",
    "read_tables": "sources",
    "stored": "_store",
    "table_dataset": "table",
    "transform_frame": "columns",
    "with_test_file": "table",
}

__all__ = [
    "Batches",
    "DataSets",
    "Dataset",
    "InTurn",
    "Inference",
    "InputSpec",
    "Mixture",
    "Parts",
    "Preprocessor",
    "Tables",
    "dataset_card",
    "infer_kind",
    "list_datasets",
    "load_dataset",
    "make_splits",
    "read_table",
    "read_tables",
    "stored",
    "table_dataset",
    "transform_frame",
    "with_test_file",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
