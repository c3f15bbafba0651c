"""Mixed precision, done here so that nothing wraps the model or guards `backward`.

Wrappers that cast the outputs or scale the losses on the way would change what the balancer
measures. The forward pass runs under `torch.autocast`, the losses are computed in float32, and
the balancer gets the unscaled losses with the gradient scaler beside them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from polytask.errors import UserError, unknown

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """Autocast for the forward pass and, for fp16 on CUDA only, a gradient scaler.

    `word` is "no", "bf16" or "fp16". fp16 is refused on other devices: without a scaler its
    small gradients are lost silently.
    """

    def __init__(self, word: str, device: torch.device) -> None:
        if word not in DTYPES:
            raise unknown("precision", word, DTYPES)
        if word == "fp16" and device.type != "cuda":
            raise UserError(
                f"precision 'fp16' needs a CUDA device; this run is on {device.type!r}. "
                "Use precision='bf16' or 'no'."
            )
        self.word = word
        self.device = device
        self.scaler = torch.amp.GradScaler("cuda") if word == "fp16" else None
        self.start()

    def start(self) -> None:
        """Give the scaler its first scale.

        It would take it from the first loss it scales, but the balancer only reads the scale.
        """
        if self.scaler is not None:
            self.scaler.scale(torch.zeros(1, device=self.device))

    def autocast(self) -> torch.autocast:
        """The context of a forward pass; does nothing for precision 'no'."""
        enabled = self.word != "no"
        dtype = DTYPES[self.word] if enabled else None
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled)

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring the gradients back to their true size before they are clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> bool:
        """Step the optimizer; False when the scaler left the step out (infinite gradients)."""
        if self.scaler is None:
            optimizer.step()
            return True
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before


def to_float32(output: Tensor) -> Tensor:
    """A half-precision output as float32, so that the loss is exact; anything else as it is."""
    return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
