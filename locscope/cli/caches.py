"""The command for the user's cache: what is kept from one command to the next, and its removal.

It imports neither torch nor the options that searches derive from settings.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from locscope.cli import completion, options
from locscope.cli.app import guarded
from locscope.errors import unknown

if TYPE_CHECKING:
    from locscope.runs.cache import Kept

commands = typer.Typer()
ACTIONS = ("list", "clear")
GROUPED = ("prefix", "edits")
"""Kinds of which there are many files with names that say nothing: they are counted."""


def _kinds() -> list[str]:
    from locscope.runs.cache import KINDS

    return list(KINDS)


Action = Annotated[
    str,
    typer.Argument(
        metavar="list|clear",
        help="say what is kept, or remove it",
        autocompletion=completion.of_names(lambda: list(ACTIONS)),
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KIND...",
        help="prefix, converted, fetched or edits (default: all to list; prefix and converted, "
        "which are made again, to clear)",
        autocompletion=completion.of_names(_kinds),
        show_default=False,
    ),
]


@commands.command()
@guarded()
def cache(
    action: Action = "list", kinds: Kinds = None, *, format: options.Format = "table"
) -> None:
    """Says what is kept in the user's cache, or removes it."""
    from locscope.cli.printing import print_rows, say_json
    from locscope.runs.cache import cache_folder, clear, kept

    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    found = (clear if action == "clear" else kept)(tuple(kinds or ()))
    if format == "json":
        rows = [{**one._asdict(), "path": str(one.path)} for one in found]
        say_json(json.dumps({"folder": str(cache_folder()), action: rows}, indent=2))
        return
    total = f"{cache_folder()}: {_size(sum(one.size for one in found))}"
    print_rows([*_rows(found), ("removed from" if action == "clear" else "all in", total)])


def _rows(found: "Sequence[Kept]") -> list[tuple[str, str]]:
    """A line for each model, and one for all files of a kind of which there are many."""
    rows = []
    for kind in dict.fromkeys(one.kind for one in found):
        those = [one for one in found if one.kind == kind]
        if kind in GROUPED:
            files = f"{len(those)} file{'s' * (len(those) != 1)}"
            rows.append((kind, _line(files, those)))
        else:
            rows += [(kind, _line(one.path.name, [one])) for one in those]
    return rows


def _line(name: str, those: "Sequence[Kept]") -> str:
    used = datetime.fromtimestamp(max(one.used for one in those)).astimezone()
    return f"{name}, {_size(sum(one.size for one in those))}, used {used:%Y-%m-%d %H:%M}"


def _size(count: int) -> str:
    """Bytes in the unit that people read them in.

    Example:
        >>> _size(3 << 20), _size(5 << 30), _size(100)
        ('3.0 MiB', '5.0 GiB', '0.1 KiB')
    """
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1024:.1f} KiB"
