"""Files that people write or change, read with errors that name the file and what is wrong."""

from pathlib import Path
from typing import Any

import yaml

from locscope.errors import UsageError


def read_text(path: Path, what: str) -> str:
    """The text of a UTF-8 file; a UsageError says why `what` (as: settings) cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"cannot read {what} {path}: {reason}") from error


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file; a UsageError as for its text, or with the line that is wrong."""
    try:
        return yaml.safe_load(read_text(path, what))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise UsageError(f"cannot read {what} {path}: not YAML{line}") from error
