"""The encoder for molecules: what it sees, what it cannot see, what it learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from real_inputs import DIGITS, MOLECULES, TABLE, TEXT, Widths, molecules
from torch import Tensor
from torch.nn.functional import softplus

from polytask import Task, Trainer
from polytask.architectures import HardSharing, create_encoder
from polytask.architectures.encoders.molecule import Molecule
from polytask.architectures.stages import stage_widths
from polytask.data import Dataset, Preprocessor
from polytask.errors import UserError
from polytask.study.setup import describe_encoder
from polytask.tabular.fitting import default_encoder


def made(**options: Any) -> Molecule:
    torch.manual_seed(0)
    return Molecule(MOLECULES, **{"width": 8, "layers": 2} | options).double().eval()


def inputs(rows: int = 10) -> dict[str, Tensor]:
    atoms, positions = (value[:rows] for value in molecules()[0].values())
    return {"atoms": atoms, "positions": positions.double()}


def at_atoms(z: Tensor, x: dict[str, Tensor]) -> Tensor:
    return z[x["atoms"] > 0]


def test_one_block_by_hand() -> None:
    encoder, x = made(layers=1, cutoff=2.0, spacing=0.5), inputs()
    block, element = encoder.stages[0], encoder.entrance.elements.weight
    z = encoder(x)
    for n, i in ((2, 0), (5, 2), (9, 1)):
        numbers, places = x["atoms"][n], x["positions"][n]
        heard = torch.zeros(8, dtype=torch.float64)
        for j in range(6):
            d = float((places[i] - places[j]).norm())
            if i == j or not numbers[j] or d >= 2:
                continue
            steps = torch.tensor([(d - 0.5 * k) / 0.5 for k in range(5)], dtype=torch.float64)
            first, _, second = block.filters
            inner = softplus(first((-steps.square() / 2).exp())) - math.log(2)
            fade = 0.5 * math.cos(math.pi * d / 2) + 0.5
            heard += second(inner) * fade * (block.before.weight @ element[numbers[j]])
        first, _, second = block.after
        inner = softplus(first(heard / math.sqrt(6))) - math.log(2)
        torch.testing.assert_close(z[n, i], element[numbers[i]] + second(inner))


def test_moved_turned_and_mirrored_molecules_are_the_same() -> None:
    encoder, x = made(), inputs()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    for matrix in (turn, -turn):
        moved = {**x, "positions": x["positions"] @ matrix + torch.tensor([3.0, -1.0, 7.0])}
        torch.testing.assert_close(at_atoms(encoder(moved), x), at_atoms(encoder(x), x))
    stretched = {**x, "positions": 1.1 * x["positions"]}
    assert (at_atoms(encoder(stretched), x) - at_atoms(encoder(x), x)).abs().amax(1).gt(1e-6).all()


def test_the_order_of_atoms_and_their_padding_are_of_no_consequence() -> None:
    encoder, x = made(), inputs()
    order = torch.randperm(6)
    mixed = {name: value[:, order] for name, value in x.items()}
    torch.testing.assert_close(
        at_atoms(encoder(mixed), mixed), at_atoms(encoder(x)[:, order], mixed)
    )
    net = HardSharing(encoder, [Task("a", "regression")]).eval()
    torch.testing.assert_close(net(mixed)["a"], net(x)["a"])
    nothing = {"atoms": (10, 2), "positions": (10, 2, 3)}
    wider = {name: torch.cat([v, v.new_zeros(nothing[name])], 1) for name, v in x.items()}
    torch.testing.assert_close(net(wider)["a"], net(x)["a"])
    somewhere = torch.where(x["atoms"][..., None] > 0, x["positions"], 0.3)
    torch.testing.assert_close(net({**x, "positions": somewhere})["a"], net(x)["a"])


def test_atoms_come_into_view_without_a_jump() -> None:
    encoder, atoms = made(cutoff=3.0), torch.tensor([[8, 1]])
    places = torch.zeros(1, 2, 3, dtype=torch.float64)

    def seen(distance: float) -> Tensor:
        places[0, 1, 0] = distance
        return encoder({"atoms": atoms, "positions": places})

    alone = encoder({"atoms": atoms[:, :1], "positions": places[:, :1]})
    assert seen(3.0)[:, :1].equal(alone)
    assert seen(50.0)[:, :1].equal(alone)
    assert 0 < (seen(2.999)[:, :1] - alone).abs().max() < 1e-5
    assert (seen(1.0)[:, :1] - alone).abs().max() > 1e-3


def test_forces_are_finite_where_atoms_coincide() -> None:
    """Padding lies at the origin, and so may an atom."""
    encoder, x = made(), inputs()
    x["positions"].requires_grad_()
    at_atoms(encoder(x), x).square().sum().backward()
    assert x["positions"].grad is not None
    assert x["positions"].grad.isfinite().all()
    # Forces on a molecule sum to zero.
    net = x["positions"].grad.sum(1)
    torch.testing.assert_close(net, torch.zeros_like(net))


def test_an_element_never_seen_says_nothing_of_itself() -> None:
    encoder, x = made(), inputs()
    for number in (10, 17, 92):
        other = {**x, "atoms": torch.where(x["atoms"] == 9, number, x["atoms"])}
        assert encoder(other)[0].isfinite().all()
        assert encoder(other)[0].equal(
            encoder({**x, "atoms": x["atoms"].where(x["atoms"] != 9, 99)})[0]
        )


def test_stages_and_widths() -> None:
    encoder = create_encoder("molecule", MOLECULES, width=12, layers=4)
    x = molecules()[0]
    assert stage_widths(encoder) == stage_widths(encoder, x) == (12,) * 4
    assert encoder.output_size == 12
    assert encoder.channel_dim == -1


@pytest.mark.parametrize(
    "spec",
    [
        TABLE,
        DIGITS,
        TEXT,
        Widths(other=MOLECULES.other),
        Widths(other=MOLECULES.other, tokens=MOLECULES.tokens, numeric=2),
        Widths(other=(*MOLECULES.other, ("more", (3,))), tokens=MOLECULES.tokens),
        Widths(other=(("atoms", (6,)), ("positions", (5, 3))), tokens=MOLECULES.tokens),
    ],
)
def test_other_inputs_are_refused(spec: Widths) -> None:
    with pytest.raises(UserError, match="the encoder molecule reads atoms"):
        create_encoder("molecule", spec)


def test_faulty_arguments_and_batches() -> None:
    for options in ({"width": 0}, {"layers": 0}, {"cutoff": 0.1}, {"spacing": 0}):
        with pytest.raises(UserError):
            create_encoder("molecule", MOLECULES, **options)
    encoder, x = made(), inputs()
    with pytest.raises(UserError, match="expected a dictionary"):
        encoder(x["positions"])
    with pytest.raises(UserError, match="unknown input 'positions'"):
        encoder({"atoms": x["atoms"]})
    for wrong in (
        {**x, "atoms": x["atoms"].float()},
        {**x, "positions": x["positions"][:, :4]},
        {**x, "atoms": x["atoms"][:, :4]},
    ):
        with pytest.raises(UserError, match="found shapes"):
            encoder(wrong)


def test_a_set_of_molecules_takes_it_by_itself() -> None:
    x = {name: value.numpy() for name, value in molecules()[0].items()}
    data = Dataset("shapes", x, {"carbon": molecules()[1]["carbon"][:, 0].long().numpy()},
                   {"carbon": Task("carbon", "binary", classes=(0, 1))})  # fmt: skip
    assert describe_encoder(None, data).name == default_encoder(data) == "molecule"
    prepared = Preprocessor.fit(data, np.arange(100))
    encoder = create_encoder("molecule", prepared.spec, width=8, layers=1)
    batch = prepared.transform(x)
    assert encoder(batch)[0].equal(encoder({n: v[:1] for n, v in batch.items()})[0])


def test_it_learns_the_repulsion_of_nuclei() -> None:
    torch.manual_seed(0)
    tasks = [Task("repulsion", "regression"), Task("carbon", "binary")]
    x, targets = molecules()
    net = HardSharing(Molecule(MOLECULES, width=16, layers=2), tasks)
    kept = torch.arange(130) // 10 % 4 != 1
    parts = [
        tuple({name: value[rows] for name, value in named.items()} for named in (x, targets))
        for rows in (kept, ~kept)
    ]
    trainer = Trainer(net, tasks, epochs=60, lr=1e-2, progress=False)
    trainer.fit(parts[0])
    scores = trainer.evaluate(parts[1])
    assert scores["test/repulsion/r2"] > 0.8
    assert scores["test/carbon/accuracy"] > 0.95
