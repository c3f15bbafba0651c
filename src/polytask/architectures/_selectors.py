"""A gate that comes to select k experts: products of smooth bits over binary codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST = 1e-6
"""Added in the logarithm, and the least sum that is divided by, as in the authors' code."""


def smooth_step(t: Tensor, gamma: float) -> Tensor:
    """0 up to -gamma/2, 1 from gamma/2 on, and -2 t^3/gamma^3 + 3 t/(2 gamma) + 1/2 between.

    Exactly 0 and 1 outside; continuously differentiable.

    >>> smooth_step(torch.tensor([-0.5, 0.0, 0.25, 3.0]), gamma=1.0).tolist()
    [0.0, 0.5, 0.84375, 1.0]
    """
    u = (t / gamma + 0.5).clamp(0, 1)
    return u * u * (3 - 2 * u)


class Selectors(nn.Module):
    """`selected` single-expert selectors and their mixture.

    Selector s holds a logit for each of the m = ceil(log2 n) bits of an expert's number; expert i
    gets r_si = product over bits b of S(z_sb) where b is set in i and of 1 - S(z_sb) where it is
    not. All n codes of n = 2^m experts together get 1; otherwise codes without an expert get the
    rest.

    Args:
        experts: how many, at least 2.
        selected: how many selectors.
        gamma: width of the range of logits in which a bit is undecided.
        width: channels of what the gate reads, for one that decides item by item.
    """

    codes: Tensor

    def __init__(self, experts: int, selected: int, gamma: float, width: int | None = None) -> None:
        super().__init__()
        self.bits = (experts - 1).bit_length()
        self.selected, self.gamma = selected, gamma
        numbers = torch.arange(experts)[:, None] >> torch.arange(self.bits).flip(0)
        self.register_buffer("codes", (numbers & 1).bool(), persistent=False)
        self.of_item = width is not None
        self.code: nn.Module | nn.Parameter
        self.mixture: nn.Module | nn.Parameter | None = None
        if width is None:
            self.code = nn.Parameter(torch.empty(selected, self.bits))
            # The weight of one selector alone is 1, whatever its logit.
            if selected > 1:
                self.mixture = nn.Parameter(torch.empty(selected))
        else:
            self.code = nn.Linear(width, selected * self.bits)
            if selected > 1:
                self.mixture = nn.Linear(width, selected)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform draws as in the authors' code: bits undecided, selectors alike."""
        parts = {"code": self.gamma / 100, "mixture": 0.05}
        for name, parameter in self.named_parameters():
            bound = parts[name.split(".")[0]]
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the experts, [n] or [N, n], and of every selector, [k, n] or [N, k, n]."""
        code = self._value(self.code, read)
        on = smooth_step(code.unflatten(-1, (self.selected, self.bits)), self.gamma)
        single = torch.where(self.codes, on[..., None, :], 1 - on[..., None, :]).prod(dim=-1)
        if self.mixture is None:
            return single.squeeze(-2), single
        mixture = self._value(self.mixture, read).softmax(dim=-1)
        return (mixture[..., None] * single).sum(dim=-2), single

    def _value(self, part: nn.Module | nn.Parameter, read: Tensor) -> Tensor:
        """Logits, flat: by item, or of the gate itself. Never in half precision."""
        if isinstance(part, nn.Module):
            logits: Tensor = part(read)
            return logits.to(torch.promote_types(logits.dtype, torch.float32))
        return part.flatten()


def selection_entropy(single: Tensor) -> Tensor:
    """-sum_i r_i log(r_i + 1e-6), summed over the selectors and averaged over items."""
    return -(single * (single + LEAST).log()).sum(dim=-1).sum(dim=-1).mean()


def unreached(single: Tensor) -> Tensor:
    """1 / (sum of r_i over the experts there are) - 1, summed over selectors, mean over items.

    0 where no weight lies on codes without an expert.
    """
    return (1 / single.sum(dim=-1).clamp(min=LEAST) - 1).sum(dim=-1).mean()
