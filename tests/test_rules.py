"""The rules of CONTRIBUTING.md that no other tool checks."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from locscope.edits import FORMATS
from locscope.evaluation.measures import MEASURES
from locscope.scans import SCANS
from locscope.tuning.recipes import RECIPES

ROOT = Path(__file__).parents[1]
FUNCTION_LINES = 60
FILE_LINES = 300
FOLDER_FILES, SHORT_FILE, DATACLASSES = 15, 40, 132
HOOKS = "locscope/interp/hooked_model.py"
"""The only file that may hook into a model, within a `with`."""
FOLDERS = {".ci", "analyses", "docs", "locscope", "notebooks", "reports", "tests"}
FILES = {
    *(".gitignore", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile"),
    *("README.md", "constraints.txt", "constraints-lowest.txt", "pyproject.toml"),
}
TABLES: dict[str, tuple[Mapping[str, Any], str]] = {
    "locscope/edits": (FORMATS, "(row) -> Edit"),
    "locscope/evaluation/measures": (MEASURES, "(now, before) -> Measure"),
    "locscope/scans": (SCANS, "(context) -> Findings"),
    "locscope/tuning/recipes": (RECIPES, "(recipe_input) -> tuple[TunedPart, ...]"),
}
"""Folder of a table, the table, and the signature that functions of its entries alone have."""
TABLES_AND_NUMBERS = (
    *("locscope.edits.splits", "locscope.errors", "locscope.locations", "locscope.records"),
    *("locscope.recommendation.finalists", "locscope.report.data", "locscope.runs"),
    *("locscope.scorecard", "locscope.scoring", "locscope.selection", "locscope.settings"),
)
"""What scripts of `analyses/` import besides the API: records and plain functions of them, which
run no model; whatever runs one is asked of the API, as a researcher would."""
NOT_ON_THE_API: dict[str, tuple[str, ...]] = {
    # Where the user's cache is, and the names of the models that it may hold.
    "analyses/fetch_real.py": ("locscope.models.gguf",),
    # An experiment splits at least ten edits in three. The paper tunes all edits of a file, and its
    # run folders are those of `EditSettings`: hours of trials of models with 8B weights.
    "analyses/locft_parts/running.py": (
        *("locscope.edits", "locscope.execution.local", "locscope.models.load"),
        *("locscope.progress", "locscope.tuning", "locscope.workflows"),
    ),
    "analyses/reproduce_locft.py": (
        *("locscope.cli.listener", "locscope.models", "locscope.progress"),
        "locscope.workflows.workspace",
    ),
    # lm-eval is asked of tuned weights, which no record keeps: they are put into the model here.
    "analyses/locft_parts/capability.py": ("locscope.models",),
    # A constant of the recipe, for the sentence on how it differs from the paper's code.
    "analyses/locft_parts/report.py": ("locscope.tuning.breadth_first",),
}
"""Scripts that import more, with those modules."""
# Written so that this file does not match.
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:work|root|home|Users)/\w")

SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("locscope", "analyses")
    for path in (ROOT / folder).rglob("*.py")
)
PACKAGE = [name for name in SOURCES if name.startswith("locscope/")]


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def _functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Everything that is called, by its last name: `f` of `f()` and of `a.f()`."""
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.func.id if isinstance(node.func, ast.Name) else node.func.attr, node


