"""Names of models."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from locscope.errors import UsageError
from locscope.models.aliases import ALIASES, DEMO, name_of, resolve


def test_the_table_is_lower_case_and_leads_to_hub_ids():
    for alias, hub_id in ALIASES.items():
        assert alias == alias.lower()
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", hub_id), alias


@pytest.mark.parametrize("name", ["llama-3-8b", "Llama-3-8B", "LLAMA-3-8B"])
def test_an_alias_is_found_in_any_case(name: str):
    assert resolve(name) == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert name_of(resolve(name)) == "meta-llama/Meta-Llama-3-8B-Instruct"


def test_demo_is_the_bundled_directory_even_beside_a_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("demo") == DEMO
    assert name_of(resolve("demo")) == "demo"
    assert resolve("./demo") == tmp_path.resolve() / "demo"


def test_a_folder_of_the_hubs_cache_is_the_snapshot_of_main_and_has_the_models_name(
    tmp_path: Path,
):
    cache = tmp_path / "models--org--name"
    for commit in ("0a1", "b2c"):
        (cache / "snapshots" / commit).mkdir(parents=True)
    with pytest.raises(UsageError, match=r"2 snapshots and no refs/main.*snapshots/0a1"):
        resolve(str(cache))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("b2c\n")
    found = resolve(str(cache))
    assert found == cache.resolve() / "snapshots" / "b2c"
    assert name_of(found) == "org/name"
    (cache / "refs" / "main").write_text("../../elsewhere")
    with pytest.raises(UsageError, match="2 snapshots"):
        resolve(str(cache))


def test_a_directory_named_like_an_alias_or_a_hub_id_is_that_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "gpt2-small").mkdir()
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("gpt2-small") == tmp_path.resolve() / "gpt2-small"
    assert resolve("org/name") == tmp_path.resolve() / "org" / "name"
    assert name_of(resolve("org/name")) == "name"


def test_organisation_and_name_is_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert resolve("some-org/Some.Model_1") == "some-org/Some.Model_1"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lama-3-8b", ["unknown model 'lama-3-8b'", "did you mean", "llama-3-8b"]),
        ("QWEN2.5-0.6B", ["unknown model 'QWEN2.5-0.6B'", "qwen2.5-0.5b"]),
        ("zzzz", ["unknown model 'zzzz'", "directory", "locscope list models"]),
        ("", ["unknown model ''"]),
        ("./nowhere", ["no directory './nowhere'"]),
        ("/no/such/place", ["no directory '/no/such/place'"]),
        ("a/b/c", ["no directory 'a/b/c'"]),
        ("~nobody/model", ["no directory '~nobody/model'"]),
    ],
)
def test_other_names_are_refused_in_one_line(name: str, words: list[str]):
    with pytest.raises(UsageError) as caught:
        resolve(name)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_file_is_refused(tmp_path: Path):
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(UsageError, match="is a file: give the directory"):
        resolve(str(file))


def test_no_torch_is_imported():
    code = "import sys, locscope.models.aliases; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
