"""The page that leads from a situation to methods, each named by a rule."""

import re

import pytest
import torch
from torch import nn

import polytask
from polytask.testing.methods import full_step, small_batch, small_net


def test_the_page_is_up_to_date(program) -> None:
    made = program("make_which_method")
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), (
        "run: python docs/make_which_method.py"
    )


def test_no_method_is_named_by_hand(program) -> None:
    """Beside the lists made by rules only the baselines of every study are named."""
    made = program("make_which_method")
    words = {"linear", "rlw"}
    for question in made.QUESTIONS:
        named = set(re.findall(r"`(\w+)", question.text)) & set(polytask.list_methods())
        assert named <= words, question.title
        for answer in question.answers:
            assert not set(re.findall(r"\w+", answer.words)) & set(polytask.list_methods())
    assert set(re.findall(r"`(\w+)`", made.HEAD)) & set(polytask.list_methods()) == words


def test_every_rule_tells_methods_apart_and_leaves_none_without_a_place(program) -> None:
    made = program("make_which_method")
    every, found = set(polytask.list_methods()), set()
    for question in made.QUESTIONS:
        for answer in question.answers:
            chosen = set(answer.names())
            assert chosen, answer.words
            assert chosen < every, answer.words
            found |= chosen
    assert found == every


def test_the_costs_are_those_of_the_committed_table(program) -> None:
    made = program("make_which_method")
    read = made.costs()
    assert len(read) > 100
    table = made.COSTS.read_text(encoding="utf-8")
    heavy = table.split("## heavy heads")[1].split("| 40 |")[1]
    line = next(row for row in heavy.splitlines() if "tail (budget)" in row)
    time, peak = read["heavy heads", 40, "tail (budget)"]
    assert f"| {time} (" in line
    assert line.rstrip(" |").endswith(peak)
    assert f"and {time} times with 40" in made.page()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_methods_that_take_a_compiled_model_do(program) -> None:
    """Traced as a whole, without code generation: the same gradients as uncompiled."""
    made = program("make_which_method")
    answers = [a for q in made.QUESTIONS for a in q.answers if "compiled as a whole" in a.words]
    (names,) = [answer.names() for answer in answers]
    for name in names:
        torch._dynamo.reset()
        plain, traced = small_net(), small_net()
        traced.losses = torch.compile(traced.losses, backend="aot_eager")
        for net in (plain, traced):
            balancer = polytask.create_method(name, generator=torch.Generator().manual_seed(0))
            full_step(balancer, net, small_batch())
        for have, want in zip(_gradients(traced), _gradients(plain), strict=True):
            torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-7)


def _gradients(net: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in net.parameters() if p.grad is not None]
