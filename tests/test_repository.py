"""What holds for every file: nothing unpickled, nothing printed, small files, links that lead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "src" / "polytask"
MODULES = sorted(LIBRARY.rglob("*.py"))
PROGRAMS = [
    file
    for folder in ("src", "tests", "benchmarks", "examples", "docs")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]

RUNS_CODE = {
    "pickle", "cPickle", "dill", "cloudpickle", "jsonpickle", "shelve", "marshal", "joblib",
}  # fmt: skip
"""Modules whose files can run code when they are read."""
FORBIDDEN = {
    "eval", "exec", "torch.save", "torch.jit.load", "pd.read_pickle", "pandas.read_pickle",
    "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all",
}  # fmt: skip
SAFE_LOADERS = {"_strict_loader()", "yaml.SafeLoader", "yaml.CSafeLoader"}


def called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call with what is called, as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def unsafe(source: str) -> list[str]:
    """What in a module could run code out of a file, or writes what needs that to be read."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [name for name in names if name.partition(".")[0] in RUNS_CODE]
    for name, call in called(tree):
        if name in FORBIDDEN:
            found.append(name)
        elif name == "torch.load" and keyword(call, "weights_only") != "True":
            found.append("torch.load without weights_only=True")
        elif name == "yaml.load":
            loader = keyword(call, "Loader") or ast.unparse(call.args[1])
            if loader not in SAFE_LOADERS:
                found.append(f"yaml.load with {loader}")
        elif keyword(call, "allow_pickle") not in (None, "False"):
            found.append(f"{name} with allow_pickle")
    return found


def loud(source: str) -> list[str]:
    """What in a module writes to the screen or configures anybody's logging."""
    found = []
    for name, call in called(ast.parse(source)):
        direct = name in {"print", "sys.stdout.write", "sys.stderr.write", "warnings.showwarning"}
        # logging.info() and its like set the root logger up when nobody has.
        module = re.fullmatch(r"logging\.(basicConfig|debug|info|warning|error|exception)", name)
        root = name.endswith("getLogger") and not call.args
        if direct or module or root or name.startswith("logging.root."):
            found.append(name)
        if name.endswith("getLogger") and call.args:
            given = ast.unparse(call.args[0])
            if not re.fullmatch(r"__name__|name|'polytask(\.\w+)*'", given):
                found.append(f"a logger outside the tree: {given}")
    return found


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("import pickle", 1),
        ("from joblib import load", 1),
        ("torch.load(f)", 1),
        ("torch.load(f, weights_only=False)", 1),
        ("torch.load(f, weights_only=True)", 0),
        ("yaml.load(f, yaml.Loader)", 1),
        ("yaml.load(f, Loader=yaml.SafeLoader)", 0),
        ("np.load(f, allow_pickle=True)", 1),
        ("np.load(f)", 0),
    ],
)
def test_the_check_of_reading_sees(source: str, wrong: int) -> None:
    assert len(unsafe(source)) == wrong


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("print(1)", 1),
        ("console.print(1)", 0),
        ("logging.warning('x')", 1),
        ("logger.warning('x')", 0),
        ("logging.getLogger()", 1),
        ("logging.getLogger('other')", 1),
        ("logging.getLogger('polytask.study')", 0),
    ],
)
def test_the_check_of_printing_sees(source: str, wrong: int) -> None:
    assert len(loud(source)) == wrong


def test_no_file_can_run_code_when_it_is_read() -> None:
    found = {str(f.relative_to(ROOT)): unsafe(f.read_text(encoding="utf-8")) for f in MODULES}
    assert {name: what for name, what in found.items() if what} == {}


def test_the_yaml_of_the_command_line_is_safe() -> None:
    from polytask.cli._config import _strict_loader

    assert issubclass(_strict_loader(), yaml.SafeLoader)


def test_the_library_prints_nothing() -> None:
    speakers = {LIBRARY / "verbosity.py"}
    quiet = [f for f in MODULES if f not in speakers and LIBRARY / "cli" not in f.parents]
    assert len(quiet) > 100
    found = {str(f.relative_to(ROOT)): loud(f.read_text(encoding="utf-8")) for f in quiet}
    assert {name: what for name, what in found.items() if what} == {}


def test_types_are_published() -> None:
    assert (LIBRARY / "py.typed").read_bytes() == b""


def test_files_are_small() -> None:
    sizes = {str(f.relative_to(ROOT)): len(f.read_bytes().splitlines()) for f in PROGRAMS}
    assert {name: size for name, size in sizes.items() if size > 500} == {}


def test_nothing_is_left_to_be_done_and_no_machine_is_named() -> None:
    words = re.compile("TO" + "DO|FIX" + "ME|XX" + "X|/(?:home|root|Users)" + r"/\w")
    found = {
        str(f.relative_to(ROOT)): words.findall(f.read_text(encoding="utf-8"))
        for f in (*PROGRAMS, *PAGES)
    }
    assert {name: what for name, what in found.items() if what} == {}


def test_the_form_for_bugs_asks_for_what_is_needed() -> None:
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    form = yaml.safe_load((folder / "bug.yml").read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    fields = {field["id"]: field for field in form["body"]}
    assert len(fields) == len(form["body"])
    assert "`polytask env`" in fields["env"]["attributes"]["label"]
    required = [name for name, field in fields.items() if field.get("validations")]
    assert required == ["what", "command", "env"]
    assert yaml.safe_load((folder / "config.yml").read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page are linked."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []
