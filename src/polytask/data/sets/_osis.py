"""Reading the books of the Open Scriptures Hebrew Bible, which are OSIS XML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

BOOKS = (
    "Gen", "Exod", "Lev", "Num", "Deut", "Josh", "Judg", "Ruth", "1Sam", "2Sam", "1Kgs", "2Kgs",
    "1Chr", "2Chr", "Ezra", "Neh", "Esth", "Job", "Ps", "Prov", "Eccl", "Song", "Isa", "Jer",
    "Lam", "Ezek", "Dan", "Hos", "Joel", "Amos", "Obad", "Jonah", "Mic", "Nah", "Hab", "Zeph",
    "Hag", "Zech", "Mal",
)  # fmt: skip
"""The order of the printed Old Testament; each is the name of a file."""
LETTERS = "".join(map(chr, range(0x05D0, 0x05EB)))
"""The consonants from alef to tav, final forms among them; coded 1 to 27."""
LANGUAGES = {"H": 1, "A": 2}
MOST_LETTERS = 10
"""Letters of the longest morpheme."""
CODES: dict[str, dict[str, str]] = {
    "pos": {
        "A": "adjective",
        "C": "conjunction",
        "D": "adverb",
        "N": "noun",
        "P": "pronoun",
        "R": "preposition",
        "S": "suffix",
        "T": "particle",
        "V": "verb",
    },
    "stem": {letter: letter for letter in "DHKLMNOPQacefhijklmopqrstuvz"},
    "vtype": {
        "p": "perfect",
        "q": "sequential_perfect",
        "i": "imperfect",
        "w": "sequential_imperfect",
        "h": "cohortative",
        "j": "jussive",
        "v": "imperative",
        "r": "participle_active",
        "s": "participle_passive",
        "a": "infinitive_absolute",
        "c": "infinitive_construct",
    },
    "person": {"1": "first", "2": "second", "3": "third", "x": "unmarked"},
    "gender": {"b": "both", "c": "common", "f": "feminine", "m": "masculine", "x": "unmarked"},
    "number": {"d": "dual", "p": "plural", "s": "singular", "x": "unmarked"},
    "state": {"a": "absolute", "c": "construct", "d": "determined"},
}
"""The letters of the codes by feature (HebrewMorphologyCodes.html of the project); class 0 of
every feature is none, the others follow in this order."""
FINITE, PARTICIPLES = "pqiwhjv", "rs"
NAMESPACE = "{http://www.bibletechnologies.net/2003/OSIS/namespace}"


def features(code: str) -> dict[str, str]:
    """The letter of each feature that the code of a morpheme, such as `Vqp3ms`, names."""
    pos, rest = code[:1], code[2:]
    if pos == "V":
        names = ["stem", "vtype"]
        if code[2:3] in FINITE:
            names += ["person", "gender", "number"]
        elif code[2:3] in PARTICIPLES:
            names += ["gender", "number", "state"]
        rest = code[1:]
    elif pos in ("N", "A"):
        names = ["gender", "number", "state"]
    elif pos in ("P", "S"):
        names = ["person", "gender", "number"]
    else:
        names = []
    # A code may be cut short after its last known letter.
    return ({"pos": pos} if pos else {}) | dict(zip(names, rest, strict=False))


def read_books(files: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Every morpheme of the books, in their order.

    Returns:
        characters uint8 [M, 10] (0 behind the end), language uint8 [M] (1 Hebrew, 2 Aramaic),
        begins uint8 [M] (1 begins a word, 2 goes on), tags uint8 [M, 7] (classes in the order of
        `CODES`), verse int32 [M] (its number from 0), book uint8 [verses] (its number from 0).
    """
    place = {letter: number for number, letter in enumerate(LETTERS, 1)}
    classes = [{c: i for i, c in enumerate(words, 1)} for words in CODES.values()]
    known: dict[str, list[int]] = {"": [0] * len(CODES)}
    letters: list[list[int]] = []
    tags: list[list[int]] = []
    facts: list[tuple[int, int, int]] = []
    book: list[int] = []
    for number, file in enumerate(files.values()):
        for verse in ElementTree.parse(file).iter(f"{NAMESPACE}verse"):
            for word in verse.iter(f"{NAMESPACE}w"):
                morph = word.attrib["morph"]
                # Letters of unusual size or place are elements of their own inside a word.
                forms = "".join(word.itertext()).split("/")
                for i, code in enumerate(morph[1:].split("/")):
                    if code not in known:
                        found = features(code)
                        known[code] = [
                            codes[found[name]] if name in found else 0
                            for name, codes in zip(CODES, classes, strict=True)
                        ]
                    shown = [place[c] for c in forms[i] if c in place]
                    letters.append(shown + [0] * (MOST_LETTERS - len(shown)))
                    tags.append(known[code])
                    facts.append((LANGUAGES[morph[0]], 1 if i == 0 else 2, len(book)))
            book.append(number)
    language, begins, verse_of = np.asarray(facts).T
    return {
        "characters": np.asarray(letters, np.uint8),
        "language": language.astype(np.uint8),
        "begins": begins.astype(np.uint8),
        "tags": np.asarray(tags, np.uint8),
        "verse": verse_of.astype(np.int32),
        "book": np.asarray(book, np.uint8),
    }
