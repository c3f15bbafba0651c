"""The page of methods says what the methods say of themselves, and what they do."""

import polytask


def test_the_page_is_up_to_date_and_names_every_method(program) -> None:
    made = program("make_methods")
    text = made.PAGE.read_text(encoding="utf-8")
    assert text == made.page(), "run: python docs/make_methods.py"
    assert all(f"### {name}\n" in text for name in polytask.list_methods())


def test_what_is_seen_of_a_method_is_what_its_paper_says(program) -> None:
    seen = {facts.name: facts for facts in program("method_facts").all_facts()}
    assert set(seen) == set(polytask.list_methods())
    # One sum of losses: one pass. A look ahead, three batches, the whole Jacobian of three tasks.
    passes = {name: (f.forward, f.backward, f.head_backward) for name, f in seen.items()}
    assert passes["linear"] == passes["uncertainty"] == (1, 1, 1)
    assert passes["pcgrad"] == passes["mgda"] == (1, 1, 2)
    assert passes["famo"] == (2, 1, 1)
    assert passes["modo"][0] == 3
    assert [name for name, f in seen.items() if f.per_task] == ["db_mtl", "graddrop", "metabalance"]
    # Nash's axioms hold that utilities may be rescaled; the shortest vector does not.
    assert (seen["nash_mtl"].units, seen["mgda"].units) == ("yes", "no")
    assert (seen["scale_invariant"].units, seen["linear"].units) == ("yes", "no")
    assert (seen["uncertainty"].units, seen["imtl_l"].units) == ("learned", "learned")
    assert seen["mgda"].units_with_log
    # Directions in the dual cone never go uphill; from three tasks on PCGrad's may.
    assert seen["upgrad"].never_against
    assert seen["mgda"].never_against
    assert not seen["pcgrad"].never_against
    assert not seen["linear"].never_against
    assert seen["agem"].never_against_main
    assert {name for name, f in seen.items() if f.random} == {
        "rlw", "pcgrad", "gradvac", "graddrop",
    }  # fmt: skip
    assert seen["famo"].learns
    assert not seen["cagrad"].learns
