"""Pushing to the hub: through one function of its API, which is stood in for here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from families import save_tiny
from typer.testing import CliRunner

from locscope.cli.app import app
from locscope.errors import LocscopeError, UsageError
from locscope.integrations import hub

TOKEN = "hf_" + "a1B2c3D4e5F6g7H8i9J0"


class Api:
    """What the hub's library would do; it fails where `problem` says so."""

    def __init__(self, problem: str = "", where: str = "") -> None:
        self.problem, self.where, self.calls = problem, where, list[tuple[str, dict[str, Any]]]()

    def _called(self, name: str, **told: Any) -> Any:
        self.calls.append((name, told))
        if self.where == name:
            raise OSError(self.problem)
        return SimpleNamespace(repo_id=told.get("repo"))

    def whoami(self) -> None:
        self._called("whoami")

    def create_repo(self, name: str, **told: Any) -> Any:
        self._called("create_repo", repo=name, **told)
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{name}")

    def upload_folder(self, **told: Any) -> None:
        self._called("upload_folder", **told)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    made = Api()
    monkeypatch.setattr(hub, "_api", lambda: made)
    monkeypatch.setattr(huggingface_hub.constants, "is_offline_mode", lambda: False)
    return made


def test_an_edited_model_is_pushed_with_its_card(api: Api, tmp_path: Path) -> None:
    base, out = save_tiny(tmp_path / "tiny", "llama"), tmp_path / "edited"
    words = ["edit", "--model", str(base), "--location", "L1.mlp.down", "--limit", "4"]
    words += ["--lr", "1e-3", "--epochs", "1", "--output", str(out), "--push-to-hub", "me/edited"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code in {0, 3}, done.output
    assert [name for name, _ in api.calls] == ["whoami", "create_repo", "upload_folder"]
    assert api.calls[1][1]["private"] is True
    told = api.calls[2][1]
    assert (told["folder_path"], told["repo_id"]) == (str(out), "me/edited")
    assert "L1.mlp.down" in told["commit_message"]
    assert (out / "README.md").is_file()
    assert "pushed to https://huggingface.co/me/edited" in done.stderr


@pytest.mark.parametrize("name", ["edited", "me/", "me/a b", "me/../x", "a/b/c", "me/x.git"])
def test_what_is_no_repository_is_refused(name: str, api: Api) -> None:
    with pytest.raises(UsageError, match="write ORG/NAME"):
        hub.check_hub(name)
    assert api.calls == []


def test_nothing_is_tuned_where_nobody_is_logged_in(api: Api, tmp_path: Path) -> None:
    api.where, api.problem = "whoami", f"401: token {TOKEN} is invalid\nmore"
    words = ["edit", "--location", "L1.mlp", "--output", str(tmp_path / "o")]
    done = CliRunner().invoke(app, [*words, "--push-to-hub", "me/edited"])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "nobody is logged in" in line
    assert "hf auth login" in line
    assert TOKEN not in done.output
    assert not (tmp_path / "o").exists()


def test_offline_it_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="we are offline"):
        hub.check_hub("me/edited")


def test_a_push_that_fails_says_how_to_try_again(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secretvalue123")
    api.where, api.problem = "upload_folder", f"timed out for secretvalue123 and {TOKEN}"
    with pytest.raises(LocscopeError, match=f"`hf upload me/edited {tmp_path}`") as caught:
        hub.push(tmp_path, "me/edited", "a message")
    assert caught.value.exit_code == 1
    assert "secretvalue123" not in str(caught.value)
    assert TOKEN not in str(caught.value)
