"""Architectures as people have them: each builds a module and a forward pass of losses."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Losses = dict[str, Tensor]
Forward = Callable[[], tuple[Losses, Tensor | list[Tensor] | None]]


def heads(width: int, tasks: str = "abc") -> nn.ModuleDict:
    return nn.ModuleDict({task: nn.Linear(width, 1) for task in tasks})


def squares(outputs: dict[str, Tensor], seed: int = 3) -> Losses:
    """One mean squared error a task against fixed random targets."""
    stream = torch.Generator().manual_seed(seed)
    return {
        task: (out - torch.randn(out.shape, generator=stream, dtype=torch.float64)).square().mean()
        for task, out in outputs.items()
    }


def net(**parts: nn.Module) -> nn.ModuleDict:
    torch.manual_seed(0)
    for part in parts.values():
        for module in part.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    return nn.ModuleDict(parts).double()


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def mlp(width: int = 7) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())


def read(module: nn.ModuleDict, z: Tensor) -> Losses:
    return squares({task: head(z) for task, head in module["heads"].items()})


def batch_norm() -> tuple[nn.Module, Forward]:
    trunk = nn.Sequential(
        nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 7, bias=False)
    )
    module, x = net(trunk=trunk, norm=nn.BatchNorm1d(7), heads=heads(7)), data(12, 5)

    def forward():
        z = module["norm"](module["trunk"](x))
        return read(module, z), z

    return module, forward


def autoencoder() -> tuple[nn.Module, Forward]:
    """A reconstruction whose decoder is the transposed encoder, beside two heads."""
    module, x = net(first=nn.Linear(5, 7), heads=heads(7, "ab")), data(12, 5)

    def forward():
        z = torch.tanh(module["first"](x))
        back = functional.linear(z, module["first"].weight.T)
        return read(module, z) | {"c": (back - x).square().mean()}, z

    return module, forward


def reused_cell() -> tuple[nn.Module, Forward]:
    module, x = net(cell=nn.RNNCell(3, 6), heads=heads(6)), data(4, 8, 3)

    def forward():
        z = x.new_zeros(8, 6)
        for step in x:
            z = module["cell"](step, z)
        return read(module, z), z

    return module, forward


def lstm() -> tuple[nn.Module, Forward]:
    """Heads read different outputs of one node: the sequence, the state and the cell."""
    module, x = (
        net(lstm=nn.LSTM(3, 6, num_layers=2, batch_first=True), heads=heads(6)),
        data(8, 4, 3),
    )

    def forward():
        out, (h, c) = module["lstm"](x)
        reads = {"a": out.mean(dim=1), "b": h[-1], "c": c[-1]}
        losses = squares({task: module["heads"][task](z) for task, z in reads.items()})
        return losses, [out, h, c]

    return module, forward


def multi_input() -> tuple[nn.Module, Forward]:
    """Each task has its own batch: only parameters are shared, no activation."""
    module, xs = net(trunk=mlp(), heads=heads(7)), data(3, 6, 5)

    def forward():
        reads = {task: module["trunk"](x) for task, x in zip("abc", xs, strict=True)}
        return squares({task: module["heads"][task](z) for task, z in reads.items()}), None

    return module, forward


def pyramid() -> tuple[nn.Module, Forward]:
    """A cut of three maps; heads read different ones of them."""

    parts = {
        "stem": nn.Conv2d(1, 4, 3, padding=1),
        "fine": nn.Conv2d(4, 4, 3, padding=1),
        "coarse": nn.Conv2d(4, 4, 3, stride=2, padding=1),
        "heads": nn.ModuleDict({"a": nn.Linear(4, 1), "b": nn.Linear(8, 1), "c": nn.Linear(4, 1)}),
    }
    module, x = net(**parts), data(3, 1, 6, 6)

    def forward():
        stem = torch.tanh(module["stem"](x))
        cut = [torch.tanh(module["fine"](stem)), torch.tanh(module["coarse"](stem))]
        fine, coarse = (z.mean(dim=(2, 3)) for z in cut)
        reads = {"a": fine, "b": torch.cat([fine, coarse], dim=1), "c": coarse}
        return squares({task: module["heads"][task](z) for task, z in reads.items()}), cut

    return module, forward


def embedding(sparse: bool = False) -> tuple[nn.Module, Forward]:
    parts = {
        "embed": nn.Embedding(9, 6, sparse=sparse),
        "mix": nn.Linear(6, 6),
        "heads": heads(6),
    }
    module, codes = net(**parts), torch.tensor([[0, 3, 3], [8, 1, 0], [2, 2, 2], [5, 4, 0]])

    def forward():
        z = torch.tanh(module["mix"](module["embed"](codes).mean(dim=1)))
        return read(module, z), z

    return module, forward


def frozen_middle() -> tuple[nn.Module, Forward]:
    trunk = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 7))
    module, x = net(trunk=trunk, heads=heads(7)), data(12, 5)
    trunk[2].requires_grad_(False)

    def forward():
        z = module["trunk"](x)
        return read(module, z), z

    return module, forward


def bare_head() -> tuple[nn.Module, Forward]:
    """Task c is a function of the representation alone."""
    module, x = net(trunk=mlp(), heads=heads(7, "ab")), data(12, 5)

    def forward():
        z = module["trunk"](x)
        return read(module, z) | {"c": (z.square().sum(dim=1) - 1).square().mean()}, z

    return module, forward


def part_of_the_batch() -> tuple[nn.Module, Forward]:
    module, x = net(trunk=mlp(), heads=heads(7)), data(12, 5)

    def forward():
        z = module["trunk"](x)
        rows = {"a": slice(0, 12), "b": slice(0, 4), "c": torch.tensor([1, 5, 9])}
        return squares({t: module["heads"][t](z[rows[t]]) for t in "abc"}), z

    return module, forward


def one_head_layer() -> tuple[nn.Module, Forward]:
    """All heads are the outputs of one linear layer."""
    module, x = net(trunk=mlp(), heads=nn.Linear(7, 3)), data(12, 5)

    def forward():
        z = module["trunk"](x)
        out = module["heads"](z)
        return squares({task: out[:, i] for i, task in enumerate("abc")}), z

    return module, forward


def mixed_dtypes() -> tuple[nn.Module, Forward]:
    module, x = net(trunk=mlp(), heads=heads(7)), data(12, 5)

    def forward():
        z = module["trunk"](x)
        losses = read(module, z)
        return losses | {"b": losses["b"].float()}, z

    return module, forward


def checkpointed() -> tuple[nn.Module, Forward]:
    module, x = net(trunk=mlp(), heads=heads(7)), data(12, 5)

    def forward():
        z = checkpoint(module["trunk"], x, use_reentrant=False)
        return read(module, z), z

    return module, forward


class Cube(torch.autograd.Function):
    """A user's own function; `variable` is a name that autograd's leaves use too."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.variable = x.shape
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x.square() * gradient


