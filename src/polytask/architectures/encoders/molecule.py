"""A continuous-filter network for molecules given as atoms in space, without a download."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from polytask.architectures._checks import positive_ints
from polytask.architectures._inputs import unwrap
from polytask.architectures._layout import Context
from polytask.architectures.encoders._spec import Spec
from polytask.architectures.encoders._tokens import Codes
from polytask.architectures.stages import Staged
from polytask.errors import UserError


class Molecule(Staged):
    """A continuous-filter network for molecules given as atoms in space, without a download.

    K. T. Schütt et al., "SchNet: A continuous-filter convolutional neural network for modeling
    quantum interactions", NIPS 2017, https://arxiv.org/abs/1706.08566. Every block adds to the
    vector of atom i

        W_3 ssp(W_2 sum_j (W_1 h_j) * f(d_ij)),    ssp(x) = log(exp(x) / 2 + 1 / 2),

    where the filter f is a small network of the distance d_ij, written as Gaussians `spacing`
    apart. Only elements and distances enter, so the answer stays the same when a molecule is
    moved, turned or mirrored; atoms in another order are answered in that order.

    Reads {"atoms": atomic numbers int64 [N, A], 0 for none; "positions": float [N, A, 3]} and
    answers one vector an atom [N, A, width]; the default head takes the mean over the atoms there
    are. An element that training did not have says nothing of itself. Every block is a stage; the
    elements' embedding is the entrance. Cost of a block: A * A filters a molecule, also for none.

    Differences from the paper: filters fade to 0 at `cutoff` by half a cosine wave, as in the
    authors' later code, so that no atom jumps into view; sums are divided by sqrt(A), with A the
    most atoms in the data, which keeps features of large and small molecules in one range and
    still tells how many neighbours there are; heads read a mean, the paper's a sum over atoms.

    Args:
        spec: widths of the inputs; `.tokens` has atoms, `.other` atoms and positions.
        width: channels of an atom.
        layers: blocks, at least one.
        cutoff: distance in the unit of the positions (angstrom) from which atoms do not see each
            other.
        spacing: distance between the centres of Gaussians, and their standard deviation.

    Raises:
        UserError: no such inputs in the data, or others beside them; faulty arguments. In
            `forward`: an input that is missing or of another shape.

    """

    scales: ClassVar[dict[str, int]] = {"width": 1}
    """Arguments that are widths, and what they are multiples of."""

    def __init__(
        self,
        spec: Spec,
        width: int = 64,
        layers: int = 3,
        cutoff: float = 6.0,
        spacing: float = 0.25,
    ) -> None:
        positive_ints("width", (width,), may_be_empty=False)
        positive_ints("layers", (layers,), may_be_empty=False)
        if not 0 < spacing < cutoff or math.isinf(cutoff):
            raise UserError(
                f"cutoff and spacing must be 0 < spacing < cutoff, found cutoff={cutoff!r} and "
                f"spacing={spacing!r}."
            )
        atoms, codes = _atoms(spec)
        entrance = _Atoms(codes, width, cutoff, spacing)
        super().__init__(
            [_Block(width, entrance.gaussians, atoms) for _ in range(layers)],
            entrance,
            channel_dim=-1,
            widths=[width] * layers,
            entrance_width=width,
            takes_dict=True,
        )


class _Atoms(nn.Module):
    """Elements as vectors; as context which atoms there are, and the distances between them."""

    def __init__(self, codes: int, width: int, cutoff: float, spacing: float) -> None:
        super().__init__()
        self.elements = Codes(codes, width)
        self.cutoff, self.spacing = cutoff, spacing
        self.gaussians = math.ceil(cutoff / spacing) + 1

    def forward(self, x: Any) -> tuple[Tensor, Context]:
        atoms, positions = _checked(x)
        mask = atoms.ne(0)
        # Differences and not a matrix product: that loses the digits of small distances.
        between = positions[:, :, None] - positions[:, None]
        # Never 0: the gradient of a root there is infinite. An atom does not see itself.
        distance = (between.square().sum(dim=-1) + 1e-12).sqrt()
        itself = torch.eye(atoms.shape[1], dtype=torch.bool, device=atoms.device)
        near = mask[:, :, None] & mask[:, None] & ~itself & distance.lt(self.cutoff)
        fade = (torch.cos(distance * (math.pi / self.cutoff)) + 1) / 2 * near
        centres = self.spacing * torch.arange(self.gaussians, device=distance.device)
        steps = (distance[..., None] - centres) / self.spacing
        h = self.elements(atoms) * mask[..., None]
        seen = {"gaussians": (-0.5 * steps.square()).exp().to(h.dtype), "fade": fade.to(h.dtype)}
        return h, {"mask": mask, **seen}


class _Block(nn.Module):
    """What every atom learns of its neighbours, by their distance."""

    takes_context = True

    def __init__(self, width: int, gaussians: int, atoms: int) -> None:
        super().__init__()
        self.filters = nn.Sequential(nn.Linear(gaussians, width), _SSP(), nn.Linear(width, width))
        self.before = nn.Linear(width, width, bias=False)
        self.after = nn.Sequential(nn.Linear(width, width), _SSP(), nn.Linear(width, width))
        self.scale = atoms**-0.5

    def forward(self, h: Tensor, context: Context) -> Tensor:
        filters = self.filters(context["gaussians"]) * context["fade"][..., None]
        heard = torch.einsum("nijc,njc->nic", filters, self.before(h)) * self.scale
        after: Tensor = h + self.after(heard)
        return after


class _SSP(nn.Module):
    """The shifted softplus: smooth, and 0 at 0."""

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x) - math.log(2)


def _atoms(spec: Spec) -> tuple[int, int]:
    """The most atoms in a molecule, and the number of codes of elements; raises `UserError`."""
    shapes = dict(getattr(spec, "other", ()))
    codes = {name: number for name, _, number in getattr(spec, "tokens", ())}
    other = [word for word in ("numeric", "categorical", "image") if getattr(spec, word)]
    found = [*other, *(f"{name} {tuple(shape)}" for name, shape in shapes.items())]
    atoms = shapes.get("atoms", ())
    if set(shapes) != {"atoms", "positions"} or other or "atoms" not in codes:
        fits = False
    else:
        fits = len(atoms) == 1 and tuple(shapes["positions"]) == (*atoms, 3)
    if not fits:
        raise UserError(
            "the encoder molecule reads atoms, whole numbers [N, A] with 0 for none, and positions "
            f"[N, A, 3], and nothing else; found {', '.join(found) or 'no inputs'}. For tables use "
            "the encoder mlp, for images resnet, for sequences of codes transformer."
        )
    return int(atoms[0]), codes["atoms"]


def _checked(x: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(x, Mapping):
        raise UserError(
            "expected a dictionary with 'atoms' and 'positions', found a "
            f"{type(x).__name__}. Pass {{'atoms': ..., 'positions': ...}}."
        )
    atoms, positions = unwrap(x, "atoms"), unwrap(x, "positions")
    whole = not atoms.is_floating_point() and atoms.dtype != torch.bool
    if not whole or atoms.dim() != 2 or positions.shape != (*atoms.shape, 3):
        raise UserError(
            "the encoder molecule reads atoms, whole numbers [N, A], and positions [N, A, 3], "
            f"found shapes {tuple(atoms.shape)} of {atoms.dtype} and {tuple(positions.shape)}. "
            "Prepare the batch as the training data was."
        )
    return atoms, positions
