"""A new task next month: digits are read by a trained network, and then its ink is to be told too.

The network learns which digit an image shows and whether it is even. Later, a third task is added:
how much ink there is, "size". The trunk is frozen, so what the first two tasks answer stays the
same to the bit. The new head learns on what the trunk has learned, and on no more: of the ink, what
helps to tell digits. `freeze=False` would let the trunk learn too, and the old answers move.

    python examples/add_task.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

import polytask
from polytask.architectures import HardSharing

pixels, digit = load_digits(return_X_y=True)
x = torch.tensor(pixels / 16, dtype=torch.float32)
digit, size = torch.tensor(digit), x.sum(dim=1)
train, test = slice(0, 1300), slice(1300, None)

torch.manual_seed(0)
encoder = nn.Sequential(
    nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Dropout(0.1), nn.Linear(96, 48), nn.ReLU()
)
tasks = [
    polytask.Task("digit", "multiclass", classes=tuple(range(10))),
    polytask.Task("even", "binary"),
]
model = HardSharing(encoder, tasks, example=x[:2])
settings = {"lr": 5e-3, "batch_size": 64, "progress": False}

trainer = polytask.Trainer(model, tasks, epochs=6, **settings)
trainer.fit(({"x": x[train]}, {"digit": digit[train], "even": 1 - digit[train] % 2}))
before = trainer.outputs(({"x": x[test]}, {}))

# A month later. It is standardised on the training rows only, predicted in its own unit.
new = polytask.Task("size", "regression", metrics=("rmse", "r2")).fitted(size[train])
model.add_task(new)
tasks.append(new)
learning = [name for name, p in model.named_parameters() if p.requires_grad]
print(f"learning now: {', '.join(learning)}")

# The other two have no targets: they take no part.
trainer = polytask.Trainer(model, tasks, epochs=40, **settings | {"lr": 2e-2})
trainer.fit(({"x": x[train]}, {"size": size[train]}))
after = trainer.outputs(({"x": x[test]}, {}))

labels = {"digit": digit[test], "even": 1 - digit[test] % 2, "size": size[test]}
scores = trainer.evaluate(({"x": x[test]}, labels))
for task in before:
    print(f"{task}: the same to the bit {before[task].equal(after[task])}")
print(
    f"digit accuracy {scores['test/digit/accuracy']:.2f}, "
    f"even accuracy {scores['test/even/accuracy']:.2f}, size R2 {scores['test/size/r2']:.2f}"
)