def custom_function() -> tuple[nn.Module, Forward]:
    module, x = net(trunk=mlp(), heads=heads(7)), data(12, 5)

    def forward():
        z = Cube.apply(module["trunk"](x))
        return read(module, z), z

    return module, forward


def functional_call() -> tuple[nn.Module, Forward]:
    """Heads run by torch.func: one call of a stacked set of modules per task."""
    module, x = net(trunk=mlp(), heads=heads(7)), data(12, 5)

    def forward():
        z = torch.func.functional_call(module["trunk"], dict(module["trunk"].named_parameters()), x)
        return read(module, z), z

    return module, forward


def physics() -> tuple[nn.Module, Forward]:
    """Residuals of a differential equation: inputs that require a gradient, double backward."""
    module, x = net(trunk=mlp(), heads=heads(7, "ab")), data(12, 5)

    def forward():
        at = x.clone().requires_grad_()
        z = module["trunk"](at)
        u = module["heads"]["a"](z)
        slope = torch.autograd.grad(u.sum(), at, create_graph=True)[0]
        return {
            "value": u.square().mean(),
            "slope": (slope[:, :1] - u).square().mean(),
            "b": module["heads"]["b"](z).square().mean(),
        }, z

    return module, forward


def own_network() -> tuple[nn.Module, Forward]:
    """Task c shares nothing with the others."""
    module, x = net(trunk=mlp(), heads=heads(7, "ab"), alone=mlp()), data(12, 5)

    def forward():
        z = module["trunk"](x)
        return read(module, z) | {"c": module["alone"](x).square().mean()}, z

    return module, forward


def low_rank() -> tuple[nn.Module, Forward]:
    """A frozen layer with a trained low-rank addition, and a weight-normed one after it."""
    parts = {
        "base": nn.Linear(5, 7),
        "down": nn.Linear(5, 2, bias=False),
        "up": nn.Linear(2, 7, bias=False),
        "normed": nn.utils.parametrizations.weight_norm(nn.Linear(7, 7)),
        "heads": heads(7),
    }
    module, x = net(**parts), data(12, 5)
    module["base"].requires_grad_(False)

    def forward():
        h = torch.tanh(module["base"](x) + module["up"](module["down"](x)))
        z = torch.tanh(module["normed"](h))
        return read(module, z), z

    return module, forward


ZOO = {
    "batch norm": batch_norm,
    "autoencoder": autoencoder,
    "reused cell": reused_cell,
    "lstm": lstm,
    "multi input": multi_input,
    "pyramid": pyramid,
    "embedding": embedding,
    "sparse embedding": lambda: embedding(sparse=True),
    "frozen middle": frozen_middle,
    "bare head": bare_head,
    "part of the batch": part_of_the_batch,
    "one head layer": one_head_layer,
    "mixed dtypes": mixed_dtypes,
    "checkpointed": checkpointed,
    "custom function": custom_function,
    "functional call": functional_call,
    "physics": physics,
    "own network": own_network,
    "low rank": low_rank,
}
