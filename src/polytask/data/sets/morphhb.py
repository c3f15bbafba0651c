"""Hebrew Bible morphology: seven grammatical features of every morpheme of a verse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polytask.data.parsed import parsed
from polytask.data.sets._osis import BOOKS, CODES, LETTERS, read_books
from polytask.data.sets._sample import sample
from polytask.errors import UserError, unknown
from polytask.tasks import Task

if TYPE_CHECKING:
    from polytask.data.dataset import Dataset

CARD: dict[str, Any] = {
    "title": "Open Scriptures Hebrew Bible, morphology",
    "kind": "sequence",
    "rows": 23213,
    "inputs": "one verse a row, L = 64 morphemes at most: characters int64 [N, L, 10], the "
    "consonants 1 to 27 from alef to tav; language int64 [N, L], 1 Hebrew, 2 Aramaic; begins int64 "
    "[N, L], 1 where a word begins, 2 where it goes on; 0 is padding everywhere",
    "tasks": {
        "pos": "multiclass: part of speech of each morpheme, 10 classes",
        "stem": "multiclass: verbal stem, 29 classes (the letters of the code)",
        "vtype": "multiclass: conjugation of a verb, 12 classes",
        "person": "multiclass: 5 classes",
        "gender": "multiclass: 6 classes",
        "number": "multiclass: 5 classes",
        "state": "multiclass: 4 classes",
    },
    "split": "drawn by seed; split='books' tests on every fifth book: Deut, 2Sam, Ezra, Prov, Lam, "
    "Amos and Hab; split=group keeps books whole; books=[...] takes the verses of some only",
    "address": "https://github.com/openscriptures/morphhb",
    "source": "Open Scriptures Hebrew Bible, morphology of December 2018, on the text of the "
    "Westminster Leningrad Codex 4.20",
    "licence": "CC BY 4.0: original work of the Open Scriptures Hebrew Bible, "
    "https://github.com/openscriptures/morphhb; the text is in the public domain",
    "carriers": [
        {
            "client": "npm",
            "package": "morphhb",
            "version": "2.0.2",
            "members": ["package/wlc/*.xml"],
            "sha256": "121c74ebfda30667b6cbddefcae7390e1841e82f068e7ddfdd1550d34482fcf6",
            "megabytes": 20.8,
        }
    ],
    "notes": [
        "306,785 words of 471,675 morphemes; every task has the class none where the feature does "
        "not apply, and -100 behind the end of a verse",
        "the consonants are given without vowel points and accents, cut into morphemes as tagged",
        "where the written and the read form differ, both are there, one behind the other",
        "a letter of the stem means another stem in Aramaic than in Hebrew",
        "the class unmarked is the x of the codes; none of pos are two slips of the tagging",
    ],
}
LENGTH = 64


def morphhb(
    split: str | None = None,
    rows: int | None = None,
    seed: int = 0,
    length: int = LENGTH,
    books: Sequence[str] | str | None = None,
) -> Dataset:
    """Hebrew Bible morphology: 23,213 verses; seven grammatical features of every morpheme.

    Targets are int64 [N, L], so a model answers [N, classes, L]. `groups` are the 39 books.

    Args:
        split: `books` to test on every fifth book; None to leave splitting to the caller.
        rows: how many verses, drawn by `seed` and kept in the order of the books; None for all.
        seed: of that sample.
        length: L, morphemes that are kept of a verse. With 64, seven verses of 23,213 lose 52
            morphemes together; the longest has 83. No letter is cut.
        books: names of the books to take, as in ["Gen", "Ruth"] (`Gen` to `Mal`, 1Sam and 2Sam
            among them); None for all. `rows` are drawn from theirs.

    Raises:
        UserError: an option that does not fit, or the data cannot be fetched.

    Cost: 21 MB are fetched once; the first reading takes seconds; 230 MB of memory for all rows.
    """
    if split not in (None, "books"):
        raise unknown("split of morphhb:", split, ["books"])
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise UserError(
            f"length of morphhb: expected a whole number of at least 1, found {length!r}."
        )
    wanted = [books] if isinstance(books, str) else books
    for name in wanted or ():
        if name not in BOOKS:
            raise unknown("book of morphhb:", name, BOOKS)
    if wanted is not None and not wanted:
        raise UserError("books of morphhb: found none; expected at least one, such as ['Ruth'].")
    kept = np.sort(sample(CARD["rows"], rows, seed, "morphhb"))

    from polytask.data.dataset import Dataset

    arrays = parsed(CARD, 1, _read)
    if wanted is not None:
        theirs = np.flatnonzero(np.isin(arrays["book"], [BOOKS.index(name) for name in wanted]))
        kept = np.sort(theirs[sample(len(theirs), rows, seed, "morphhb")])
    verses, cut = _padded(arrays, kept, length)
    book = arrays["book"][kept].astype(np.int64)
    tasks = [
        Task(name, "multiclass", classes=("none", *words.values())) for name, words in CODES.items()
    ]
    notes = [f"inputs: {CARD['inputs'].replace('L = 64', f'L = {length}')}", *CARD["notes"]]
    if cut.any():
        notes.append(
            f"{(cut > 0).sum()} of {len(kept):,} verses are longer than {length} morphemes: the "
            f"last {cut.sum()} morphemes of them are left out"
        )
    return Dataset(
        name="morphhb",
        inputs={name: verses[name] for name in ("characters", "language", "begins")},
        targets={
            name: np.where(verses["language"] > 0, verses["tags"][:, :, i], -100)
            for i, name in enumerate(CODES)
        },
        tasks={task.name: task for task in tasks},
        columns={"group": "book"},
        groups=book,
        fixed_split=_by_book(book) if split else None,
        notes=notes,
    )


def _by_book(book: np.ndarray) -> dict[str, np.ndarray]:
    """Every fifth book is test, the others are training."""
    held = book % 5 == 4
    if held.all() or not held.any():
        raise UserError(
            f"rows of morphhb: the {len(book)} verses drawn leave the training or the test part of "
            "split='books' empty; take more."
        )
    return {"train": np.flatnonzero(~held), "test": np.flatnonzero(held)}


def _padded(
    arrays: dict[str, np.ndarray], verses: np.ndarray, length: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What is known of morphemes as int64 [verses, length, ...], and how many each verse lost."""
    counts = np.bincount(arrays["verse"], minlength=CARD["rows"])
    first = np.cumsum(counts) - counts
    sizes = np.minimum(counts[verses], length)
    there = np.arange(length) < sizes[:, None]
    source = (first[verses][:, None] + np.arange(length))[there]
    out = {}
    for name in ("characters", "language", "begins", "tags"):
        flat = arrays[name]
        out[name] = np.zeros((*there.shape, *flat.shape[1:]), np.int64)
        out[name][there] = flat[source]
    return out, counts[verses] - sizes


def _read(files: dict[str, Path]) -> dict[str, np.ndarray]:
    """Morphemes one after the other: see `read_books`; and the number of each verse's book."""
    found = read_books({book: files[f"package/wlc/{book}.xml"] for book in BOOKS})
    assert found["characters"].max() == len(LETTERS)
    return found
