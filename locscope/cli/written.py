"""Settings made of what a file says and of what is written as options, in one way of writing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_origin

import typer
from pydantic.fields import FieldInfo

from locscope.errors import UsageError
from locscope.settings.base import Settings, SharedSettings, read_settings_file, settings_of


def read_settings(
    kind: type[Settings], file: Path | None, written: Mapping[str, Any], own: Iterable[str] = ()
) -> Settings:
    """The settings of a file and of the options that were written, which win over the file.

    A file says all by the names of settings or of flags, and holds options in `own` too, which are
    no settings. Raises UsageError where a key is unknown or a value cannot be used.
    """
    flags = {flag_of(name, field): name for name, field in kind.model_fields.items()}
    found: dict[str, Any] = {}
    for key, value in read_settings_file(file).items():
        name = flags.get(key, key)
        if name in found:
            raise UsageError(f"settings {file} say '{name}' twice: leave one of them out")
        if name not in {*own, "resume"} or name in kind.model_fields:
            found[name] = _as_written(kind, name, value)
    # Typer gives an empty list for a repeated option that was left out, None for any other.
    options = {name: value for name, value in written.items() if value not in (None, [])}
    options = {name: _as_written(kind, name, value) for name, value in options.items()}
    return settings_of(kind, {**found, **options})


_SOURCES = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")
"""Of what options say, the strongest first; the last is the settings file."""


def switched(
    ctx: typer.Context,
    file: Path | None,
    switches: Mapping[str, tuple[Any, str, str]],
    written: dict[str, Any],
) -> dict[str, str]:
    """What switches say that are another way to give a setting a value, by name: those that were
    given, where the setting itself was not said nearer to the command line. They are taken out of
    `written`.

    Raises UsageError where both were said at one place, and differ.
    """
    found = dict[str, str]()
    for switch, (_, name, value) in switches.items():
        if not written.pop(switch):
            continue
        own, (rank, said) = _rank(ctx, switch), _said(ctx, file, name)
        if rank == own and said != value:
            flag = switch.replace("_", "-")
            raise UsageError(f"--{flag} with --{name} {said}: give one of the two")
        if own <= rank:
            found[name] = value
    return found


def _said(ctx: typer.Context, file: Path | None, name: str) -> tuple[int, Any]:
    """Where the value of a setting was said, as a place in `_SOURCES`, and the value."""
    rank, of_file = _rank(ctx, name), read_settings_file(file)
    if rank == len(_SOURCES) and name in of_file:
        return _SOURCES.index("DEFAULT_MAP"), of_file[name]
    return rank, ctx.params.get(name)


def _rank(ctx: typer.Context, name: str) -> int:
    source = ctx.get_parameter_source(name)
    names = [source.name] if source is not None else []
    return next((_SOURCES.index(one) for one in names if one in _SOURCES), len(_SOURCES))


def flag_of(name: str, field: FieldInfo) -> str:
    """The name of a field's flag, with underscores."""
    shown = cast(dict[str, Any], field.json_schema_extra)
    return shown["repeated"].lstrip("-").replace("-", "_") or name


def _as_written(kind: type[SharedSettings], name: str, value: Any) -> Any:
    """The value of a setting that is written as its option is: names with commas between them."""
    field = kind.model_fields.get(name)
    origin = get_origin(field.annotation) if field else None
    # Anything else is refused by the field, by its name.
    if origin is dict and isinstance(value, str | list) and all(isinstance(v, str) for v in value):
        return dict(map(_pair, [value] if isinstance(value, str) else value))
    if origin is tuple and isinstance(value, str) and field is not None:
        return (value,) if flag_of(name, field) != name else split(value)
    return value


def split(names: str) -> tuple[str, ...]:
    """Names that were written with commas between them."""
    return tuple(name.strip() for name in names.split(","))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"cannot read weight '{text}': write name=value, as locality=2")
    return name.strip(), value.strip()
