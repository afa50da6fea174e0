"""What files that people share do not tell: whose machine they were made on, and its tokens.

A path below the home folder is written with `~`, which readers here take for that of whoever reads.
"""

import os
import re
from functools import cache

SECRET = re.compile(r"TOKEN|API_?KEY|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
"""Names of variables of the environment whose values are nobody's business."""
SHORTEST = 8
"""Characters of such a value; a shorter one may be a part of any word."""
HIDDEN = "***"
_TOKENS = re.compile(
    r"\b(?:(?:hf_|gh[pousr]_|glpat-|github_pat_)[A-Za-z0-9_-]{16,}"
    r"|sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,})"
)
_WRITTEN = re.compile(
    # Options of that name, but `--tokenizer` and words within a text.
    r"((?<!\S)--?[\w-]*(?:token(?!i)|api-?key|secret|password)[\w-]*(?:=|\s+))(?:'[^']*'|\S+)",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")


def without_home(text: str) -> str:
    """The text with `~` for the home folder, wherever a path begins with it."""
    for home in _homes(os.path.expanduser("~")):
        text = re.sub(rf"(?<![\w./~-]){re.escape(home)}(?![\w.-])", "~", text)
    return text


def with_home(path: str) -> str:
    """A path that was written by `without_home`, as it is found here."""
    return os.path.expanduser(path) if path.startswith(("~/", "~\\")) else path


def alike(one: str | None, other: str | None) -> bool:
    """Whether two settings are the same, also where a path was written under another home folder:
    what it leads to is held together by its contents (`frozen_settings`)."""
    if one == other or one is None or other is None:
        return one == other
    pairs = ((one, other), (other, one))
    return any(a.startswith("~/") and b.startswith("/") and b.endswith(a[1:]) for a, b in pairs)


def without_secrets(text: str) -> str:
    """A command line, or another text of the user's, without tokens and the home folder."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and SECRET.search(name):
            text = text.replace(value, HIDDEN)
    text = _IN_ADDRESS.sub(f"{HIDDEN}@", _TOKENS.sub(HIDDEN, text))
    return without_home(_WRITTEN.sub(rf"\1{HIDDEN}", text))


@cache
def _homes(home: str) -> tuple[str, ...]:
    """The home folder as it is called, and without links, the longer one first."""
    found = {home.rstrip("/\\"), os.path.realpath(home)}
    # A home of `/`, as in some containers, is no one's; `~` alone is one that is not known.
    usable = {path for path in found if len(path) > 1 and os.path.isabs(path)}
    return tuple(sorted(usable, key=len, reverse=True))
