"""The options of commands: those of settings are derived from the settings' fields.

`with_settings` adds them to a command. Options that are no settings are written here, or at the
command that alone has them.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from locscope.cli.app import guarded
from locscope.errors import UsageError
from locscope.settings.base import (
    DATA,
    OUTPUT,
    PANELS,
    Settings,
    SharedSettings,
    read_settings_file,
    settings_of,
)

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="YAML file of settings; options here win", rich_help_panel=DATA
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="run folder (default: runs/<name>)", rich_help_panel=OUTPUT)
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh/--resume",
        help="move an existing run aside / go on with it (default: --resume)",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
Format = Annotated[
    Literal["table", "json"],
    typer.Option(
        help="what is printed to stdout (default: table)",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]


def with_settings(
    kind: type[SharedSettings], *, only: Iterable[str] = (), without: Iterable[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator for commands with settings: an option for every field of the model (`only` these,
    or all `without` these) beside the command's own.

    The command takes what was written as keywords and makes its settings by `read_settings`: an
    option that is left out is left to the settings file, and then to the field's default.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        names = [n for n in only or kind.model_fields if n not in set(without)]
        derived = [_option(name, kind.model_fields[name]) for name in names]
        own = inspect.signature(command).parameters.values()
        own = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
        run = guarded()(command)
        # Typer reads this signature, and the annotations in it, for the command's options.
        ordered = inspect.Signature(sorted([*derived, *own], key=_panel))
        run.__signature__ = ordered  # pyright: ignore[reportFunctionMemberAccess]
        return run

    return decorated


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def read_settings(kind: type[Settings], file: Path | None, written: Mapping[str, Any]) -> Settings:
    """The settings of a file and of the options that were written, which win over the file.

    Raises UsageError where a key is unknown or a value cannot be used.
    """
    # Typer gives an empty list for a repeated option that was left out, None for any other.
    options = {name: value for name, value in written.items() if value not in (None, [])}
    for name, value in options.items():
        if get_origin(kind.model_fields[name].annotation) is dict:
            options[name] = dict(map(_pair, value))
    return settings_of(kind, {**read_settings_file(file), **options})


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """The parameter of a command that is the option of a field; None where it is left out."""
    shown = cast(dict[str, Any], field.json_schema_extra)
    annotation: Any = field.annotation
    flags: list[str] = []
    more: dict[str, Any] = {}
    text = _help(field, shown["unset"])
    choices = _values(annotation) or shown["choices"]
    if shown["repeated"]:
        annotation, flags = list[str], [shown["repeated"]]
        text += "; may be repeated"
    elif get_origin(annotation) is tuple:
        annotation, more = tuple, {"parser": split, "metavar": "A,B"}
    elif choices:
        # Plain text, not typer's choice: the settings refuse it in the words they have for files.
        annotation, more = str, {"autocompletion": _completion(choices)}
    elif annotation is bool and not field.default:
        flags = [f"--{name.replace('_', '-')}"]
    # No default for typer: only None tells an option that was left out from one that was written.
    option = typer.Option(*flags, help=text, rich_help_panel=shown["panel"], **more)
    return inspect.Parameter(
        name, _KEYWORD, default=None, annotation=Annotated[annotation | None, option]
    )


def _help(field: FieldInfo, unset: str) -> str:
    default = unset or _in_words(field.default)
    return f"{field.description} (default: {default})" if default else f"{field.description}"


def _in_words(default: object) -> str:
    """A default as help shows it; nothing for False, None, and what is empty."""
    if isinstance(default, bool):
        return "yes" if default else ""
    if isinstance(default, int | float):
        return f"{default:g}"
    return ",".join(default) if isinstance(default, tuple) else str(default or "")


def _values(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, also of one beside None; nothing of other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(value for inner in get_args(annotation) for value in _values(inner))


def _completion(choices: Sequence[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [choice for choice in choices if choice.startswith(incomplete)]

    return complete


def _panel(parameter: inspect.Parameter) -> int:
    """The place of a parameter's panel in the help."""
    return PANELS.index(get_args(parameter.annotation)[1].rich_help_panel)


def split(names: str) -> tuple[str, ...]:
    """Names that were written with commas between them."""
    return tuple(name.strip() for name in names.split(","))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"cannot read weight '{text}': write name=value, as locality=2")
    return name.strip(), value.strip()
