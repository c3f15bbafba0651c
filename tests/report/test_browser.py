"""The page in a real browser: no complaint, no request, no overflow, in light, dark and print."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_browser import Browser, browsing, chromium
from report_studies import METHODS, STUDIES, make_study

from polytask.report import write_report
from polytask.report.numbers import fixed, signed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine"),
]

Study = dict[str, Any]
PHONE, PAPER = 375, 688  # A4 less the margins of the print sheet, in CSS pixels
NASTY = (
    "<script>alert(1)</script>", 'a "quoted" & it\'s', "{{ 7 * 7 }} {% raw %}",
    "\u0645\u0631\u062d\u0628\u0627 \u202e\u0639\u0627\u0644\u0645",
    "\U0001f600" * 12 + " \u4fa1\u683c", "x" * 200, "a name with many words " * 9, "$\\alpha_1$",
)  # fmt: skip
OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"
WIDTH = "Math.max(document.documentElement.scrollWidth, window.innerWidth)"


def nasty() -> Study:
    """Names of every kind in every place where a study has names."""
    methods = ("linear", "rlw", '<img src=x onerror="alert(2)">', "y" * 200)
    study = make_study(NASTY, methods, seeds=3, epochs=4, name="<b>study</b> & \u202e" + "z" * 200)
    study["dataset"]["notes"] = ["<i>note</i> " + "w" * 300]
    study["candidates"][1]["failed"] = [{"seed": 1, "cause": "</p><script>alert(3)</script>"}]
    study["config"]["data"] = "/data/" + "v" * 300
    study["command"] = "polytask compare --data " + "u" * 300
    return study


def many() -> Study:
    """Forty tasks."""
    return make_study(tuple(f"property_{i}" for i in range(40)), METHODS[:3], seeds=2, epochs=3)


PAGES: dict[str, Callable[[], Study | list[Study]]] = {
    **{name: STUDIES[name] for name in ("three tasks", "fourteen tasks", "incomplete")},
    "nasty names": nasty,
    "forty tasks": many,
    "merged": lambda: [STUDIES["three tasks"](), STUDIES["failed runs"](), nasty()],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running:
        yield running


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Pages by name, each written once."""
    folder = tmp_path_factory.mktemp("pages")
    made: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in made:
            made[name] = write_report(PAGES[name](), folder / f"{name}.html")
        return made[name]

    return write


@pytest.mark.parametrize("name", list(PAGES))
def test_the_page_opens_in_silence_and_fits_a_phone(
    browser: Browser, written: Callable[[str], Path], name: str
) -> None:
    page = written(name)
    for scheme in ("light", "dark"):
        browser.open(page, PHONE, scheme)
        assert browser.ask(WIDTH) == PHONE
        browser.ask(OPEN)
        assert browser.ask(WIDTH) == PHONE
        assert browser.complaints == []
        assert browser.requests == [page.resolve().as_uri()]
        assert browser.ask("document.scripts.length") == 0
    browser.open(page, 1280)
    assert browser.ask(WIDTH) == 1280
    assert browser.complaints == []


def test_the_checks_can_fail(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<div style='width:900px'>wide</div><img src='missing.png'><script>boom()</script>"
    )
    browser.open(page, PHONE)
    assert browser.ask(WIDTH) > PHONE
    assert any("boom" in said or "exception" in said for said in browser.complaints)
    assert any(url.endswith("missing.png") for url in browser.requests)


@pytest.mark.parametrize("name", ["three tasks", "nasty names"])
def test_what_is_seen_are_the_numbers_of_the_results(
    browser: Browser, written: Callable[[str], Path], name: str
) -> None:
    study = PAGES[name]()
    assert isinstance(study, dict)
    browser.open(written(name))
    seen = browser.ask(
        "[...document.querySelectorAll('td[data-value]')].map(c => [+c.dataset.value, c.innerText])"
    )
    values = {value for value, _ in seen}
    for candidate in study["candidates"]:
        assert candidate["delta_m"]["mean"] in values
        assert {entry["mean"] for entry in candidate["tasks"].values()} <= values
    entry = study["conflict"][0]
    texts = {value: re.sub(r"\s+", " ", text) for value, text in seen if text}
    for i, row in enumerate(entry["cosine"]):
        for j, cosine in enumerate(row):
            if i < j:
                error = fixed(entry["standard_error"][i][j], 2)
                assert texts[cosine].startswith(f"{signed(cosine, 2)} ±{error}")


def test_noise_is_hatched_and_what_is_found_is_coloured(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    browser.open(written("fourteen tasks"))
    style = "(k => { const s = getComputedStyle(document.querySelector('table.heat td.' + k));"
    style += " return [s.backgroundImage, s.backgroundColor]; })"
    assert browser.ask(f"{style}('noise')")[0].startswith("repeating-linear-gradient")
    agree, fight = (browser.ask(f"{style}('{kind}')") for kind in ("agree", "fight"))
    assert agree[0] == fight[0] == "none"
    assert agree[1] != fight[1]


def test_every_name_is_shown_as_it_is(browser: Browser, written: Callable[[str], Path]) -> None:
    browser.open(written("nasty names"))
    browser.ask(OPEN)
    text = browser.ask("document.body.textContent").replace("\u2068", "").replace("\u2069", "")
    for task in NASTY:
        assert task.replace("\u202e", "\ufffd") in text
    assert "49" not in browser.ask("document.querySelector('.cards').innerText")


def test_light_and_dark_are_different_and_paper_is_light(
    browser: Browser, written: Callable[[str], Path]
) -> None:
    page = written("three tasks")
    ground = "getComputedStyle(document.body).backgroundColor"
    shade = "getComputedStyle(document.querySelector('td.agree, td.fight')).backgroundColor"
    seen = {}
    for scheme, media in (("light", ""), ("dark", ""), ("dark", "print")):
        browser.open(page, 1280, scheme, media)
        seen[scheme, media] = (browser.ask(ground), browser.ask(shade))
    assert seen["light", ""][0] == "rgb(252, 252, 250)"
    assert seen["dark", ""][0] == "rgb(21, 23, 26)"
    assert seen["dark", "print"][0] == "rgb(255, 255, 255)"
    assert len({shade for _, shade in seen.values()}) >= 2


@pytest.mark.parametrize("name", list(PAGES))
def test_paper_cuts_nothing_and_opens_what_is_folded(
    browser: Browser, written: Callable[[str], Path], name: str
) -> None:
    browser.open(written(name), PAPER, "light", "print")
    assert browser.ask(WIDTH) == PAPER
    wide = (
        "[...document.querySelectorAll('table, svg, figure, pre')].filter(e => "
        f"e.getBoundingClientRect().right > {PAPER} + 1).map(e => e.outerHTML.slice(0, 120))"
    )
    assert browser.ask(wide) == []
    hidden = (
        "[...document.querySelectorAll('details:not(.long) > :not(summary)')].filter(e => "
        "!e.closest('.long') && !e.checkVisibility({contentVisibilityAuto: true}))"
        ".map(e => e.outerHTML.slice(0, 120))"
    )
    assert browser.ask(hidden) == []
    says = "[...document.querySelectorAll('details.long > summary')].map(e => " + (
        "getComputedStyle(e, '::after').content)"
    )
    assert all("folded" in said for said in browser.ask(says))
    assert browser.pdf().startswith(b"%PDF")
