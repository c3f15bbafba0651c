"""The Earth, learned at every pixel by the built-in network under several ways of sharing."""

from typing import Any

import numpy as np
import pytest
import torch
from connection import needs_connection

from polytask import Trainer
from polytask.architectures import create_architecture, create_encoder
from polytask.data import Dataset, Preprocessor, load_dataset, make_splits


@pytest.fixture(scope="module")
def some_earth() -> Dataset:
    """Tiles of the published training and test parts, cut to 32 x 32 pixels."""
    with needs_connection():
        earth = load_dataset("earth_dense")
    assert earth.fixed_split is not None
    draw = np.random.default_rng(0)
    rows = [
        draw.permutation(earth.fixed_split[part])[:count]
        for part, count in (("train", 160), ("test", 60))
    ]
    some = earth.subset(np.concatenate(rows))
    return Dataset(
        name="some of the Earth",
        inputs={"image": some.inputs["image"][..., 16:48, 16:48]},
        targets={name: target[..., 16:48, 16:48] for name, target in some.targets.items()},
        tasks=some.tasks,
        fixed_split=some.fixed_split,
    )


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["hard_sharing", "pad_net", "mti_net"])
def test_classes_are_told_apart_better_than_by_the_best_constant(
    some_earth: Dataset, architecture: str
) -> None:
    splits = make_splits(some_earth)
    preprocessor = Preprocessor.fit(some_earth, splits["train"])
    tasks = {
        name: task.fitted(some_earth.targets[name][splits["train"]])
        for name, task in some_earth.tasks.items()
    }

    def part(name: str) -> Any:
        rows = splits[name]
        inputs = preprocessor.transform({"image": some_earth.inputs["image"][rows]})
        return inputs, {t: torch.from_numpy(some_earth.targets[t][rows]) for t in tasks}

    torch.manual_seed(0)
    encoder = create_encoder("resnet", preprocessor.spec, width=8)
    example = {"image": part("train")[0]["image"][:2]}
    model = create_architecture(architecture, encoder, tasks, example=example)
    trainer = Trainer(model, tasks, epochs=6, lr=3e-3, batch_size=8, progress=False)
    trainer.fit(part("train"))
    scores = trainer.evaluate(part("test"))
    for name in ("land_cover", "climate"):
        task, target = tasks[name], some_earth.targets[name]
        constant = task.trivial(target[splits["train"]], target[splits["test"]])
        score = scores[f"test/{name}/{task.primary.name}"]
        assert score > 1.5 * constant, name
