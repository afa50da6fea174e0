"""Functions named in tables as `module:name`, and what other packages add to the tables.

A package adds scans, measures, strategies, recipes or formats by an entry point of the group
`locscope.plugins`: a function without arguments, which calls `locscope.register_scan` and its like.
"""

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from locscope.errors import UsageError

GROUP = "locscope.plugins"
_REGISTERED: dict[str, Callable[..., Any]] = {}
_INSTALLED: set[str] = set()


def function_of(path: str) -> Callable[..., Any]:
    """The function that an entry of a table names, imported now."""
    if path in _REGISTERED:
        return _REGISTERED[path]
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def register(kind: str, name: str, function: Callable[..., Any]) -> str:
    """The path under which `function_of` finds a function from now on, wherever it was written:
    those of a notebook cannot be imported."""
    path = f"registered:{kind}/{name}"
    _REGISTERED[path] = function
    return path


@cache
def load_plugins() -> None:
    """Lets every installed package register what it has; does so once.

    Raises UsageError where one of them fails: a scan that is silently missing would be taken for
    one that was not asked for.
    """
    before = set(_REGISTERED)
    for point in entry_points(group=GROUP):
        try:
            point.load()()
        except Exception as error:
            raise UsageError(
                f"plugin {point.name} of {_package(point)} cannot be loaded "
                f"({type(error).__name__}: {error}): mend it, or uninstall it"
            ) from error
    _INSTALLED.update(_REGISTERED.keys() - before)


def only_here(kinds: Iterable[str]) -> tuple[str, ...]:
    """What of these kinds (as `measure`) was registered in this process, and by no package: other
    processes lack it."""
    paths = (path.removeprefix("registered:") for path in _REGISTERED.keys() - _INSTALLED)
    return tuple(sorted(path for path in paths if path.partition("/")[0] in kinds))


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
