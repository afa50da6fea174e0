"""The wheel is enough: installed outside the checkout it searches the demo."""

import email
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SEARCH = (
    *("search", "--limit", "24", "--parts", "mlp.down", "--repetitions", "2", "--epochs", "3"),
    *("--no-quarters", "--no-thorough", "--audit", "2"),
    "--output",
)
"""A search small enough for a test; the output folder follows."""
DONE = (0, 3)
"""Exit codes of a search that ran to its end: with so few edits it may find nothing good enough."""
DATA = (
    "locscope/models/demo",
    "locscope/edits/demo.json",
    "locscope/edits/facts.json",
    "locscope/evaluation/neutral.txt",
    "locscope/report/output/templates",
    "locscope/py.typed",
)
"""What the package needs besides code; every file of a folder."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, from a copy: building leaves things behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "locscope", source / "locscope", ignore=shutil.ignore_patterns("__pycache__")
    )
    build = ("build", "--wheel", "--no-isolation", "--outdir", str(out), str(source))
    _checked([sys.executable, "-m", *build], cwd=source)
    (found,) = out.glob("locscope-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed into."""
    target = tmp_path_factory.mktemp("installed")
    install = ("pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile")
    _checked([sys.executable, "-m", *install, "--target", str(target), str(wheel)], cwd=target)
    return target


def test_the_wheel_holds_all_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [file for name in DATA for file in _files(ROOT / name)]
    assert all(_files(ROOT / name) for name in DATA), "what is listed is there"
    missing = [name for file in wanted if (name := str(file.relative_to(ROOT))) not in names]
    assert wanted
    assert missing == []


def test_a_scan_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = _run(installed, tmp_path, "-c", "import locscope; print(locscope.__file__)")
    assert Path(where.stdout.strip()) == installed / "locscope" / "__init__.py"
    scans = ("--scans", "weight-gradient", "--limit", "8", "--output", "out")
    done = _run(installed, tmp_path, "-m", "locscope", "scan", *scans)
    assert done.returncode == 0, done.stderr[-4000:]
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_pip_installs_the_wheel_into_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    # Its dependencies are those of this environment: none is installed anew, and nothing fetched.
    inside = _checked([str(python), "-c", "import site; print(site.getsitepackages()[0])"], home)
    here = [path for path in sys.path if path.endswith("site-packages")]
    (Path(inside.strip()) / "here.pth").write_text("\n".join(here) + "\n")
    _checked(
        [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], home
    )
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = [str(home / "bin" / "locscope")]
    for command in ([*map(str, (python, "-m", "locscope"))], program):
        for words in (["list"], ["check", "--edits", "demo"], ["check"]):
            done = subprocess.run(
                [*command, *words], cwd=home, env=clean, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr[-2000:]
            assert done.stdout
    # What a shell asks at Tab, by the protocol of its completion.
    asked = {"_LOCSCOPE_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    asked["COMP_WORDS"] = "locscope check --edits fa"
    done = subprocess.run(
        program, cwd=home, env=clean | asked, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["facts"]), done.stderr[-2000:]
    where = _checked([str(python), "-c", "import locscope; print(locscope.__file__)"], home)
    assert where.startswith(inside.strip())


def test_what_pypi_shows_is_complete(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        (name,) = [one for one in content.namelist() if one.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(content.read(name))
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["Summary"]
    # The classifiers of licences and the expression exclude each other.
    assert not [one for one in metadata.get_all("Classifier", []) if one.startswith("License")]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == metadata["Version"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


@pytest.mark.slow
def test_a_search_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    done = _run(installed, tmp_path, "-m", "locscope", *SEARCH, "out")
    assert done.returncode in DONE, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert (tmp_path / "out" / "recommendation.yaml").is_file()
    assert (tmp_path / "out" / "report.html").is_file()


def _files(place: Path) -> list[Path]:
    inside = (file for file in place.rglob("*") if "__pycache__" not in file.parts)
    return [place] if place.is_file() else [file for file in inside if file.is_file()]


def _run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _checked(command: Sequence[str], cwd: Path) -> str:
    """What it printed; it has to end well, and does not see this checkout."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout
