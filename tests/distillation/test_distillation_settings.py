"""Options and teachers that cannot be: said before anything is trained, with what to do."""

from __future__ import annotations

import pytest
import torch
from taught_digits import digits, few_labels, fit, same_weights, teacher
from torch import nn

from polytask.architectures.hard_sharing import HardSharing
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import Callback, Distillation, Trainer

NETWORK = nn.Linear(2, 2)


@pytest.fixture(scope="module")
def real():
    return few_labels()


class NoBatch(Callback):
    """Fails when a batch is trained on."""

    def on_batch_begin(self, trainer: Trainer, batch_index: int) -> None:
        raise AssertionError("a batch was trained on")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "anealed"}, "did you mean 'annealed'"),
        ({"places": "al"}, "did you mean 'all'"),
        ({"temperature": 0}, "temperature must be a number above 0, found 0"),
        ({"weight": 0.5}, "'annealed' takes no weight.*form='soft'"),
        ({"form": "soft", "weight": 1.5}, "above 0 and at most 1, found 1.5"),
        ({"form": "soft", "weight": 0.0}, "above 0 and at most 1, found 0.0"),
        ({"form": "soft", "weight": {"a": "much"}}, "found 'much'"),
        ({"form": "features", "weight": -1.0}, "weight must be a number above 0, found -1.0"),
        ({"unlabelled": "yes"}, "unlabelled must be True or False"),
        ({"cache": 1}, "cache must be True or False"),
        ({"adapter_lr": 0.1}, "adapter_lr belongs to form 'features'"),
        ({"form": "features", "adapter_lr": 0}, "adapter_lr must be a number above 0"),
        ({"teachers": {}}, "must be given by task.*found none"),
        ({"teachers": [NETWORK]}, "must be given by task.*found list"),
        ({"teachers": {"a": []}}, "teacher of 'a' must be a module.*found none"),
        ({"teachers": {"a": 3}}, "teacher of 'a' must be a module.*found 3"),
        (
            {"teachers": {"a": [NETWORK, NETWORK]}, "form": "features"},
            "one teacher a task, found 2",
        ),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(UserError, match=said):
        Distillation(**({"teachers": {"a": NETWORK}} | options))


def test_weights_by_task():
    distill = Distillation({"a": NETWORK, "b": NETWORK}, form="features", weight={"a": 2.0})
    assert (distill.weight_of("a"), distill.weight_of("b")) == (2.0, 1.0)
    assert Distillation({"a": NETWORK}, form="ensemble").weight_of("a") == 0.5
    assert Distillation({"a": NETWORK}, form="soft", weight=0.3).weight_of("a") == 0.3


def refused(real, distill, said, **options):
    with pytest.raises(UserError, match=said):
        fit(real, distill, callbacks=[NoBatch()], **options)


def test_names_that_are_no_task(real):
    refused(real, Distillation({"digits": NETWORK}), "did you mean 'digit'")
    weights = {"odd": 1.0}
    distill = Distillation({"digit": NETWORK}, form="soft", weight=weights)
    refused(real, distill, "task in weight of the distillation")
    refused(real, {"digit": NETWORK}, "must be a polytask.training.Distillation, found dict")


def test_teachers_of_another_width_or_other_classes(real):
    other = Task("digit", "multiclass", classes=tuple(range(7)))
    narrow = HardSharing(teacher(real, "odd").encoder, {"digit": other})
    refused(real, Distillation({"digit": narrow}), "gives 7 outputs.*expected 10.*same classes")
    refused(real, Distillation({"digit": teacher(real, "odd")}), "task for the teacher of 'digit'")
    # of a module that does not say what it answers, the first batch shows it

    class Alone(nn.Module):
        def forward(self, x):
            return nn.functional.linear(x["x"], torch.ones(7, 64))

    refused(real, Distillation({"digit": Alone()}), r"teacher of 'digit' does not fit.*\[64, 7\]")

    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("pixels")

    refused(real, Distillation({"digit": Broken()}), "teacher of 'digit'.*raised.*pixels")

    class Wrong(nn.Module):
        def forward(self, x):
            return {"other": x["x"]}

    refused(real, Distillation({"digit": Wrong()}), "by task name.*found other")


def test_a_task_whose_outputs_mean_nothing_known(real):
    def ownloss(output, target):
        return (output - target).abs()

    tasks = {"own": Task("own", "custom", loss_function=ownloss, metrics=("loss",))}
    with pytest.raises(UserError, match=r"'own' is custom.*form='features'"):
        Trainer(NETWORK, tasks, distill=Distillation({"own": NETWORK}), select="loss")


def test_features_need_one_representation(real):
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 12)

        def forward(self, x):
            return dict(zip(real.tasks, self.layer(x["x"]).split([10, 1, 1], 1), strict=True))

    own = teacher(real, "digit")
    distill = Distillation({"digit": own}, form="features")
    refused(real, distill, "Plain has none that learns", model=Plain())
    refused(real, Distillation({"digit": Plain()}, form="features"), "no single shared represent")

    class Once:
        def __iter__(self):
            return iter(real.batches())

    refused(real, distill, "has to see a batch before training", data=(Once(),))


class TestFolders:
    """A run's folder as a teacher."""

    @pytest.fixture
    def run(self, real, tmp_path):
        network = real.model(seed=3).prune("digit")
        Trainer(network, {"digit": real.tasks["digit"]}, out=tmp_path / "run", epochs=2,
                progress=False, lr=1e-2).fit(real.batches(), real.batches("val"))  # fmt: skip
        return tmp_path / "run", network

    def test_it_is_the_network_that_was_trained(self, real, run):
        folder, network = run
        one = fit(real, Distillation({"digit": folder}), epochs=1)
        other = fit(real, Distillation({"digit": network}), epochs=1)
        third = fit(real, Distillation({"digit": str(folder)}), epochs=1)
        assert same_weights(one.model, other.model)
        assert same_weights(one.model, third.model)

    def test_a_run_of_all_tasks_may_teach_one(self, real, tmp_path):
        whole = fit(real, None, epochs=1, out=tmp_path)
        trainer = fit(real, Distillation({"odd": tmp_path}), epochs=1)
        assert same_weights(trainer.teachers.networks[0], whole.model)

    def test_what_does_not_fit(self, real, run, tmp_path):
        folder, _ = run
        refused(real, Distillation({"digit": tmp_path / "none"}), "there is no folder")
        refused(real, Distillation({"odd": folder}), "task in the run")
        distill = Distillation({"digit": folder})
        refused(real, distill, "fit neither this network nor", model=real.model(width=8))
        (tmp_path / "empty").mkdir()
        refused(real, Distillation({"digit": tmp_path / "empty"}), "has not ended")

    def test_other_units_are_refused(self, real, tmp_path):
        """Standardised by other training rows, its answers mean something else."""
        fit(real, None, epochs=1, out=tmp_path)
        other = digits(missing=0.5, rows=500)
        refused(other, Distillation({"ink": tmp_path}), "was of another task.*mean")
