"""A multilayer perceptron for tables: numeric columns and embedded categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from polytask.architectures._checks import positive_ints
from polytask.architectures._inputs import unwrap
from polytask.architectures.encoders._spec import Spec, refuse_other
from polytask.architectures.stages import Staged
from polytask.errors import UserError


class MLP(Staged):
    """A multilayer perceptron for tables: numeric columns and embedded categories.

    Reads {"numeric": float [N, d], "categorical": int64 codes [N, c]} (a kind that the table
    lacks may be left out), or a tensor [N, d] when all columns are numeric; answers
    [N, hidden[-1]], after ReLU and dropout. Every categorical column has its own embedding;
    code 0 (unknown or missing) starts at zero, so a category never seen says nothing. Every layer
    is a stage; the columns and embeddings are the entrance.

    Args:
        spec: widths of the inputs: `.numeric`, `.categorical`, `.image`.
        hidden: widths of the layers, at least one.
        dropout: share of units dropped after every layer, in [0, 1).
        embedding: width of every embedding; None is min(50, 1.6 * codes ** 0.56), the rule of
            thumb of fastai (Howard & Gugger 2020, https://arxiv.org/abs/2002.04688).

    Raises:
        UserError: a table without columns, an image, or inputs it cannot read; faulty arguments.
            In `forward`: an input that is missing or has another width.

    """

    scales: ClassVar[dict[str, int]] = {"hidden": 1}
    """Arguments that are widths, and what they are multiples of."""

    def __init__(
        self,
        spec: Spec,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
        embedding: int | None = None,
    ) -> None:
        hidden = positive_ints("hidden", hidden, may_be_empty=False)
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be in [0, 1), found {dropout!r}.")
        if embedding is not None:
            positive_ints("embedding", (embedding,), may_be_empty=False)
        refuse_other("mlp", spec)
        if spec.image is not None or not (spec.numeric or spec.categorical):
            found = f"an image {tuple(spec.image)}" if spec.image else "no columns"
            raise UserError(
                f"the encoder mlp reads numeric and categorical columns, found {found}. "
                "For images use the encoder resnet."
            )
        entrance = _Columns(spec, embedding)
        sizes = (entrance.width, *hidden)
        stages = []
        for before, after in pairwise(sizes):
            layers = [nn.Linear(before, after), nn.ReLU()]
            stages.append(nn.Sequential(*layers, *([nn.Dropout(dropout)] if dropout else [])))
        super().__init__(
            stages, entrance, widths=hidden, entrance_width=entrance.width, takes_dict=True
        )


class _Columns(nn.Module):
    """Numeric columns beside the embedded codes of categorical ones, [N, width]."""

    def __init__(self, spec: Spec, embedding: int | None) -> None:
        super().__init__()
        self.numeric = int(spec.numeric)
        columns = [(codes, embedding or _embedding_width(codes)) for codes in spec.categorical]
        self.embeddings = nn.ModuleList(_Category(codes, width) for codes, width in columns)
        self.width = self.numeric + sum(width for _, width in columns)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor:
        parts: list[Tensor] = []
        if self.numeric:
            parts.append(_columns(x, "numeric", self.numeric))
        if self.embeddings:
            if isinstance(x, Tensor):
                raise UserError(
                    "expected a dictionary with 'categorical' codes, found one tensor. "
                    "Pass {'numeric': ..., 'categorical': ...}."
                )
            codes = _columns(x, "categorical", len(self.embeddings))
            parts += [e(codes[:, i]) for i, e in enumerate(self.embeddings)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class _Category(nn.Embedding):
    """An embedding whose row 0 starts at zero yet learns (`padding_idx` would freeze it)."""

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            self.weight[0].zero_()


def _embedding_width(codes: int) -> int:
    return min(50, max(1, round(1.6 * codes**0.56)))


def _columns(x: Tensor | Mapping[str, Tensor], kind: str, width: int) -> Tensor:
    """The input of a kind, [N, width]; raises `UserError` when it has another shape."""
    columns = unwrap(x, kind)
    if columns.dim() != 2 or columns.shape[1] != width:
        raise UserError(
            f"the encoder mlp was built for {width} {kind} columns, [N, {width}]; found shape "
            f"{tuple(columns.shape)}. Prepare the batch as the training data was."
        )
    return columns
