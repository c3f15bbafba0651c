"""A task's projected attention layers: beside every stage, narrow, on tokens, maps or vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from polytask.architectures._layout import POOLS, Context, at_resolution, pooled
from polytask.architectures._self_attention import SelfAttention, readable
from polytask.errors import UserError


class ProjectedLayers(nn.Module):
    """decode(attention(encode(h))) for every stage; `decode` starts at 0, so all answer 0.

    Stages have an attention each; they share the projection from features of one width, and the
    one to features of one width.
    """

    def __init__(
        self, before: Sequence[int], after: Sequence[int], size: int, heads: int, channel_dim: int
    ) -> None:
        super().__init__()
        self.before, self.after = tuple(before), tuple(after)
        self.channel_dim = channel_dim
        self.encode = nn.ModuleDict(
            {str(width): nn.Linear(width, size, bias=False) for width in sorted(set(before))}
        )
        self.attention = nn.ModuleList(SelfAttention(size, heads) for _ in before)
        self.decode = nn.ModuleDict(
            {str(width): nn.Linear(size, width, bias=False) for width in sorted(set(after))}
        )
        for layer in self.decode.values():
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)

    def forward(self, stage: int, h: Tensor, after: Tensor, context: Context) -> Tensor:
        """What the stage answered, `after`, and what this makes of what the stage read, `h`."""
        last = h.movedim(1, -1) if self.channel_dim == 1 else h
        encoded = self.encode[str(self.before[stage])](last)
        tokens, allowed = _tokens(encoded, context)
        # A lone token can only attend to itself: queries and keys would be of no use.
        found = self.attention[stage](tokens, allowed, nothing=tokens.shape[1] == 1)
        moved = at_places(found.reshape(encoded.shape), after, self.channel_dim, context)
        decoded = self.decode[str(self.after[stage])](moved)
        return after + (decoded.movedim(-1, 1) if self.channel_dim == 1 else decoded)


def _tokens(h: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
    """Features [N, ..., C] as tokens [N, L, C], and which of them may be read; None is all.

    Nodes of graphs, [M, C], are the tokens of one item in which each reads those of its own.
    """
    segments = context.get("segments")
    if h.dim() == 2 and segments is not None and len(segments) == len(h):
        return h[None], (segments[:, None] == segments)[None, None]
    mask = context.get("mask")
    if mask is not None and mask.shape == h.shape[:-1]:
        return h.flatten(1, -2), readable(mask.flatten(1))
    return h[:, None] if h.dim() == 2 else h.flatten(1, -2), None


def at_places(h: Tensor, like: Tensor, channel_dim: int, context: Context) -> Tensor:
    """Channels-last features at the places of `like`, whose channels may be elsewhere.

    Other sizes by adaptive average pooling, vectors from places by their mean, and places from
    vectors by repeating. Raises `UserError` where places do not correspond.
    """
    places = like.shape[2:] if channel_dim == 1 else like.shape[1:-1]
    if h.dim() == 2 and len(h) == len(like):
        return h.view(len(h), *[1] * len(places), -1)
    if not places:
        return pooled(h, -1, context)
    if h.shape[1:-1] == places:
        return h
    if h.dim() != like.dim() or h.dim() - 2 not in POOLS:
        raise UserError(
            f"a stage reads features with {h.dim() - 2} axes of places and answers "
            f"{len(places)} ({tuple(like.shape)}): expected as many, or vectors. Put what changes "
            "them into the encoder's entrance or exit."
        )
    return at_resolution(h.movedim(-1, 1), places).movedim(1, -1)
