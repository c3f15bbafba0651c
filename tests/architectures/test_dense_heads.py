"""Labels at every place, from the head to the verdict of a study."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from dense_cases import (
    SMALL,
    dense_dataset,
    dense_digits,
    dense_tasks,
    model_of,
    trained,
)
from real_inputs import DIGITS, TABLE, first, wine
from rich.console import Console
from torch import nn
from torch.nn.functional import interpolate

import polytask
from polytask import Task, Trainer
from polytask.architectures import HardSharing, Staged, create_architecture, create_encoder
from polytask.architectures._heads import Head, Output, resized
from polytask.cli._show import show_dataset
from polytask.errors import UserError
from polytask.study.probe import FEW, LONG, STEPS, WARM_UP, StepClock
from polytask.study.unit import Prepared
from polytask.tabular.frames import prediction_frame
from polytask.testing.architectures import ArchitectureConformance, Made
from polytask.training._rows import JUDGING_ROWS, JUDGING_VALUES, judging_rows


class TestDense(ArchitectureConformance):
    """Maps and a single label beside each other, in networks that share and that do not."""

    @pytest.fixture(autouse=True, params=["hard_sharing", "single_task"])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param

    def make(self) -> Made:
        tasks = dense_tasks("glow", "even", "which")
        encoder = create_encoder("resnet", DIGITS, **SMALL["resnet"])
        model = create_architecture(self.name, encoder, tasks, head_hidden=(5,))
        return model, dense_digits()[0][:16], tasks


def test_fitted_tasks_know_their_places() -> None:
    places = {name: task.places for name, task in dense_digits()[2].items()}
    assert places == {"stroke": (8, 8), "glow": (8, 8), "which": (8, 8), "even": ()}


@pytest.mark.parametrize("name", ["hard_sharing", "single_task"])
def test_outputs_have_the_places_of_the_labels(name: str) -> None:
    image, targets, tasks = dense_digits()
    outputs = model_of(name, tasks)(image[:3])
    shapes = {task: tuple(output.shape) for task, output in outputs.items()}
    assert shapes == {
        "stroke": (3, 1, 8, 8),
        "glow": (3, 1, 8, 8),
        "which": (3, 10, 8, 8),
        "even": (3, 1),
    }
    for task, output in outputs.items():
        value, count = tasks[task].loss(output, targets[task][:3])
        assert value.isfinite()
        assert count == int(tasks[task].labelled(targets[task][:3]).sum())


def test_a_dense_head_is_a_1x1_convolution_resized() -> None:
    head = Head(6, Output(4, (8, 6)), hidden=(5,))
    z = torch.randn(3, 6, 4, 3)
    (one, _, two) = head.layers
    hidden = nn.functional.conv2d(z, one.weight[..., None, None], one.bias).relu()
    wanted = nn.functional.conv2d(hidden, two.weight[..., None, None], two.bias)
    larger = interpolate(wanted, size=(8, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(z), larger)


def test_a_map_of_the_right_resolution_is_left_as_it_is() -> None:
    output = torch.randn(2, 3, 5, 4)
    assert resized(output, (5, 4)) is output


def test_tokens_answer_for_themselves_as_many_as_there_are() -> None:
    head = Head(6, Output(4, (10,)), channel_dim=-1)
    for length in (10, 7):
        z = torch.randn(2, length, 6)
        torch.testing.assert_close(head(z), head.layers(z).transpose(1, 2))


def test_an_encoder_without_places_is_refused_with_the_reason() -> None:
    tasks = dense_tasks()
    model = HardSharing(create_encoder("mlp", TABLE, **SMALL["mlp"]), tasks)
    with pytest.raises(UserError, match=r"at every place of \(8, 8\).*2 axes.*\(4, 8\)"):
        model(first(wine()[0], 4))


def test_a_head_of_ones_own_answers_in_its_own_resolution() -> None:
    tasks = dense_tasks("which", "glow")
    own = nn.Sequential(nn.ConvTranspose2d(32, 10, 4, stride=4))
    model = model_of("hard_sharing", tasks, heads={"which": own})
    outputs = model(dense_digits()[0][:2])
    assert outputs["which"].shape == (2, 10, 8, 8)


@pytest.mark.parametrize("name", ["hard_sharing", "single_task"])
def test_dense_tasks_are_learned(name: str) -> None:
    tasks = dense_tasks()
    model = model_of(name, tasks)
    losses = trained(model, tasks)
    assert losses[-1] < 0.8 * losses[0]
    image, targets, _ = dense_digits()
    trainer = Trainer(model, tasks, progress=False)
    held_out = ({"image": image[500:600]}, {name: targets[name][500:600] for name in tasks})
    scores = trainer.evaluate(held_out)
    for name, task in tasks.items():
        constant = task.trivial(targets[name][:480], targets[name][500:600])
        gain = scores[f"test/{name}/{task.primary.name}"] - constant
        assert (gain > 0) == (task.primary.direction == "max"), name
    predictions = trainer.predict(held_out)
    assert {name: tuple(p.shape) for name, p in predictions.items()} == dict.fromkeys(
        tasks, (100, 8, 8)
    )


def test_fewer_rows_are_judged_at_once_where_there_are_maps() -> None:
    item, dense = dense_tasks("even"), dense_tasks("which")
    assert judging_rows(item) == JUDGING_ROWS
    assert judging_rows(item, 10_000) == 10_000
    large = {"map": Task("map", "multiclass", classes=tuple(range(17)), places=(64, 64))}
    rows = judging_rows(large)
    assert rows * 17 * 64 * 64 <= JUDGING_VALUES < (rows + 1) * 17 * 64 * 64
    assert judging_rows(large, 1000) == 1000, "a training step of as many fits too"
    huge = {"map": Task("map", "regression", places=(5000, 5000))}
    assert judging_rows(huge) == 1
    parts = {"val": ({"image": torch.zeros(9, 1)}, {"map": torch.zeros(9)})}
    assert Prepared(huge, parts, None).judging("val", 2).batch_size == 2  # type: ignore[arg-type]
    assert Prepared(dense, parts, None).judging("val", 2).batch_size == JUDGING_ROWS  # type: ignore[arg-type]


def test_slow_steps_need_fewer_repetitions() -> None:
    class Told:
        should_stop = False

    def stops(steps: int, seconds: float) -> bool:
        clock, trainer = StepClock(), Told()
        clock.seconds = [seconds / steps] * steps
        clock.on_epoch_end(trainer, 1, {})  # type: ignore[arg-type]
        return trainer.should_stop

    assert stops(WARM_UP + FEW, LONG)
    assert not stops(WARM_UP + FEW, LONG / 2)
    assert not stops(WARM_UP + FEW - 1, 10 * LONG)
    assert stops(WARM_UP + STEPS, LONG / 2)


def test_a_dense_set_is_shown_with_its_range_and_places() -> None:
    screen = Console(file=StringIO(), width=120)
    show_dataset(screen, dense_dataset(50))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "regression at 8x8 places" in shown
    assert "nan" not in shown
    assert "0 to 0.9" in shown


def test_maps_do_not_go_into_a_table() -> None:
    tasks = dense_tasks("glow", "even")
    outputs = model_of("hard_sharing", tasks)(dense_digits()[0][:4])
    with pytest.raises(UserError, match=r"^glow: a prediction at every place.*Fitted\.load"):
        prediction_frame(tasks, outputs, pd.RangeIndex(4))


def test_tokens_of_a_staged_encoder() -> None:
    """A tagger: one label a token, however many there are."""

    class Rows(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image[:, 0]

    tasks = {"tag": Task("tag", "multiclass", classes=(0, 1, 2), places=(8,))}
    encoder = Staged([nn.Linear(8, 6)], Rows(), channel_dim=-1, widths=(6,))
    assert HardSharing(encoder, tasks)(dense_digits()[0][:5])["tag"].shape == (5, 3, 8)


@pytest.mark.slow
def test_a_study_of_a_dense_set_ends_in_a_verdict(tmp_path: Path) -> None:
    result = polytask.compare(
        dense_dataset(90),
        targets=["stroke", "glow"],
        methods=["linear", "pcgrad"],
        encoder={"resnet": {"width": 4}},
        epochs=1,
        seeds=1,
        lr=1e-3,
        batch_size=32,
        out=tmp_path / "study",
        progress=False,
    )
    assert result.complete
    assert "sharing" in result.verdict
    words: dict[str, Any] = result.results["verdict"]["tasks"]
    assert list(words) == ["stroke", "glow"]
    assert result.results["boosting"] is None
    assert "stroke" in (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
