"""Every message in one table: `python -m tests.bad_input [WORD...] > table.md`.

With words, only the cases whose name or door holds one of them.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

from . import CASES, attempt


def main(words: list[str]) -> None:
    """Carry the cases out and print what each says."""
    warnings.simplefilter("error")
    print("| case | door | message |\n| --- | --- | --- |")
    for case in CASES:
        if words and not any(word in case.name or word in case.through for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcome = attempt(case, Path(folder).resolve())
        message = outcome.message.replace(folder, "~")
        cells = (
            " ".join(c.replace("|", "\\|").split()) for c in (case.name, case.through, message)
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
