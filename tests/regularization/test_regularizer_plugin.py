"""A term of a third party, found by its entry point: as good as one of ours, to all doors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TERM = '''
from polytask.optimization.regularization import Regularizer


class Ridge(Regularizer):
    """Small weights."""

    name = "ridge"
    paper = "Hoerl 1970"
    proximal = True
    tells = {"size": "length of the weights of a task"}

    def __init__(self, strength=0.01, prox=False):
        super().__init__(strength, prox)

    def value(self, stack, tasks, weight):
        return stack.square().sum() / 2

    def _proximal(self, stack, step, tasks):
        return stack / (1 + step)

    def details(self, stacks, tasks):
        return {"size": {name: float(stack.norm()) for name, stack in stacks.items()}}
'''
SUITE = """
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import polytask
from polytask.study.regularization import terms
from polytask.testing.regularizers import RegularizerConformance
from their_terms import Ridge


class TestRidge(RegularizerConformance):
    def make(self):
        return Ridge(strength=0.7)


def task(name):
    return polytask.Task(name, "regression").fitted(np.arange(3.0))


def test_it_is_a_name_like_ours():
    assert "ridge" in polytask.list_regularizers()
    with pytest.raises(polytask.UserError, match="did you mean 'ridge'"):
        polytask.create_regularizer("rigde")
    wanted = {"ridge": {"strength": 0.5}, "l2": None}
    model = polytask.create_architecture(
        "single_task", nn.Linear(3, 2), [task("a"), task("b")], regularize=wanted,
        example=torch.zeros(2, 3),
    )
    assert list(model.penalties()) == ["ridge", "l2"]
    model.add_task(task("c"))
    plan = SimpleNamespace(candidates=[SimpleNamespace(id="x")])
    (entry,) = terms(plan, {"x": [{"regularization": model.regularization()}]})
    assert entry["terms"]["ridge"]["tells"] == {"size": "length of the weights of a task"}
"""


@pytest.mark.slow
def test_a_term_from_elsewhere(tmp_path: Path) -> None:
    facts = tmp_path / "their_terms-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-terms\nVersion: 1.0\n")
    group = "[polytask.regularizers]\nridge = their_terms:Ridge\n"
    (facts / "entry_points.txt").write_text(group)
    (tmp_path / "their_terms.py").write_text(TERM)
    (tmp_path / "test_theirs.py").write_text(SUITE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def python(*words: str) -> str:
        ran = subprocess.run(
            [sys.executable, *words],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    shown = python("-m", "polytask", "list", "regularizers", "ridge")
    assert "ridge" in shown
    assert " passed" in python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_theirs.py")
