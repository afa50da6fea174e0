"""A tiny random model on disk, edits for it, and one finished search of both."""

import json
from pathlib import Path

import pytest
from families import save_tiny

from locscope.progress import Silent
from locscope.settings import SearchSettings
from locscope.verbs.plan import plan_search
from locscope.verbs.search import Found, search

TOWNS = ("Oslo", "Lima", "Rome", "Bern", "Kyiv", "Baku", "Doha", "Male", "Suva", "Apia")


def edit_rows(count: int = 20) -> list[dict]:
    """Edits of made-up subjects; every other has a neighbour."""
    return [
        {
            "id": f"e{i}",
            "prompt": f"The capital of land{i} is",
            "target": TOWNS[i % len(TOWNS)],
            "subject": f"land{i}",
            "rephrases": [f"land{i} is ruled from"],
            "neighbours": [{"prompt": f"The river of place{i} is", "answer": "Po"}] * (i % 2),
        }
        for i in range(count)
    ]


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
        share=0.5,
        epochs=12,
    )


@pytest.fixture(scope="session")
def found(settings: SearchSettings, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return search(plan_search(settings, tmp_path_factory.mktemp("runs") / "run"), Silent())
