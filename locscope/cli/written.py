"""Settings made of what a file says and of what is written as options, in one way of writing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast, get_origin

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
