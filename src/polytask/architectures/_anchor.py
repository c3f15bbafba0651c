"""Earlier values of parameters, and how far these have moved since."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Anchor(nn.Module):
    """Earlier values of parameters, as buffers, and how many steps were taken."""

    steps: Tensor

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        for name, parameter in parameters.items():
            self.register_buffer(_key(name), parameter.detach().clone())

    def distance(self, parameters: dict[str, nn.Parameter]) -> Tensor:
        """Sum of the squares of what they have moved since; of those that are still there."""
        moved = [p - self.get_buffer(key) for key, p in self._known(parameters)]
        return torch.stack([part.square().sum() for part in moved]).sum()

    def count_step(self, parameters: dict[str, nn.Parameter], every: int) -> None:
        """Count, and take the values of now on every `every`-th step."""
        with torch.no_grad():
            self.steps += 1
            if int(self.steps) % every == 0:
                for key, parameter in self._known(parameters):
                    self.get_buffer(key).copy_(parameter)

    def keep(self, parameters: dict[str, nn.Parameter]) -> int:
        """Forget all parameters but these; answers how many are left."""
        kept = {_key(name) for name in parameters}
        for key in [key for key, _ in self.named_buffers() if key != "steps" and key not in kept]:
            delattr(self, key)
        return len(dict(self.named_buffers())) - 1

    def _known(self, parameters: dict[str, nn.Parameter]) -> list[tuple[str, nn.Parameter]]:
        own = dict(self.named_buffers())
        return [(_key(name), p) for name, p in parameters.items() if _key(name) in own]


def _key(name: str) -> str:
    """A buffer's name may hold no dot; a parameter's path always does, so none is `steps`."""
    return name.replace("%", "%25").replace(".", "%2E")
