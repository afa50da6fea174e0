"""The documentation says what there is: links lead somewhere, commands parse, examples run."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import plotly.io
import pytest
import typer
import yaml

import locscope
from locscope.cli.app import COMMANDS
from locscope.edits.formats import FORMATS
from locscope.evaluation.measures import MEASURES
from locscope.locations import Location
from locscope.scans import SCANS
from locscope.scoring.objectives import OBJECTIVES
from locscope.selection.strategies import STRATEGIES
from locscope.tuning.protocols import PROTOCOLS
from locscope.tuning.recipes import RECIPES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # analyses/ is not part of the installed package

from analyses.doc_pictures import LARGEST, PICTURES  # noqa: E402

PAGES = ROOT / "docs" / "pages"
TEXTS = {
    path.relative_to(PAGES).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(PAGES.rglob("*.md"))
}
EACH = pytest.mark.parametrize("name", TEXTS)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`((?:analyses|docs|locscope|notebooks|reports|tests)/[\w./-]+)`")
TEST = re.compile(r"`(test_\w+)`")
SCRIPT = re.compile(r"python -m (analyses\.[\w.]+)")
TO_BE_WRITTEN = {"spectral_norm", "from_the_middle", "riddles"}
"""Files that the pages on extending tell the reader to write."""
NOT_OURS = re.compile(
    r"\b(exams?|desks?|glances?|trunk|twin|ladder|guests?|sitting)\b", re.IGNORECASE
)
"""Words that the code has given up for standard terms."""
SMALL = {
    **{"limit": 24, "parts": ("mlp.down",), "quarters": False, "audit": 0, "thorough": False},
    **{"controls": 1, "repetitions": 1, "validations": 1, "epochs": 2, "progress": False},
}
"""What makes a search of the pages small enough to run here."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def flat(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", t.lower())).strip("-") for t in titles}


