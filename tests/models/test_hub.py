"""Models by hub id: from the cache, and why not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from families import save_tiny
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from locscope.errors import UsageError
from locscope.models.hub import UNWANTED, WANTED, locate
from locscope.models.load import load, peek

ID = "some-org/some-model"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved llama that tests read only."""
    return save_tiny(tmp_path_factory.mktemp("saved") / "llama", "llama")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[list[str]]]:
    """Makes a hub of a function (or an error); gives the list of what is asked of it."""

    def install(answer: Any) -> list[list[str]]:
        asked: list[list[str]] = []

        def download(hub_id: str, local_files_only: bool, allow_patterns: list[str], **_: Any):
            if local_files_only:
                raise LocalEntryNotFoundError("not cached")
            asked.append(allow_patterns)
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: False)
        return asked

    return install


def test_a_hub_id_offline_says_to_download_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("some-org/some-model", "llama-3-8b"):
        with pytest.raises(UsageError, match="not on this machine, and we are offline: download"):
            load(name)


def test_a_hub_id_in_the_cache_is_loaded_offline(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit = "0" * 40
    cached = tmp_path / "models--some-org--some-model"
    shutil.copytree(saved, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    info = load("some-org/some-model", device="cpu").info
    assert (info.name, info.source) == ("some-org/some-model",) * 2
    assert info.hash == peek(str(saved)).hash


def test_a_model_is_downloaded_config_first(saved: Path, online: Callable[[Any], list[list[str]]]):
    asked = online(saved)
    assert locate(ID) == saved
    assert asked[0] == ["config.json"]
    assert "*.safetensors" in asked[1]
    assert not any("bin" in pattern for pattern in asked[1])


def test_the_files_of_a_checkpoint_are_downloaded_and_no_other():
    mine = ["config.json", "chat_template.jinja", "additional_chat_templates/tools.jinja"]
    mine += ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "LICENSE.txt"]
    # The last says what an edited model was made from.
    mine += ["tokenizer.model", "adapter_config.json", "locscope.json"]
    others = ["original/config.json", "onnx/model.safetensors", "consolidated.safetensors"]
    others += ["pytorch_model.bin", "optimizer.pt", "modeling_x.py", "runs/LICENSE", "trainer.json"]
    others += ["additional/model.safetensors", "additional_chat_templates/more/x.jinja"]
    found = filter_repo_objects([*mine, *others], allow_patterns=WANTED, ignore_patterns=UNWANTED)
    assert list(found) == mine


def test_what_cannot_be_tuned_is_not_downloaded(
    tmp_path: Path, online: Callable[[Any], list[list[str]]]
):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert-of-mine"}))
    asked = online(tmp_path)
    with pytest.raises(UsageError, match="model type 'bert-of-mine'"):
        locate(ID)
    assert asked == [["config.json"]]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatedRepoError.__new__(GatedRepoError), "is gated: accept its licence"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), f"no model '{ID}' on the hub"),
        (
            OSError("the line is dead\nmore"),
            r"the hub cannot be asked for it \(the line is dead\): download it",
        ),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(
    error: Exception, words: str, online: Callable[[Any], list[list[str]]]
):
    online(error)
    with pytest.raises(UsageError, match=words) as caught:
        locate(ID)
    assert "\n" not in str(caught.value)
