"""What docs/determinism.md promises: the same seed, the same bits."""

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from real_tasks import diabetes
from torch import Tensor

import polytask
from polytask.training import Trainer

HERE = Path(__file__).parent
CODE = """
    import hashlib, sys, torch
    from real_tasks import diabetes
    from polytask.training import Trainer

    real = diabetes()
    trainer = Trainer(
        real.model(dropout=0.3), real.tasks, method="pcgrad", epochs=2, device=sys.argv[1],
        progress=False,
    )
    trainer.fit(real.batches(), real.batches("val"))
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    print(hashlib.sha256(weights.cpu().numpy().tobytes()).hexdigest())
"""


def trained(method: str, seed: int) -> dict[str, Tensor]:
    """The weights after two short epochs of a network with dropout."""
    real = diabetes()
    trainer = Trainer(
        real.model(dropout=0.3), real.tasks, method=method, epochs=2, seed=seed, progress=False
    )
    trainer.fit(real.batches(), real.batches("val"))
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("method", polytask.list_methods())
def test_every_method_repeats_bit_for_bit(method: str) -> None:
    first = trained(method, 5)
    torch.rand(7)  # what happens between two fits does not matter
    second, other = trained(method, 5), trained(method, 6)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def in_a_process(device: str, threads: int, hash_seed: int, more: str = "") -> str:
    """The hash of the weights that a fresh process ends with."""
    done = subprocess.run(
        [sys.executable, "-c", more + textwrap.dedent(CODE), device],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=HERE,
        env=os.environ
        | {
            "OMP_NUM_THREADS": str(threads),
            "PYTHONHASHSEED": str(hash_seed),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_two_processes_with_as_many_threads_end_with_the_same_bits() -> None:
    assert in_a_process("cpu", 2, 1) == in_a_process("cpu", 2, 2)


@pytest.mark.slow
def test_this_process_ends_with_the_bits_of_another() -> None:
    real = diabetes()
    trainer = Trainer(
        real.model(dropout=0.3), real.tasks, method="pcgrad", epochs=2, progress=False
    )
    trainer.fit(real.batches(), real.batches("val"))
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    ours = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
    assert ours == in_a_process("cpu", 1, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_told_to_be_deterministic_repeats_bit_for_bit() -> None:
    strict = "import torch; torch.use_deterministic_algorithms(True)\n"
    assert in_a_process("cuda", 1, 1, strict) == in_a_process("cuda", 1, 2, strict)
