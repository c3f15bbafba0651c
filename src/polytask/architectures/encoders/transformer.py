"""A small transformer for sequences of codes: characters, words, tags."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from polytask.architectures._checks import positive_ints
from polytask.architectures._layout import Context
from polytask.architectures._self_attention import SelfAttention, readable
from polytask.architectures.encoders._spec import Spec
from polytask.architectures.encoders._tokens import TokenInputs, Tokens
from polytask.architectures.stages import Staged
from polytask.errors import UserError


class Transformer(Staged):
    """A small transformer for sequences of codes: characters, words, tags.

    A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017,
    https://arxiv.org/abs/1706.03762, with the norm before every part (R. Xiong et al., ICML
    2020, https://arxiv.org/abs/2002.04745), GELU, and learned places.

    Reads a dictionary of all whole-number inputs of the data: int64 [N, L] one code a token, or
    [N, L, c] its characters. **0 is padding everywhere**; a token is there where any input is not
    0. Each input is embedded, and the vectors of a token are summed with that of its place;
    characters are convolved (three at a time) and the largest answer of each filter is kept, so
    that the order of letters counts. Answers [N, L, width], with L at most that of the training
    data. What stands at padding is read by no token, and mean nothing; items of a batch do not see
    each other, and one without any token answers finite numbers.

    Codes above those of the training rows are read as unknown: a zero vector, which stays zero, as
    nothing trains it. A code below that no training row holds keeps the vector it was drawn with.

    Every block is a stage; embeddings are the entrance, and the last norm is the exit. The context
    is {"mask": bool [N, L]}. Tasks with a label at every token have a head on each; others read
    the mean over the tokens that are there.

    Args:
        spec: widths of the inputs: `.tokens` are (name, shape, number of codes) of each.
        width: channels of a token, a multiple of `heads`.
        layers: blocks, at least one.
        heads: parts of the channels that attend by themselves.
        dropout: share of units and of attention weights dropped in training, in [0, 1).
        characters: channels of a character before the convolution.

    Raises:
        UserError: no such inputs in the data, others beside them, or inputs of different lengths;
            faulty arguments. In `forward`: an input that is missing, longer than in training, or
            no whole number.

    """

    scales: ClassVar[dict[str, int]] = {"width": 8}
    """Arguments that are widths, and what they are multiples of."""

    def __init__(
        self,
        spec: Spec,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        characters: int = 16,
    ) -> None:
        given = {"width": width, "layers": layers, "heads": heads, "characters": characters}
        for word, value in given.items():
            positive_ints(word, (value,), may_be_empty=False)
        if width % heads:
            raise UserError(
                f"width must be a multiple of heads, found width={width} and heads={heads}. Take "
                f"width={-(-width // heads) * heads}."
            )
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be in [0, 1), found {dropout!r}.")
        entrance = TokenInputs("transformer", _tokens(spec), width, characters, dropout)
        super().__init__(
            [_Block(width, heads, dropout) for _ in range(layers)],
            entrance,
            nn.LayerNorm(width),
            channel_dim=-1,
            widths=[width] * layers,
            entrance_width=width,
            takes_dict=True,
        )
        self.output_size = width


class _Block(nn.Module):
    """Attention, then two layers at every token, each beside the identity."""

    takes_context = True

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.after_attention = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, h: Tensor, context: Context) -> Tensor:
        found = self.attention(self.before_attention(h), readable(context["mask"]))
        h = h + self.after_attention(found)
        after: Tensor = h + self.layers(h)
        return after


def _tokens(spec: Spec) -> tuple[Tokens, ...]:
    """The inputs to read; raises `UserError` when there are none, or others beside them."""
    inputs: tuple[Tokens, ...] = tuple(getattr(spec, "tokens", ()))
    if not inputs:
        found: list[Any] = []
        found += [f"an image {tuple(spec.image)}"] if spec.image is not None else []
        found += ["columns"] if spec.numeric or spec.categorical else []
        found += [f"{name} {shape}" for name, shape in getattr(spec, "other", ())]
        raise UserError(
            "the encoder transformer reads sequences of codes, whole numbers [N, L] or [N, L, c] "
            f"from 0 up; found {', '.join(found) or 'no inputs'}. For tables use the encoder mlp, "
            "for images resnet."
        )
    names = [name for name, *_ in inputs]
    unread = [word for word in ("numeric", "categorical", "image") if getattr(spec, word)]
    unread += [name for name, _ in getattr(spec, "other", ()) if name not in names]
    if unread:
        raise UserError(
            f"the encoder transformer reads sequences of codes ({', '.join(names)}), and would "
            f"leave these inputs unread: {', '.join(unread)}. Drop them, or bring an encoder of "
            "your own that reads them."
        )
    lengths = {name: shape[0] for name, shape, _ in inputs}
    if len(set(lengths.values())) > 1:
        raise UserError(
            f"the encoder transformer reads inputs of one length, found {lengths}. Pad them to one "
            "length, or bring an encoder of your own."
        )
    return inputs
