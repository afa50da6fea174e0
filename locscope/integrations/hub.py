"""A saved model on the Hugging Face hub: one function of its API, which never sees a token.

The token is that of `hf auth login` or HF_TOKEN; the library reads it itself.
"""

import re
from pathlib import Path
from typing import Any

from locscope.errors import LocscopeError, UsageError, shown
from locscope.runs.private import without_secrets

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
LOG_IN = "run `hf auth login`, or set HF_TOKEN"


def check_hub(name: str) -> None:
    """Raises UsageError where nothing could be pushed: a name that is none, or nobody logged in.

    Asked before hours of tuning; needs a network.
    """
    if not _NAME.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", ".")):
        raise UsageError(f"--push-to-hub {shown(name)}: write ORG/NAME, as my-name/edited-model")
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise UsageError(f"--push-to-hub {name}: we are offline (HF_HUB_OFFLINE)")
    api = _api()
    try:
        api.whoami()
    except Exception as error:
        raise UsageError(
            f"--push-to-hub {name}: nobody is logged in ({_reason(error)}): {LOG_IN}"
        ) from None


def push(folder: Path, name: str, message: str, *, public: bool = False) -> str:
    """Uploads a model's folder into a repository of the hub, and returns its address.

    A repository that is not there is made, a private one unless `public`. Raises LocscopeError
    where the hub refuses; the folder stays as it is.
    """
    api = _api()
    try:
        made = api.create_repo(name, private=not public, exist_ok=True, repo_type="model")
        api.upload_folder(
            folder_path=str(folder), repo_id=made.repo_id, commit_message=message, repo_type="model"
        )
    except Exception as error:
        raise LocscopeError(
            f"cannot push {folder} to {name} ({_reason(error)}); it is saved: "
            f"`hf upload {name} {folder}` tries again"
        ) from None
    return str(made)


def _api() -> Any:
    """The hub's API; one place, which tests stand in for."""
    from huggingface_hub import HfApi

    return HfApi(library_name="locscope")


def _reason(error: BaseException) -> str:
    """What an error of the hub's library says, on one line and without tokens."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return without_secrets(lines[0])
