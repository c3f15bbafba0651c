"""Every registered method passes the suite that third parties inherit."""

import pytest

import polytask
from polytask.testing.methods import BalancerConformance

RANDOM = {"rlw", "pcgrad", "gradvac", "graddrop"}
MAIN = {
    "gcs",
    "agem",
    "arml",
    "hydalearn",
    "ol_aux",
}  # the first task is another one after a permutation


def suite(name):
    class Suite(BalancerConformance):
        permutation_equivariant = name not in RANDOM | MAIN

        def make(self, **options):
            return polytask.create_method(name, **options)

    Suite.__name__ = Suite.__qualname__ = "Test_" + name
    return Suite


for _name in polytask.list_methods():
    globals()["Test_" + _name] = suite(_name)


def test_every_method_has_a_suite():
    found = {key.removeprefix("Test_") for key in globals() if key.startswith("Test_")}
    assert found == set(polytask.list_methods())
    assert len(found) >= 6


@pytest.mark.parametrize("name", polytask.list_methods())
def test_class_is_public_by_its_paper_name(name):
    balancer = polytask.create_method(name)
    assert getattr(polytask, type(balancer).__name__) is type(balancer)
