"""Data sets of every supported kind in a mixture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from torch.utils.data import Dataset as MapDataset

from polytask.data import InTurn, Mixture
from polytask.errors import UserError


class Squares(MapDataset):
    """Rows by number: (input, label)."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> tuple[Tensor, float]:
        return torch.tensor([float(row)]), float(row) ** 2


class Counting(IterableDataset):
    """Rows one after another, of unknown number, with a random part."""

    def __init__(self, count: int, noise: float = 0.0) -> None:
        self.count, self.noise = count, noise

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in range(self.count):
            x = torch.tensor([float(row)]) + self.noise * torch.rand(1)
            yield {"x": x, "y": torch.tensor(float(row))}


class Columns:
    """Has what a Hugging Face `datasets.Dataset` has, which is not a dependency: columns by name,
    their rows by a list of numbers, a length, and a fingerprint that follows the content.
    """

    def __init__(self, **columns: list[Any]) -> None:
        self.columns = columns
        self._fingerprint = str(hash(str(columns)))

    @property
    def column_names(self) -> list[str]:
        return list(self.columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, rows: int | list[int]) -> dict[str, Any]:
        if isinstance(rows, list):
            return {name: [values[i] for i in rows] for name, values in self.columns.items()}
        return {name: values[rows] for name, values in self.columns.items()}


def inputs_of(mixture: Any) -> list[float]:
    return [float(x) for batch in mixture for x in batch[0]["x"].reshape(-1)]


def test_rows_by_number_with_a_bare_label() -> None:
    mixture = Mixture({"y": Squares(10)}, batch_size=4)
    seen: dict[float, float] = {}
    for inputs, targets in mixture:
        seen |= dict(zip(inputs[:, 0].tolist(), targets["y"].tolist(), strict=True))
    assert seen == {float(i): float(i) ** 2 for i in range(10)}
    with pytest.raises(UserError, match="targets named y, z"):
        next(iter(Mixture({("y", "z"): Squares(10)})))


def test_a_collate_function_of_its_own() -> None:
    def pad(rows: list[tuple[Tensor, float]]) -> Any:
        length = max(int(x[0]) for x, _ in rows) + 1
        padded = torch.stack([torch.nn.functional.pad(x, (0, length)) for x, _ in rows])
        return {"x": padded}, {"y": torch.tensor([y for _, y in rows])}

    mixture = Mixture({"y": Squares(6), "z": Squares(4)}, batch_size=3, collate_fn={"y": pad})
    shapes = {tuple(targets): inputs for inputs, targets in mixture}
    assert isinstance(shapes[("y",)], dict)
    assert isinstance(shapes[("z",)], Tensor)

    def broken(rows: list[Any]) -> Any:
        raise KeyError("length")

    with pytest.raises(UserError, match=r"'y' cannot be put into a batch: KeyError"):
        next(iter(Mixture({"y": Squares(6)}, collate_fn=broken)))
    with pytest.raises(UserError, match="type list"):
        next(iter(Mixture({"y": Squares(6)}, collate_fn=lambda rows: [1, 2, 3])))


def test_columns_named_as_tasks_are_targets() -> None:
    table = Columns(x=[[float(i), 0.0] for i in range(7)], y=list(range(7)), z=[0.5] * 7)
    mixture = Mixture({("y", "z"): table}, batch_size=3)
    seen = {}
    for inputs, targets in mixture:
        assert set(inputs) == {"x"}
        assert targets["y"].dtype == torch.int64
        seen |= dict(zip(inputs["x"][:, 0].tolist(), targets["y"].tolist(), strict=True))
    assert seen == {float(i): i for i in range(7)}
    assert mixture.fingerprints() == {"y+z": table._fingerprint}
    with pytest.raises(UserError, match="no column 'label'; found x, y"):
        Mixture({"label": table})


