"""Does the wheel hold the package, all of it and nothing else? Does the sdist hold no more?

`python .ci/check_dist.py dist`, after the build.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(folder: Path) -> None:
    """Look into the one wheel and the one sdist of a folder; exits with what is wrong."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (entry_points,) = [n for n in names if n.endswith(".dist-info/entry_points.txt")]
        command = "polytask = polytask.cli:main" in archive.read(entry_points).decode()
    held = {name for name in names if ".dist-info/" not in name}
    source = {
        file.relative_to(ROOT / "src").as_posix()
        for file in (ROOT / "src" / "polytask").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    must = {"polytask/py.typed", "polytask/__init__.pyi"}
    wrong = [f"the wheel lacks {name}" for name in sorted((source | must) - held)]
    wrong += [f"the wheel also holds {name}" for name in sorted(held - source)]
    if not any(name.endswith(".css") for name in held):
        wrong.append("the wheel holds no style sheet")
    if not any(name.endswith(".html.j2") for name in held):
        wrong.append("the wheel holds no template")
    if not command:
        wrong.append("the wheel brings no command")
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        wrong.append("the wheel brings no licence")
    with tarfile.open(sdist) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if "/" in name}
    expected = {
        "CHANGELOG.md", "CITATION.cff", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "src",
    }  # fmt: skip
    wrong += [f"the sdist also holds {name}" for name in sorted(tops - expected - {".gitignore"})]
    wrong += [f"the sdist lacks {name}" for name in sorted(expected - tops)]
    if wrong:
        sys.exit("\n".join(wrong))
    size = wheel.stat().st_size / 1024
    print(
        f"{wheel.name}: {len(held)} files, {size:.0f} KiB; {sdist.name}: {', '.join(sorted(tops))}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
