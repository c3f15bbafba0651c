"""A network whose forward pass changes its state: what a look ahead has to leave as it was."""

import torch
from torch import nn


class Noisy(nn.Module):
    """A trunk with batch norm and dropout, two heads; its forward pass changes its state."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 8), nn.Tanh()
        )
        self.heads = nn.ModuleDict({t: nn.Linear(8, 1) for t in "ab"})
        self.register_buffer("mean", torch.zeros(8))

    def losses(self, x, y):
        h = self.trunk(x)
        return {
            t: (head(h)[:, 0] - y[:, i]).square().mean()
            for i, (t, head) in enumerate(self.heads.items())
        }

    def forward(self, x):
        h = self.trunk(x)
        self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(dim=0)  # a new tensor, not in place
        return h


def noisy():
    torch.manual_seed(3)
    return Noisy()


def same_bits(net, state):
    return all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