def test_columns_of_unequal_length_need_a_collate_function() -> None:
    ragged = Columns(ids=[[1, 2], [3], [4, 5, 6]], y=[0, 1, 0])
    with pytest.raises(UserError, match=r"column 'ids' .* cannot become a tensor"):
        next(iter(Mixture({"y": ragged})))

    def pad(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        longest = max(len(row["ids"]) for row in rows)
        ids = [row["ids"] + [0] * (longest - len(row["ids"])) for row in rows]
        return {"ids": torch.tensor(ids), "y": torch.tensor([row["y"] for row in rows])}

    inputs, targets = next(iter(Mixture({"y": ragged}, collate_fn=pad)))
    assert inputs["ids"].shape == (3, 3)
    assert sorted(targets["y"].tolist()) == [0, 0, 1]


def test_a_stream_keeps_its_order_and_begins_again() -> None:
    mixture = Mixture({"y": Counting(5)}, "uniform", batch_size=2, steps_per_epoch=4)
    assert inputs_of(mixture) == [0, 1, 2, 3, 4, 0, 1]
    assert inputs_of(mixture) == [2, 3, 4, 0, 1, 2, 3]
    with pytest.raises(UserError, match="steps_per_epoch"):
        Mixture({"y": Counting(5)}, "uniform")
    with pytest.raises(UserError, match="number of rows"):
        next(iter(Mixture({"y": Counting(5)}, steps_per_epoch=2)))
    with pytest.raises(UserError, match="all batches"):
        Mixture({"y": Counting(5)}, "shuffled_union", steps_per_epoch=2)
    with pytest.raises(UserError, match="'y' is empty"):
        next(iter(Mixture({"y": Counting(0)}, "uniform", steps_per_epoch=2)))
    assert len(Mixture({"y": Counting(5)}, sizes={"y": 5}, steps_per_epoch=2)) == 2


def test_a_random_stream_goes_on_from_a_saved_state() -> None:
    def make() -> Mixture:
        sources = {"y": Counting(5, noise=0.1), "z": Squares(3)}
        return Mixture(sources, "round_robin", batch_size=2, steps_per_epoch=6)

    torch.manual_seed(0)
    outside = torch.get_rng_state()
    mixture = make()
    whole = [batch for _ in range(3) for batch in make_iter(mixture)]
    mixture, found = make(), []
    for batch in make_iter(mixture):
        found.append(batch)
        if len(found) == 5:
            state = mixture.state_dict()
            break
    torch.manual_seed(7)  # plays no part
    resumed = make()
    resumed.load_state_dict(state)
    found += [batch for _ in range(3) for batch in make_iter(resumed)]
    assert found == whole[: len(found)]
    assert len({x for batch in whole for x in batch}) == 3 * 5 + 3  # new noise each pass
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), outside)


def make_iter(mixture: Mixture) -> Iterator[list[float]]:
    """Inputs of every batch of one epoch."""
    for inputs, _ in mixture:
        values = inputs["x"] if isinstance(inputs, dict) else inputs
        yield values.reshape(-1).tolist()


def test_a_loader_gives_its_own_batches() -> None:
    data = TensorDataset(torch.arange(10.0)[:, None], torch.arange(10.0))
    loader = DataLoader(data, 3, shuffle=True)
    mixture = Mixture({"y": loader, "z": Squares(4)}, "shuffled_union", batch_size={"z": 2})
    assert len(mixture) == 4 + 2
    assert mixture.sizes == {"y": 10, "z": 4}
    before = torch.get_rng_state()
    orders = []
    for _ in range(2):
        found = [x for inputs, targets in mixture if "y" in targets for x in inputs[:, 0].tolist()]
        assert sorted(found) == list(range(10))
        orders.append(found)
    assert orders[0] != orders[1]
    assert torch.equal(torch.get_rng_state(), before)
    again = Mixture({"y": loader, "z": Squares(4)}, "shuffled_union", batch_size={"z": 2})
    assert [x for i, t in again if "y" in t for x in i[:, 0].tolist()] == orders[0]
    with pytest.raises(UserError, match="makes its own batches"):
        Mixture({"y": loader}, batch_size=5)


def test_a_stream_is_shared_out_too() -> None:
    for source in (Counting(5), DataLoader(Counting(5), 2)):
        size = None if isinstance(source, DataLoader) else 2
        shares = [
            Mixture({"y": source}, "uniform", batch_size=size, steps_per_epoch=3, rank=r, world=2)
            for r in range(2)
        ]
        first, second = (list(share) for share in shares)
        assert [b[0]["x"].reshape(-1).tolist() for b in first] == [[0], [2], [4]]
        assert [b[1]["y"].isnan().tolist() for b in second] == [[False], [False], [True]]


def test_in_turn_reads_every_kind() -> None:
    table = Columns(x=[[1.0]] * 3, y=[0, 1, 0])
    both = InTurn({"y": table, "z": Squares(5), "w": Counting(3)}, batch_size=2)
    with pytest.raises(UserError, match="targets named w"):
        list(both)
    both = InTurn({"y": Counting(4), "z": Squares(5)}, batch_size=2)
    found = [(tuple(t), len(next(iter(t.values())))) for _, t in both]
    assert found == [(("y",), 2), (("y",), 2), (("z",), 2), (("z",), 2), (("z",), 1)]
    assert both.targets["y"].tolist() == [0, 1, 2, 3]


def test_what_is_known_of_content() -> None:
    tensors = TensorDataset(torch.arange(4.0)[:, None], torch.arange(4.0))
    other = TensorDataset(torch.arange(4.0)[:, None], torch.arange(4.0) + 1)
    one, two = (Mixture({"y": data}).fingerprints()["y"] for data in (tensors, other))
    assert one != two
    assert Mixture({"y": Squares(4)}).fingerprints() != Mixture({"y": Squares(5)}).fingerprints()
    arrays = ({"x": np.zeros((3, 1), np.float32)}, {"y": np.zeros(3)})
    assert len(Mixture({"y": arrays})) == 1
