"""Self-attention between the places of an item, for encoders and for what stands beside them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class SelfAttention(nn.Module):
    """Multi-head self-attention over [N, L, width], without a map of what it answers.

    A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017,
    https://arxiv.org/abs/1706.03762. Queries, keys and values are one linear map of the tokens.

    Args:
        width: channels; a multiple of `heads`.
        heads: parts of the channels that attend by themselves.
        dropout: share of attention weights dropped in training.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.project = nn.Linear(width, 3 * width)
        self.heads = heads
        self.dropout = dropout

    def forward(self, h: Tensor, allowed: Tensor | None = None, nothing: bool = False) -> Tensor:
        """Answer [N, L, width].

        `allowed` is bool, [N or 1, 1, L or 1, L]: which keys a query may read; every query needs
        one at least. With `nothing`, one more key and value are there, both zero.
        """
        n, length, width = h.shape
        parts = self.project(h).view(n, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if nothing:
            key, value = (nn.functional.pad(part, (0, 0, 0, 1)) for part in (key, value))
            allowed = None if allowed is None else nn.functional.pad(allowed, (0, 1), value=True)
        dropout = self.dropout if self.training else 0.0
        found = scaled_dot_product_attention(query, key, value, allowed, dropout)
        return found.transpose(1, 2).reshape(n, length, width)


def readable(mask: Tensor) -> Tensor:
    """Which keys a query may read, [N, 1, 1, L], from which places hold a token, bool [N, L].

    In an item without any token all may be read: a softmax over nothing would be NaN, and what
    its places answer is not looked at.
    """
    return (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]