def _tracked() -> list[str]:
    """Paths of all files under version control."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not in a git checkout")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", SOURCES)
def test_a_file_is_short_and_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(_tree(name)), f"{name} has no docstring"
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= FILE_LINES


def test_folders_and_files_are_of_a_size_to_find_things_in() -> None:
    files = [Path(name) for name in PACKAGE]
    folders = Counter(path.parent.as_posix() for path in files)
    assert {folder: n for folder, n in folders.items() if n > FOLDER_FILES} == {}
    short = [
        path.as_posix()
        for path in files
        if path.name not in ("__init__.py", "__main__.py")
        if len((ROOT / path).read_text(encoding="utf-8").splitlines()) < SHORT_FILE
    ]
    assert short == [], "merge it with what it belongs to"


def test_dataclasses_do_not_grow_in_number() -> None:
    """A record earns its place; their number may fall, and then the limit with it."""
    records = [
        f"{name}:{node.name}"
        for name in PACKAGE
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.ClassDef)
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    assert len(records) <= DATACLASSES


@pytest.mark.parametrize("name", SOURCES)
def test_functions_are_short(name: str) -> None:
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in _functions(name)}
    assert {f: lines for f, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_functions_are_mostly_about_ten_lines() -> None:
    """Lines of code, without docstrings, comments and blank lines, over the whole package."""
    counts = sorted(
        _code_lines(lines, function)
        for name in PACKAGE
        for lines in [(ROOT / name).read_text(encoding="utf-8").splitlines()]
        for function in _functions(name)
    )
    median, most = counts[len(counts) // 2], counts[-1]
    assert (median <= 7, counts[len(counts) * 9 // 10] <= 18, most <= 52) == (True,) * 3


def _code_lines(lines: Sequence[str], function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    documented = ast.get_docstring(function) is not None
    first = function.body[0]
    words = range(first.lineno, (first.end_lineno or first.lineno) + 1) if documented else ()
    own = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    code = (lines[n - 1].strip() for n in own if n not in words)
    return sum(bool(line) and not line.startswith("#") for line in code)


def test_hooks_are_made_in_one_file() -> None:
    hooks = [
        f"{name}:{call.lineno}"
        for name in PACKAGE
        for called, call in _calls(name)
        if called.startswith("register_") or (called == "add_hook" and name != HOOKS)
    ]
    assert hooks == []


def test_the_package_does_not_print() -> None:
    """Results go through the command line's console; one line of an error names its stream."""
    prints = [
        f"{name}:{call.lineno}"
        for name in PACKAGE
        for called, call in _calls(name)
        if isinstance(call.func, ast.Name) and called == "print"
        if not any(keyword.arg == "file" for keyword in call.keywords)
    ]
    assert prints == []


def _signature(function: ast.FunctionDef) -> str:
    names = ", ".join(argument.arg for argument in function.args.args)
    return f"({names}) -> {ast.unparse(function.returns or ast.Constant(None))}"


@pytest.mark.parametrize("folder", TABLES)
def test_every_function_of_a_kind_has_an_entry_in_its_table(folder: str) -> None:
    table, signature = TABLES[folder]
    functions = {
        f"{name.removesuffix('.py').replace('/', '.')}:{node.name}"
        for name in PACKAGE
        if name.startswith(f"{folder}/")
        for node in _tree(name).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        if _signature(node) == signature
    }
    assert {entry.function for entry in table.values()} == functions
    assert {name: entry.name for name, entry in table.items()} == {name: name for name in table}


@pytest.mark.parametrize("name", [one for one in SOURCES if one.startswith("analyses/")])
def test_a_script_reads_the_options_that_it_takes(name: str) -> None:
    """A typo is seen when the script runs, which may be once a year."""
    calls = [call for called, call in _calls(name) if called.endswith("add_argument")]
    given = [argument for call in calls for argument in call.args]
    if any(not isinstance(argument, ast.Constant) for argument in given):
        pytest.skip("its options are made in a loop")
    taken = {
        str(a.value).lstrip("-").replace("-", "_") for a in given if isinstance(a, ast.Constant)
    }
    read = {
        node.attr
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id in ("args", "options")
    }
    assert not taken or read <= taken


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if name.startswith("analyses/") and "/bench_" not in name]
)
def test_a_script_takes_what_it_needs_from_the_api(name: str) -> None:
    """Benchmarks (`bench_*`) measure internals and may import them."""
    imported = {
        module
        for node in ast.walk(_tree(name))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if module.startswith("locscope.")
    }
    allowed = (*TABLES_AND_NUMBERS, *NOT_ON_THE_API.get(name, ()))
    assert {m for m in imported if not any(f"{m}.".startswith(f"{a}.") for a in allowed)} == set()


def test_exceptions_from_the_api_are_needed() -> None:
    needed = {
        name: {m for m in modules if f"from {m}" in (ROOT / name).read_text(encoding="utf-8")}
        for name, modules in NOT_ON_THE_API.items()
    }
    assert needed == {name: set(modules) for name, modules in NOT_ON_THE_API.items()}


def test_the_root_is_tidy() -> None:
    tracked = [Path(name) for name in _tracked()]
    assert {path.parts[0] for path in tracked if len(path.parts) > 1} <= FOLDERS
    assert {path.name for path in tracked if len(path.parts) == 1} <= FILES


def test_no_path_of_one_machine() -> None:
    found = []
    for name in _tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {match.group()}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_the_readme_begins_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.search(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert first is not None
    commands = [line.partition("#")[0].strip() for line in first[1].splitlines()]
    assert commands == ["make search", "make test"]
