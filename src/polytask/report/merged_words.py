"""What several studies say together, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from polytask.report.merged import Method, Studies, means_of, shared
from polytask.report.numbers import fixed, p_value, plural
from polytask.report.ranks import FEWEST, RankTest, rank_test
from polytask.report.words import MOST_NAMED, listing, verdict_of

_SAID = {
    "helps": "helps",
    "hurts": "hurts",
    "leans helps": "leans towards helping",
    "leans hurts": "leans towards hurting",
}


def headline(studies: Studies) -> str:
    """Every task's verdict, counted: the first thing a reader should know."""
    words = Counter(
        verdict_of(study.results, task)[0] for study in studies for task in study.results.tasks
    )
    tasks = sum(words.values())
    said = [f"{verb} {words[word]}" for word, verb in _SAID.items() if words[word]]
    found = f"In {len(studies)} studies with {plural(tasks, 'task')} in all, sharing "
    found += listing(said) if said else "neither helps nor hurts any beyond noise"
    if said and words["no evidence"]:
        found += f"; for {words['no evidence']} there is no evidence either way"
    rest = tasks - sum(words[word] for word in (*_SAID, "no evidence"))
    return found + (f"; {rest} without a verdict." if rest else ".")


def averaging(studies: Studies, methods: Sequence[Method]) -> list[str]:
    """Over which methods and studies means and ranks are taken, and what they prove."""
    kept = shared(methods)
    if len(kept) < 2:
        return ["Fewer than two methods have a Δm in every study, so there is no mean rank."]
    left = [method.label for method in methods if method not in kept]
    said = [
        "The mean is a plain one over the studies, so large effects weigh most; ranks (1 = best) "
        f"are among the {len(kept)} methods that have a Δm in every study."
    ]
    if left:
        named = listing(left) if len(left) <= MOST_NAMED else plural(len(left), "method")
        verb = "is" if len(left) == 1 else "are"
        said.append(f"{named} {verb} not in all of them and stay{'s' * (verb == 'is')} out.")
    said.append(_proof(studies, kept))
    return said


def same_data(studies: Studies) -> list[str]:
    """Names of data sets that more than one study is about."""
    names = Counter(
        str(study.results.section("dataset").get("name") or study.results.name) for study in studies
    )
    return [name for name, count in names.items() if count > 1]


def fair_test(studies: Studies, methods: Sequence[Method]) -> RankTest | None:
    """The test of ranks where it is a fair one: on data sets that are all different."""
    return None if same_data(studies) else rank_test(means_of(methods))


def _proof(studies: Studies, kept: Sequence[Method]) -> str:
    described = "Ranks are of scores on test: they describe these studies and choose nothing."
    if repeated := same_data(studies):
        return f"{described} Studies of the same data ({listing(repeated)}) allow no test of them."
    test = fair_test(studies, kept)
    if test is None:
        few = f"needs at least {FEWEST} data sets and 3 methods"
        return f"{described} A test of whether they differ {few}."
    what = f"Friedman's test over {test.sets} data sets and {test.methods} methods"
    if not test.significant:
        return f"{described} They do not differ beyond chance ({what}: {p_value(test.p)})."
    best = min(kept, key=lambda method: method.rank or 0.0)
    near = [
        m.label for m in kept if m is not best and (m.rank or 0) - (best.rank or 0) <= test.critical
    ]
    told = f"{listing(near)} cannot be told from {best.label}" if near else f"{best.label} leads"
    return (
        f"{described} They differ beyond chance ({what}: {p_value(test.p)}); by Nemenyi's critical "
        f"difference of {fixed(test.critical, 1)} ranks, {told}."
    )
