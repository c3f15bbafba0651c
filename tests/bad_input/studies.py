"""Studies that `compare` cannot begin, with encoders of the user's own."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from polytask import compare, create_method
from polytask.data import InputSpec

from .case import Case, Make, Place, patients

FRAME = patients()


class Encoder(nn.Module):
    """An encoder of the user's that answers `answer(z)`."""

    takes_dict = True

    def __init__(self, spec: InputSpec, answer: Any = lambda z: z, width: int = 8) -> None:
        super().__init__()
        self.layer = nn.Linear(spec.numeric, 8)
        self.answer = answer
        self.output_size = width

    def forward(self, x: Any) -> Any:
        return self.answer(self.layer(x["numeric"]))


def study(case: str, says: str, data: Any = FRAME, make: Make | None = None, **words: Any) -> Case:
    """A study of two targets in this process, with something changed."""
    more = {word: words.pop(word) for word in ("steps", "leaves", "error") if word in words}

    def call(place: Place) -> None:
        given: dict[str, Any] = {
            "targets": ["progression", "high"],
            "methods": ["linear"],
            "encoder": Encoder,
            "seeds": 1,
            "epochs": 1,
            "lr": 1e-3,
            "out": "study",
            "progress": False,
        }
        compare(data, **{**given, **words})

    return Case(case, call, says, make, door="compare", **more)


def encoder(case: str, maker: Any, says: str, **more: Any) -> Case:
    return study(f"encoder: {case}", says, encoder=maker, **more)


def crash(*_: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def other_study(place: Place) -> None:
    place.write("study/fingerprint.json", json.dumps({"data": "0", "name": "houses", "rows": 9}))


ABOVE = "expected a whole number above 0 || found {} || {}:"
TENSOR = "Expected one floating-point tensor || answered a {} || {}"
MAKER = "expected a torch module || {} || {}"

STUDIES = [
    study(
        "a misspelt data set",
        "Data sets: adult || is called 'adlut' || did you mean 'adult'?",
        "adlut",
        targets=None,
    ),
    study("a number for data", "expected a table's file || found int || or a data set's name", 3),
    study(
        "a table without targets",
        "which columns of table are to be predicted? || the columns are age || Name them",
        targets=None,
    ),
    study(
        "a misspelt method",
        "Known: adaloss || unknown method 'pcgrd' || did you mean 'pcgrad'?",
        methods=["pcgrd"],
    ),
    study(
        "a method that is built",
        "expected a name || found PCGrad( || Write the name",
        methods=[create_method("pcgrad")],
    ),
    study(
        "an argument out of range",
        "at least 0 || found -1 || method cagrad: c",
        methods=[{"cagrad": {"c": -1}}],
    ),
    study(
        "a setting that does not exist",
        "Known: accumulate || option of compare 'epoch' || did you mean 'epochs'?",
        epoch=3,
    ),
    study(
        "a class for an optimizer",
        "expected a plain value || found type || Use a word",
        optimizer=torch.optim.SGD,
    ),
    study(
        "seeds as a list",
        "a whole number above 0 || found [0, 1] || Write how many, seeds=2",
        seeds=[0, 1],
    ),
    study(
        "no learning rate",
        "expected at least one learning rate || found none || try [3e-4, 1e-3]",
        lr=[],
    ),
    study("rates of text", "a number above 0 || found '0.1' || Give a number", lr="0.1"),
    study("batches of none", ABOVE.format(0, "batch_size"), batch_size=0),
    study("no workers", ABOVE.format(0, "workers"), workers=0),
    study("half an epoch", ABOVE.format(0.5, "epochs"), epochs=0.5),
    study("time of text", "a number above 0 || found '10m' || in seconds", max_time="10m"),
    study(
        "a statistic that does not exist",
        "Known: exact || 'tial' || did you mean 'tail'?",
        statistic="tial",
    ),
    study(
        "chosen by what is no task",
        "Known: high || 'hihg' || did you mean 'high'?",
        select="main:hihg",
    ),
    study(
        "fractions that leave nothing",
        "expected less than 1 || test_fraction + val_fraction is 1 || Make one",
        test_fraction=0.5,
        val_fraction=0.5,
    ),
    study("a percentage", "at least 0 and below 1 || is 15 || 0.15 for 15 %", test_fraction=15),
    study(
        "auxiliary tasks only",
        "give one the role 'main' || every task is auxiliary || select='main:TASK'",
        targets=["high:auxiliary", "progression:auxiliary"],
    ),
    study("one task", "at least two targets || one task: high || Name", targets=["high"]),
    encoder(
        "another width",
        lambda spec: Encoder(spec, width=9),
        "Expected dimension 1 to be 9 || of shape (2, 8) || correct its `output_size`",
    ),
    encoder(
        "a tuple",
        lambda spec: Encoder(spec, lambda z: (z, z)),
        TENSOR.format("tuple of 2", "wrap the encoder"),
    ),
    encoder(
        "a sequence",
        lambda spec: Encoder(spec, lambda z: z[:, None]),
        "which may be [N, channels, length] || shape (2, 1, 8) || set encoder.channel_dim",
    ),
    encoder(
        "crashes",
        lambda spec: Encoder(spec, crash),
        "could not read the example batch || ZeroDivisionError || Correct the module",
    ),
    encoder(
        "frozen",
        lambda spec: Encoder(spec).requires_grad_(False),
        "expected some || found 2, all frozen || Unfreeze a part of it",
    ),
    encoder(
        "for other widths",
        nn.Linear(64, 8),
        "could not read the example batch || must be Tensor, not dict || come as one dictionary",
    ),
    encoder(
        "NaN",
        lambda spec: Encoder(spec, lambda z: z * torch.nan),
        "nothing was updated || the loss of task 'progression' is nan || Look for infinite inputs",
        error=FloatingPointError,
    ),
    encoder("a maker that crashes", crash, MAKER.format("raised ZeroDivisionError", "by hand")),
    encoder(
        "a maker of nothing",
        lambda spec: None,
        MAKER.format("returned NoneType", "Return the encoder"),
    ),
    encoder("a maker without arguments", lambda: None, MAKER.format("TypeError", "by hand")),
    study(
        "the folder holds a study of other data",
        "this is table, 80 rows || holds a study of other data: houses || Use another out",
        make=other_study,
        steps=2,
        leaves=("study/.lock",),
    ),
    study(
        "the folder holds other files",
        "a folder that is new, empty or a study's || note.txt || Name another one",
        make=lambda place: place.write("study/note.txt", "mine"),
    ),
    study(
        "the folder is below a file",
        "cannot create the folder study || study is a file || Choose another place",
        make=lambda place: place.write("study", "mine"),
    ),
]
