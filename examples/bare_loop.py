"""Two lines differ from plain PyTorch (marked +), beside the import: two tasks, your own loop."""

import torch
from torch import nn

import polytask

torch.manual_seed(0)
x = torch.rand(512, 8)
area, is_large = x.sum(dim=1), (x[:, 0] > x[:, 1]).float()
trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
area_head, large_head = nn.Linear(32, 1), nn.Linear(32, 1)
parameters = [*trunk.parameters(), *area_head.parameters(), *large_head.parameters()]
optimizer = torch.optim.Adam(parameters, lr=3e-3)
balancer = polytask.create_method("pcgrad")  # +
for _ in range(200):
    optimizer.zero_grad()
    h = trunk(x)
    loss_a = nn.functional.mse_loss(area_head(h)[:, 0], area)
    loss_b = nn.functional.binary_cross_entropy_with_logits(large_head(h)[:, 0], is_large)
    step = balancer.backward({"area": loss_a, "large": loss_b})  # + for .backward()
    optimizer.step()
print({task: round(loss.item(), 4) for task, loss in step.losses.items()}, step.statistic)
