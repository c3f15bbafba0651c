from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_after(program: str) -> set[str]:
    """Which of the libraries are imported when a program of a fresh interpreter ends."""
    last = "print(*(n for n in ('transformers', 'timm', 'torch_geometric', 'torchvision') "
    last += "if n in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\n{last}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_an_encoder_of_torch_imports_no_library() -> None:
    program = """
import torch
from polytask import create_architecture, Task
model = create_architecture("hard_sharing", torch.nn.Linear(2, 3), [Task("a", "regression")],
                            example=torch.ones(2, 2))
model(torch.ones(2, 2))
from polytask.architectures import as_stages
as_stages(torch.nn.Sequential(torch.nn.Linear(2, 3)))
"""
    assert loaded_after(program) == set()


@pytest.mark.slow
def test_models_of_one_library_ask_for_no_other() -> None:
    program = """
import torch
from transformers import ResNetConfig, ResNetModel
from polytask.architectures import as_stages
sizes = dict(num_channels=1, embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic")
as_stages(ResNetModel(ResNetConfig(**sizes)))(torch.ones(2, 1, 8, 8))
"""
    assert loaded_after(program) == {"transformers"}
    program = """
import torch, torch_geometric
from torch_geometric.data import Batch, Data
from polytask.architectures import as_stages
graph = Data(x=torch.ones(2, 3), edge_index=torch.tensor([[0, 1], [1, 0]]))
as_stages(torch_geometric.nn.GCN(3, 4, 2))(Batch.from_data_list([graph]))
"""
    # It looks for transformers by itself.
    assert loaded_after(program) - {"transformers"} == {"torch_geometric"}
