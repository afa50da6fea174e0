"""A tiny random model on disk, edits for it, and one finished search of both."""

import json
from pathlib import Path

import pytest
from families import save_tiny
from towns import edit_rows

from locscope.progress import Silent
from locscope.settings import SearchSettings
from locscope.workflows.publish import Found
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.run import search


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny", "llama")


@pytest.fixture(scope="session")
def edits_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edits") / "mine.json"
    path.write_text(json.dumps(edit_rows()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def settings(tiny_dir: Path, edits_file: Path) -> SearchSettings:
    return SearchSettings(
        model=str(tiny_dir),
        edits=str(edits_file),
        parts=("mlp.down", "attn"),
        finalists=2,
        audit=3,
        recipes=("lora",),
        repetitions=2,
        validations=2,
        controls=2,
        epochs=6,
    )


@pytest.fixture(scope="session")
def plain(settings: SearchSettings) -> SearchSettings:
    """The same search without what is added to its recommendation."""
    return settings.model_copy(update={"recipes": (), "audit": 0, "thorough": False})


@pytest.fixture(scope="session")
def found(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return search(plan_search(settings, tmp_path_factory.mktemp("runs") / "run"), Silent())
