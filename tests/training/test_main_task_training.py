"""Methods around a main task in a training: which task it is, and batches without its labels."""

from dataclasses import replace

import pytest
import torch
from real_tasks import diabetes

import polytask
from polytask import registry
from polytask.errors import UserError
from polytask.tasks import Task
from polytask.training import Trainer, build_method

MAIN_METHODS = ["gcs", "agem", "arml", "ol_aux", "metabalance", "hydalearn"]


def with_roles(*main, among="abc"):
    roles = {True: "main", False: "auxiliary"}
    return {name: Task(name, "regression", role=roles[name in main]) for name in among}


@pytest.mark.parametrize("method", MAIN_METHODS)
class TestWhichTaskIsTheMainOne:
    def test_the_only_one_with_that_role(self, method):
        assert build_method(method, with_roles("b")).main == "b"

    def test_the_user_s_word_counts(self, method):
        assert build_method(method, with_roles("b"), main="c").main == "c"
        assert build_method(method, with_roles("a", "b"), main="b").main == "b"
        assert build_method(method, with_roles("b"), main=2).main == 2

    def test_the_first_where_no_roles_are_set_apart(self, method):
        assert build_method(method, with_roles("a", "b", "c")).main == "a"
        assert build_method(method, with_roles()).main == "a"

    def test_several_main_tasks_beside_auxiliary_ones_are_an_error(self, method):
        with pytest.raises(UserError, match=rf"{method} needs one main task.*b, c.*main='b'"):
            build_method(method, with_roles("b", "c"))


def test_every_method_with_a_main_task_is_told():
    asking = {n for n, e in registry.entries("method").items() if "main" in e.arguments}
    assert asking >= set(MAIN_METHODS)
    for method in asking:
        assert build_method(method, with_roles("c")).main == "c"


def test_primary_tasks_are_all_with_the_role_main():
    assert build_method("auto_lambda", with_roles("a", "c")).primary == ("a", "c")
    assert build_method("auto_lambda", with_roles("a"), primary="b").primary == ("b",)
    assert build_method("auto_lambda", with_roles("a", "b", "c")).primary is None


def half_without_main(batch=32):
    """Diabetes as batches in turn with and without labels of the main task, which is second."""
    real = diabetes(missing=0.0)
    roles = {"progress": "auxiliary", "pressure": "main", "sex": "auxiliary"}
    real.tasks = {n: replace(t, role=roles[n]) for n, t in real.tasks.items()}
    inputs, targets = real.train
    targets = {name: value.clone() for name, value in targets.items()}
    for start in range(0, len(inputs["x"]), 2 * batch):
        targets["pressure"][start : start + batch] = torch.nan
    real.train = (inputs, targets)
    return real


def trained(method, real, **options):
    trainer = Trainer(
        real.model(), real.tasks, method=method, epochs=2, lr=1e-2, progress=False, **options
    )
    trainer.fit(real.batches(size=32, shuffle=False), real.batches("val"))
    return trainer


class TestBatchesWithoutTheMainTask:
    """The very first batch is one of them."""

    def test_are_left_out_and_counted_where_the_method_defines_no_step(self):
        real = half_without_main()
        trainer = trained("gcs", real)
        batches = -(-len(real.train[0]["x"]) // 32)
        lacking = -(-batches // 2)
        assert trainer.state.skipped == 2 * lacking
        assert trainer.state.step == 2 * (batches - lacking)
        expected = f"{2 * lacking} batches had no label of pressure, the main task, and were"
        assert any(expected in remark for remark in trainer.history.remarks)

    @pytest.mark.parametrize("method", ["agem", "arml", "ol_aux", "metabalance", "auto_lambda"])
    def test_are_stepped_on_where_it_does(self, method):
        real = half_without_main()
        trainer = trained(method, real)
        assert trainer.state.skipped == 0
        assert trainer.state.step == 2 * -(-len(real.train[0]["x"]) // 32)
        for task in real.tasks:
            losses = trainer.history.series(f"train/{task}/loss")
            assert losses[-1] < losses[0]

    def test_one_that_is_given_by_the_user_is_told_too(self):
        trainer = trained(polytask.ARML(main="pressure"), half_without_main())
        assert trainer.state.skipped == 0

    def test_a_main_task_without_any_label_is_said(self):
        real = half_without_main()
        real.train[1]["pressure"][:] = torch.nan
        with pytest.raises(UserError, match="has a label of pressure, the main task of GCS"):
            trained("gcs", real, select="main:progress")


def test_held_out_batches_without_the_primary_task_teach_nothing():
    real = half_without_main()
    real.val[1]["pressure"][:] = torch.nan
    trainer = trained("auto_lambda", real, select="main:progress")
    weights = [trainer.history.series(f"weight/{task}") for task in real.tasks]
    assert all(series == [pytest.approx(0.1)] * 2 for series in weights)
