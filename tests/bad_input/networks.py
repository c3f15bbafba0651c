"""Networks of the user's own that do not do what a Trainer needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures import HardSharing
from polytask.training import Trainer

from .case import Place
from .digits import TASKS, Own, X, fit, trainer


def shaped(**changed: Callable[[Tensor], Any]) -> nn.Module:
    """A network whose outputs are changed by name."""
    return Own(lambda out: {**out, **{name: change(out[name]) for name, change in changed.items()}})


def frozen(*parts: str) -> nn.Module:
    model = Own()
    for part in parts:
        model.get_submodule(part).requires_grad_(False)
    return model


def with_nan() -> nn.Module:
    model = Own()
    with torch.no_grad():
        model.trunk.weight[0, 0] = torch.nan
    return model


class Apart(nn.Module):
    """A network for each task, so that nothing is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(
            {"digit": nn.Linear(64, 10), "odd": nn.Linear(64, 1), "ink": nn.Linear(64, 1)}
        )

    def forward(self, x: Any) -> dict[str, Tensor]:
        return {name: net(x["x"]) for name, net in self.nets.items()}


class Narrow(nn.Module):
    """A network for half of the points."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(32, 8)

    def forward(self, x: Any) -> Any:
        return {name: self.trunk(x["x"]) for name in TASKS}


class Masked(Own):
    """A network that wants a mask, too."""

    def forward(self, x: Any, mask: Any) -> Any:
        return super().forward(x)


class Sometimes(Own):
    """A network that answers in another way on validation."""

    def forward(self, x: Any) -> Any:
        found = super().forward(x)
        return found if self.training else list(found.values())


def wrong_head(place: Place) -> None:
    heads = {"ink": nn.Linear(4, 1)}
    fit(HardSharing(nn.Linear(64, 8), TASKS, example=X, heads=heads))(place)


DICTIONARY = "a dictionary of outputs by task name || found {} || Return, for example"
UNREADABLE = "could not read the first training batch (x: [32, 64] float32) || {} || {}"
SHAPE = "expected an output of shape [N, {0}] || found {1} || Give its head {0} output(s)"
SHARED = (
    "needs parameters that at least two tasks use || share none that require a gradient || "
    "Unfreeze the shared part"
)

NETWORKS = [
    trainer(
        "an output of a wrong width",
        fit(shaped(digit=lambda z: z[:, :9])),
        SHAPE.format(10, "[32, 9]"),
    ),
    trainer(
        "one number for the whole batch",
        fit(shaped(ink=lambda z: z.mean())),
        SHAPE.format(1, "[]"),
    ),
    trainer(
        "losses for outputs",
        fit(Own(lambda out: {name: z.square().mean() for name, z in out.items()})),
        SHAPE.format(10, "[]"),
    ),
    trainer(
        "an output of fewer rows",
        fit(shaped(ink=lambda z: z[:3])),
        "expected one of each for every row || found 3 outputs and 32 targets || Keep the rows",
    ),
    trainer(
        "classes in place of their scores",
        fit(shaped(digit=lambda z: z.argmax(1))),
        "expected a floating-point output || found torch.int64 || before rounding or argmax",
    ),
    trainer(
        "an output of lists",
        fit(shaped(ink=lambda z: z.tolist())),
        "expected a tensor || output of task 'ink' is of type list || Return the tensor itself",
    ),
    trainer(
        "no output of a task",
        fit(Own(lambda out: {"digit": out["digit"], "odd": out["odd"]})),
        "expected outputs named digit, odd, ink || no output for ink || Name them as the tasks",
    ),
    trainer(
        "an output under another name",
        fit(Own(lambda out: {"inc": out["ink"], "digit": out["digit"], "odd": out["odd"]})),
        "expected outputs named digit, odd, ink || found inc, digit, odd || Name them",
    ),
    trainer(
        "a tuple of outputs",
        fit(Own(lambda out: tuple(out.values()))),
        DICTIONARY.format("tuple"),
    ),
    trainer(
        "outputs in one tensor",
        fit(Own(lambda out: torch.cat(list(out.values()), 1))),
        DICTIONARY.format("Tensor"),
    ),
    trainer("nothing returned", fit(Own(lambda out: None)), DICTIONARY.format("NoneType")),
    trainer("a list on validation only", fit(Sometimes()), DICTIONARY.format("list")),
    trainer(
        "outputs without a graph",
        fit(Own(lambda out: {name: z.detach() for name, z in out.items()})),
        "expected one computed from the model's outputs || carries no gradient || without detach()",
    ),
    trainer(
        "all frozen",
        fit(frozen("trunk", "heads")),
        "expected at least one with requires_grad || no trainable parameter || Unfreeze the part",
    ),
    trainer("a frozen trunk and mgda", fit(frozen("trunk"), method="mgda"), SHARED),
    trainer("nothing shared and pcgrad", fit(Apart(), method="pcgrad"), SHARED),
    trainer(
        "NaN among the weights",
        fit(with_nan()),
        "before training || parameter 'trunk.weight' has 1 value of 512 NaN || other weights",
        error=FloatingPointError,
    ),
    trainer(
        "a network for other rows",
        fit(Narrow()),
        UNREADABLE.format("mat1 and mat2 shapes cannot be multiplied", "correct the module"),
    ),
    trainer(
        "a network that wants more arguments",
        fit(Masked()),
        UNREADABLE.format("argument: 'mask'", "Give batches as its forward reads them"),
    ),
    trainer(
        "half-precision weights",
        fit(Own().half()),
        UNREADABLE.format("must have the same dtype", "Keep its weights in float32"),
    ),
    trainer(
        "a head of a wrong width",
        wrong_head,
        UNREADABLE.format("cannot be multiplied (32x8 and 4x1)", "correct the module"),
    ),
    trainer(
        "a class for a network",
        lambda p: Trainer(Own, TASKS),
        "must be a torch module || found the class Own || Build it first",
    ),
    trainer(
        "a function for a network",
        lambda p: Trainer(lambda x: x, TASKS),
        "must be a torch module || found a function || Wrap it in an nn.Module",
    ),
    trainer(
        "a checkpoint below a file",
        fit(out="file/run"),
        "cannot create the folder file/run || file is a file || Choose another place",
        make=lambda p: p.write("file", "x"),
    ),
]
