"""The entrance of encoders for sequences: codes to one vector a token, and which tokens exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polytask.architectures._inputs import unwrap
from polytask.errors import UserError

Tokens = tuple[str, tuple[int, ...], int]
"""(name, shape of a row, number of codes), as in `InputSpec.tokens`."""


class TokenInputs(nn.Module):
    """Embeds every input and the place, sums them; answers [N, L, width] and {"mask": [N, L]}.

    A token is there (mask) where any of the inputs is not 0.
    """

    def __init__(
        self, encoder: str, inputs: Sequence[Tokens], width: int, characters: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.shapes = {name: shape for name, shape, _ in inputs}
        self.length = inputs[0][1][0]
        made: list[nn.Module] = [
            Codes(codes, width) if len(shape) == 1 else Characters(codes, characters, width)
            for _, shape, codes in inputs
        ]
        self.embeddings = nn.ModuleList(made)
        self.places = Codes(self.length, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Any]]:
        """Raises `UserError` for an input that is missing, too long or no whole number."""
        found = [self._read(x, name, shape) for name, shape in self.shapes.items()]
        if len({codes.shape[1] for codes in found}) > 1:
            shapes = {name: tuple(c.shape) for name, c in zip(self.shapes, found, strict=True)}
            raise UserError(
                f"expected as many tokens in every input, found {shapes}. Pad them to one length."
            )
        there = [codes.ne(0) if codes.dim() == 2 else codes.ne(0).any(dim=2) for codes in found]
        mask = torch.stack(there).any(dim=0)
        h = self.places(torch.arange(mask.shape[1], device=mask.device))[None]
        for embedding, codes in zip(self.embeddings, found, strict=True):
            h = h + embedding(codes)
        return self.dropout(h), {"mask": mask}

    def _read(self, x: Any, name: str, shape: tuple[int, ...]) -> Tensor:
        codes = unwrap(x, name)
        whole = not codes.is_floating_point() and codes.dtype != torch.bool
        fits = codes.dim() == 1 + len(shape) and codes.shape[2:] == shape[1:]
        if not whole or not fits or codes.shape[1] > self.length:
            wanted = ", ".join(map(str, ("N", *shape)))
            raise UserError(
                f"the encoder {self.encoder} was built for whole numbers {name!r} [{wanted}], or "
                f"fewer tokens; found shape {tuple(codes.shape)} of type {codes.dtype}. Prepare "
                "the batch as the training data was."
            )
        return codes


class Codes(nn.Embedding):
    """One vector a code, 0 to `codes` - 1; any other code is read as unknown, the last vector.

    Code 0 and the unknown one start at zero, and learn where they occur: 0 may be padding in one
    input only; an unknown code occurs after training alone, so it stays at zero: it says nothing.
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__(codes + 1, width)

    def reset_parameters(self) -> None:
        """Draw vectors of length about 1."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)
        with torch.no_grad():
            self.weight[[0, -1]] = 0

    def forward(self, codes: Tensor) -> Tensor:
        """Answer [..., width] for codes [...]."""
        unknown = self.num_embeddings - 1
        known = (codes >= 0) & (codes < unknown)
        return super().forward(torch.where(known, codes, unknown))


class Characters(nn.Module):
    """One vector a token from its characters: embedded, convolved, the largest answer of each.

    X. Ma & E. Hovy, ACL 2016, https://arxiv.org/abs/1603.01354 (section 2.1), with ReLU. Answers
    [N, L, width] for codes [N, L, c]. What stands at padding is left out of the maximum; a
    token without characters is zero.
    """

    def __init__(self, codes: int, inner: int, width: int) -> None:
        super().__init__()
        self.codes = Codes(codes, inner)
        self.convolution = nn.Conv1d(inner, width, 3, padding=1)

    def forward(self, codes: Tensor) -> Tensor:
        """The vectors of the tokens."""
        flat = codes.flatten(0, 1)
        # Padding is zero whatever row 0 of the embedding learns: neighbours see a word's end.
        letters = self.codes(flat) * flat.ne(0)[..., None]
        seen = self.convolution(letters.movedim(2, 1)).relu() * flat.ne(0)[:, None]
        return seen.amax(dim=2).unflatten(0, codes.shape[:2])
