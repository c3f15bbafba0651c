"""Code of the user's that fails: named as theirs, but for memory that ran out."""

import doctest

import pytest
import torch

from polytask import errors
from polytask.errors import NonFiniteError, UserError, foreign, out_of_memory


def explain(what: str) -> str:
    return f"the loss raised {what}; expected numbers"


def test_what_foreign_code_raises_becomes_the_users_error() -> None:
    said = r"^the loss raised KeyError: 'x'; expected"
    with pytest.raises(UserError, match=said) as caught, foreign(explain):
        raise KeyError("x")
    assert isinstance(caught.value.__cause__, KeyError)


def test_our_own_errors_and_interruptions_pass() -> None:
    for error in (NonFiniteError("ours"), UserError("ours"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)) as caught, foreign(explain):
            raise error
        assert caught.value is error


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_ran_out_is_nobodys_mistake(error: Exception) -> None:
    with pytest.raises(type(error)), foreign(explain):
        raise error


def test_torch_without_memory_on_the_cpu_is_nobodys_mistake_either() -> None:
    with pytest.raises(RuntimeError) as caught, foreign(explain):
        torch.empty(2**60)
    assert not isinstance(caught.value, UserError)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_the_examples_hold() -> None:
    assert doctest.testmod(errors, optionflags=doctest.ELLIPSIS).failed == 0