def table(text: str) -> list[list[str]]:
    """The rows of all tables, cells without white space around them and without back quotes."""
    lines = (line for line in text.splitlines() if line.startswith("| "))
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def commands(program: str) -> list[str]:
    lines = [
        line
        for text in TEXTS.values()
        for block in blocks(text, "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return sorted({" ".join(line.split()) for line in lines if line.startswith(f"{program} ")})


def navigation(entry: Any) -> list[str]:
    """The pages of a navigation, in order."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in navigation(part)]


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = navigation(settings["nav"])
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(TEXTS)
    # Written apart from the others; it enters the navigation with its text.
    assert set(TEXTS) - set(listed) <= {"reliability.md"}


@EACH
def test_links_lead_to_pages_sections_and_pictures(name: str) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", TEXTS[name])):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (PAGES / name).parent / path if path else PAGES / name
        there = target.read_text(encoding="utf-8") if anchor and target.is_file() else ""
        if not target.is_file() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


@EACH
def test_files_and_scripts_that_are_named_are_there(name: str) -> None:
    named = [path for path in FILE.findall(TEXTS[name]) if Path(path).stem not in TO_BE_WRITTEN]
    missing = [path for path in named if not (ROOT / path).exists()]
    scripts = [script.rstrip(".") for script in SCRIPT.findall(TEXTS[name])]
    missing += [one for one in scripts if not (ROOT / f"{one.replace('.', '/')}.py").is_file()]
    assert missing == []


@EACH
def test_terms_are_those_of_the_code(name: str) -> None:
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", TEXTS[name]))
    assert NOT_OURS.findall(prose) == []


def test_pictures_are_small_and_shown() -> None:
    pictures = {path.name for path in (PAGES / "images").iterdir()}
    shown = {Path(link).name for text in TEXTS.values() for link in LINK.findall(text)}
    assert pictures <= shown
    made = {f"{name}.png" for group in PICTURES.values() for name in group}
    assert pictures == made | {"search.svg"}
    large = [path.name for path in (PAGES / "images").iterdir() if path.stat().st_size > LARGEST]
    assert large == []


@pytest.mark.parametrize("command", commands("locscope"))
def test_a_command_parses(command: str) -> None:
    verb, *words = shlex.split(command, comments=True)[1:]
    assert verb in COMMANDS
    module = importlib.import_module(COMMANDS[verb].module)
    parsed = typer.main.get_group(module.commands).commands[verb].make_context(verb, words).params
    tables = {"strategy": STRATEGIES, "objective": OBJECTIVES, "recipe": RECIPES}
    for option, names in tables.items():
        assert parsed.get(option) in (None, *names)
    assert set(split(parsed.get("scans"))) <= {*SCANS, "cheap", "all"}
    assert set(split(parsed.get("recipes"))) <= {*RECIPES, "every"}
    if parsed.get("location"):
        Location.parse(parsed["location"])


def split(value: Any) -> list[str]:
    return value.split(",") if isinstance(value, str) else list(value or ())


@pytest.mark.parametrize("command", commands("make"))
def test_a_make_command_has_a_target(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {word for word in shlex.split(command, comments=True)[1:] if "=" not in word} <= targets


@pytest.mark.parametrize("scan", SCANS)
def test_a_scan_has_a_section_with_what_its_entry_says(scan: str) -> None:
    entry = SCANS[scan]
    sections = TEXTS["guide/scans.md"].split("\n### ")
    section = next(text for text in sections if text.startswith(f"{entry.title}\n"))
    assert f"`{scan}`" in section
    for words in (f"{entry.cost} (`{entry.passes}` passes)", f"**Source:** {entry.source}"):
        assert words in flat(section)
    assert {"Cost", "Reading it", "Misleads", "Source"} <= set(re.findall(r"\*\*(.+?):", section))


@pytest.mark.parametrize(
    ("page", "entries"),
    [("guide/measures.md", MEASURES), ("guide/recipes.md", RECIPES)],
    ids=["measures", "recipes"],
)
def test_an_entry_is_described_as_in_its_table(page: str, entries: dict[str, Any]) -> None:
    text = flat(TEXTS[page]).replace("&#124;", "|")
    missing = [
        name
        for name, entry in entries.items()
        if f"| {entry.note} | {entry.source} |" not in text or f"| `{name}`" not in text
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("page", "entries"),
    [
        ("guide/search.md", STRATEGIES),
        ("guide/objectives.md", OBJECTIVES),
        ("guide/measures.md", PROTOCOLS),
        ("guide/edits.md", dict.fromkeys(FORMATS["own"].reads)),
    ],
    ids=["strategies", "objectives", "protocols", "fields"],
)
def test_an_entry_has_a_row(page: str, entries: dict[str, Any]) -> None:
    rows = {row[0].split("`")[0] for row in table(TEXTS[page])}
    assert set(entries) <= rows


def test_extras_are_those_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = TEXTS["install.md"]
    assert [name for name in project["optional-dependencies"] if f"`{name}`" not in text] == []


def test_counts_are_those_of_the_tables() -> None:
    text = TEXTS["about/comparison.md"]
    assert f"{len(SCANS)} scans" in text
    assert f"{len(RECIPES)} recipes" in text


def test_figures_are_those_of_the_reports() -> None:
    """Tables that are taken from a report have its numbers."""
    report = {
        name: table((ROOT / "reports" / f"{name}.md").read_text())
        for name in ("planted", "scorecard_models", "masks")
    }
    planted = {
        tuple(r[:2]): (r[4].split()[0], r[6].split()[0]) for r in report["planted"] if len(r) == 15
    }
    pooled = {tuple(r[:2]): r[4] for r in report["scorecard_models"] if len(r) == 9}
    masks = {
        r[0]: tuple(r[i].split(" (")[0] for i in (1, 7, 8, 9, 10, 11, 14))
        for r in report["masks"]
        if len(r) == 16
    }
    scans = [row for row in table(TEXTS["guide/scans.md"]) if row[0] in SCANS]
    recipes = [
        row for row in table(TEXTS["guide/recipes.md"]) if row[0] in RECIPES and len(row) == 8
    ]
    assert {row[0] for row in scans} == set(SCANS)
    assert {row[0] for row in recipes} == set(RECIPES)
    assert [r for r in scans if (*r[2:4], r[4]) != (*planted[r[0], r[1]], pooled[r[0], r[1]])] == []
    assert [row for row in recipes if tuple(row[1:]) != masks[row[0]]] == []


def searches(name: str) -> bool:
    return any("locscope.search(" in block for block in blocks(TEXTS[name], "python"))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if searches(name) else [])
        for name, text in TEXTS.items()
        if blocks(text, "python")
    ],
)
def test_the_examples_of_a_page_run(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "cache"))
    # An example may set it; pictures need Kaleido, and tests that follow draw none.
    monkeypatch.setattr(plotly.io.renderers, "default", plotly.io.renderers.default)
    search = locscope.search
    monkeypatch.setattr(
        locscope, "search", lambda *given, **more: search(*given, **more | SMALL), raising=False
    )
    tables: tuple[dict[str, Any], ...] = (FORMATS, MEASURES, SCANS, STRATEGIES, RECIPES)
    before = [dict(entries) for entries in tables]
    names: dict[str, Any] = {}
    try:
        for block in blocks(TEXTS[name], "python"):
            exec(compile(block, name, "exec"), names)
    finally:
        for entries, were in zip(tables, before, strict=True):
            entries.clear()
            entries.update(were)


# CI builds the site itself: `make site`.
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs locscope[docs]")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    build += ["--config-file", str(ROOT / "docs" / "mkdocs.yml"), "--site-dir", str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file()


def test_tests_that_prove_a_promise_are_there() -> None:
    named = TEST.findall(TEXTS["about/reliability.md"])
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {
        name for text in files for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    }
    assert len(named) > 40
    assert [name for name in named if name not in defined] == []
