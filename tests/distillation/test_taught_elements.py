"""Which elements are taught: by labels, rows and places, for every kind of task."""

import math

import pytest
import torch
from torch import nn

from polytask.data import Batches
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import Distillation, Trainer
from polytask.training._taught import taught_elements

DENSE = Task("land", "multiclass", classes=("a", "b", "c"), places=(2, 2))
TAGS = Task("tags", "multilabel", classes=("x", "y"))
HEIGHT = Task("height", "regression", places=(3,))


def elements(task, output, target, **how):
    shape = output.shape if output.dim() > 1 else (len(output), 1)
    soft = torch.arange(float(output.numel())).reshape(shape)
    how = {"unlabelled": True, "every_place": False} | how
    return taught_elements(task, output, target, soft, **how)


def test_rows_of_one_label():
    task = Task("sold", "binary")
    output, target = torch.zeros(4, 1), torch.tensor([1, -100, 0, -100])
    assert elements(task, output, target)[1].tolist() == [0, 1, 2, 3]
    assert elements(task, output, target, unlabelled=False)[1].tolist() == [0, 2]
    # outputs and targets may also come without the channel, or with it
    assert elements(task, output[:, 0], target)[1].shape == (4,)
    assert elements(task, output, target[:, None], unlabelled=False)[1].tolist() == [0, 2]


def test_elements_of_a_row_of_several_labels():
    target = torch.tensor([[1.0, math.nan], [math.nan, math.nan], [0.0, 1.0]])
    output = torch.zeros(3, 2)
    assert elements(TAGS, output, target)[1].tolist() == [0, 1, 2, 3, 4, 5]
    assert elements(TAGS, output, target, unlabelled=False)[1].tolist() == [0, 4, 5]


def test_places_without_a_label_are_not_taught_where_others_have_one():
    target = torch.tensor([[[0, -100], [1, 2]], [[-100, -100], [-100, -100]]])
    output = torch.zeros(2, 3, 2, 2)
    kept = elements(DENSE, output, target)[1]
    assert kept.shape == (3 + 4, 3)  # three places of the first item, all four of the second
    assert kept[0].tolist() == [0, 4, 8]
    assert kept[1].tolist() == [2, 6, 10]
    assert elements(DENSE, output, target, every_place=True)[1].shape == (8, 3)
    assert elements(DENSE, output, target, unlabelled=False)[1].shape == (3, 3)
    assert elements(DENSE, output, target, unlabelled=False, every_place=True)[1].shape == (3, 3)


def test_places_of_a_dense_regression():
    target = torch.tensor([[1.0, math.nan, 2.0], [math.nan] * 3])
    output = torch.zeros(2, 1, 3)
    assert elements(HEIGHT, output, target)[1].tolist() == [0, 2, 3, 4, 5]
    assert elements(HEIGHT, output, target[:, None])[1].tolist() == [0, 2, 3, 4, 5]
    assert elements(HEIGHT, output, target, every_place=True)[1].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_teacher_of_another_shape_is_refused():
    with pytest.raises(
        UserError, match=r"in the shape \[2, 3, 2, 1\], the model in \[2, 3, 2, 2\]"
    ):
        taught_elements(
            DENSE,
            torch.zeros(2, 3, 2, 2),
            torch.zeros(2, 2, 2, dtype=torch.int64),
            torch.zeros(2, 3, 2, 1),
            unlabelled=True,
            every_place=False,
        )


class Maps(nn.Module):
    """A dense network: one 1x1 convolution a task."""

    def __init__(self, seed, **channels):
        super().__init__()
        torch.manual_seed(seed)
        self.heads = nn.ModuleDict({t: nn.Conv2d(2, c, 1) for t, c in channels.items()})

    def forward(self, x):
        return {task: head(x["image"]) for task, head in self.heads.items()}


@pytest.mark.parametrize("places", ["labelled", "all"])
def test_dense_tasks_train(places):
    """Padding is not taught; maps of noise at padding do not reach the student."""
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(12, 2, 2, 2, generator=draw)
    target = torch.randint(0, 3, (12, 2, 2), generator=draw)
    target[:, 0, 0] = -100
    tasks = {"land": DENSE}

    def trained(changed):
        inputs = image.clone()
        if changed:
            inputs[:, :, 0, 0] = 50.0
        distill = Distillation({"land": Maps(1, land=3)}, form="soft", weight=1.0, places=places)
        model = Maps(0, land=3)
        trainer = Trainer(model, tasks, distill=distill, epochs=2, progress=False, lr=0.1)
        trainer.fit(Batches({"image": inputs}, {"land": target}, 4))
        return model.state_dict()

    one, other = trained(changed=False), trained(changed=True)
    alike = all(torch.allclose(one[name], other[name]) for name in one)
    assert alike == (places == "labelled")
