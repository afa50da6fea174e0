"""Checks of shapes and types as jaxtyping's import hook makes them, at a fraction of its time.

Its decorator makes the checks of a function within a function anew each time that one is defined,
checks arguments a second time with the result, and binds the names of axes in every call, also
where no annotation names any. Here the checks are made once for a definition, run once in a call,
and axes are bound where an annotation names some. What is checked is the same.
"""

from collections.abc import Callable
from functools import wraps
from types import CodeType, FunctionType
from typing import Any, get_args, get_type_hints

import jaxtyping

Checker = Callable[[Any], Callable[..., Any]]

_usual = jaxtyping.jaxtyped
_checks: dict[CodeType, Callable[..., Any]] = {}
_entered: list[FunctionType] = []
"""Functions within functions that are called and whose arguments are being checked."""


def install() -> None:
    """From now on modules that jaxtyping's import hook loads get these checks."""
    jaxtyping.jaxtyped = jaxtyped


def jaxtyped(*, typechecker: Checker) -> Callable[[Any], Any]:
    """The decorator that the hook puts on every function and class."""

    def decorate(one: Any) -> Any:
        if not isinstance(one, FunctionType):
            return _usual(typechecker=typechecker)(one)
        inner = "<locals>" in one.__qualname__
        return _checked_within(one, typechecker) if inner else _checked(one, typechecker)

    return decorate


def _checked(function: Callable[..., Any], typechecker: Checker) -> Callable[..., Any]:
    checked = typechecker(function)
    return _usual(typechecker=None)(checked) if _names_axes(function) else checked


def _checked_within(function: FunctionType, typechecker: Checker) -> Callable[..., Any]:
    """Checked by what was made when the function was defined first."""
    if function.__code__ not in _checks:

        @wraps(function)
        def enter(*args: Any, **kwargs: Any) -> Any:
            return _entered.pop()(*args, **kwargs)

        _checks[function.__code__] = _checked(enter, typechecker)
    checked = _checks[function.__code__]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _entered.append(function)
        return checked(*args, **kwargs)

    return call


def _names_axes(function: Callable[..., Any]) -> bool:
    try:
        hints = get_type_hints(function, include_extras=True).values()
    except NameError:  # a class that is not there yet
        return True
    return any(map(_has_axes, hints))


def _has_axes(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_axes, get_args(hint)))
