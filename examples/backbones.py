"""A vision transformer of the transformers library as the encoder of two ways of sharing.

    pip install '.[app,hf]'
    python examples/backbones.py

Random weights and 8x8 digits, so that it runs in seconds. With pretrained weights the model is
`AutoModel.from_pretrained("google/vit-base-patch16-224-in21k")`, and all else is the same.
"""

import torch
from sklearn.datasets import load_digits
from transformers import ViTConfig, ViTModel

import polytask
from polytask.architectures import as_stages

data = load_digits()
x = torch.tensor(data.images[:, None] / 16, dtype=torch.float32)  # [N, channels, height, width]
digit = torch.tensor(data.target)
targets = {"digit": digit, "even": (digit % 2 == 0).float()}
tasks = [
    polytask.Task("digit", "multiclass", classes=range(10)),
    polytask.Task("even", "binary"),
]
config = ViTConfig(
    image_size=8,
    patch_size=4,
    num_channels=1,
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=128,
)


def cut(first: int, last: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    return {"image": x[first:last]}, {task: y[first:last] for task, y in targets.items()}


for architecture, options in (("hard_sharing", {}), ("mmoe", {"experts": 2, "shared_stages": 2})):
    torch.manual_seed(0)
    vit = ViTModel(config)
    model = polytask.create_architecture(architecture, vit, tasks, **options)
    trainer = polytask.Trainer(model, tasks, epochs=12, lr=2e-3, progress=False)
    trainer.fit(cut(0, 1400), cut(1400, 1600))
    scores = trainer.evaluate(cut(1600, 1797))
    print(
        f"{architecture}: {len(as_stages(vit).stages)} stages,",
        *(f"{task.name} {scores[f'test/{task.name}/accuracy']:.3f}" for task in tasks),
    )
