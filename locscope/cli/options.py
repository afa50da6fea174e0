"""The options of commands: those of settings are derived from the settings' fields.

`with_settings` adds them to a command. Options that are no settings are written here, or at the
command that alone has them.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from locscope.cli import completion
from locscope.cli.app import guarded
from locscope.cli.written import flag_of, read_settings, split, switched
from locscope.errors import UsageError
from locscope.settings.base import (
    CODE,
    DATA,
    OUTPUT,
    PANELS,
    SharedSettings,
    read_settings_file,
)

ENV = "LOCSCOPE_"
"""How variables begin that say what an option says."""
NOT_IN_ENV = (
    CODE,
    "output",
    "save",
    "fresh",
    "dry_run",
    "config",
    "adapter",
    "push_to_hub",
    "public",
)
"""Not to be said once for all commands: what one of them writes or goes by, and whether a model's
own code runs."""
METAVARS = {
    **{"model": "MODEL", "base": "MODEL", "edits": "EDITS", "budget": "BUDGET"},
    **{"location": "LOCATION", "bounds": "BOUND", "weights": "TERM=X", "device": "DEVICE"},
}
"""What stands for the value in help, where its type does not tell."""


def env(name: str) -> str | None:
    """The variable that says what an option says; None where there is none."""
    return None if name in NOT_IN_ENV else f"{ENV}{name.upper()}"


def option(name: str, *flags: str, panel: str, **more: Any) -> Any:
    """An option in a panel of the help, which the environment can say too.

    `flags` are given where they do not follow from the name, `more` is as typer takes it.
    """
    return typer.Option(*flags, rich_help_panel=panel, envvar=env(name), show_envvar=False, **more)


Output = Annotated[
    Path | None,
    typer.Option(
        help="run folder (default: runs/<name>)",
        rich_help_panel=OUTPUT,
        metavar="FOLDER",
        autocompletion=completion.folders,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh/--resume",
        help="move an existing run aside / go on with it (default: --resume)",
        show_default=False,
        rich_help_panel=OUTPUT,
        metavar="",
    ),
]
Format = Annotated[
    Literal["table", "json"],
    option(
        "format",
        help="what is printed to stdout (default: table)",
        show_default=False,
        panel=OUTPUT,
    ),
]
IncludePath = Annotated[
    Path | None,
    option(
        "include_path",
        help="folder of task files of your own, as lm-evaluation-harness reads them",
        panel=DATA,
        metavar="FOLDER",
        autocompletion=completion.folders,
    ),
]
Quiet = Annotated[
    bool,
    option(
        "quiet",
        "--quiet",
        help="no progress and notes on stderr: only errors, and why the exit code is 3",
        show_default=False,
        panel=OUTPUT,
        metavar="",
    ),
]


def with_settings(
    kind: type[SharedSettings],
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    aside: Iterable[str] = (),
    switches: Mapping[str, tuple[Any, str, str]] = MappingProxyType({}),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator for commands with settings: an option for every field of the model (`only` these,
    or all `without` these) beside the command's own.

    The command takes its settings and its own options. What is left out on the command line is
    looked for in the environment, then in the settings file, then it is the field's default. Keys
    in `aside` are options of another command that shares its settings files: they are passed over.
    One of `switches`, an option that is another way to give a setting a value, is not passed to the
    command; where both are said, what is nearer to the command line holds.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        names = [n for n in only or kind.model_fields if n not in set(without)]
        _, *own = inspect.signature(command).parameters.values()
        own += [
            inspect.Parameter(name, _KEYWORD, default=False, annotation=option)
            for name, (option, *_) in switches.items()
        ]
        mine = [parameter.name for parameter in own]
        file = _file_option(mine)

        def run(ctx: typer.Context, **written: Any) -> None:
            path, given = written.pop("file"), {name: written.pop(name) for name in names}
            try:
                said = {**given, **switched(ctx, path, switches, written)}
                settings = read_settings(kind, path, said, (*mine, *aside))
                command(settings, **written)
            except UsageError as error:
                raise UsageError(f"{error}{_by_env(ctx, given, str(error))}") from error

        wrapped = guarded()(run)
        derived = [_option(name, kind.model_fields[name]) for name in names]
        # Typer reads this signature, and the annotations in it, for the command's options.
        context = inspect.Parameter(
            "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        ordered = sorted([*derived, file, *own], key=_panel)
        wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
        wrapped.__signature__ = inspect.Signature([context, *ordered])  # pyright: ignore[reportFunctionMemberAccess]
        return wrapped

    return decorated


_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _by_env(ctx: typer.Context, given: Mapping[str, Any], error: str) -> str:
    """Which variables hold the values that an error quotes, in brackets; mostly none."""
    found = []
    for name, value in given.items():
        source = ctx.get_parameter_source(name)
        quoted = value if isinstance(value, list | tuple) else [value]
        if (
            source is not None
            and source.name == "ENVIRONMENT"
            and any(_quotes(error, str(q)) for q in quoted)
        ):
            found.append(env(name))
    return f" (set by {', '.join(map(str, found))})" if found else ""


def _quotes(error: str, value: str) -> bool:
    """Whether an error names a value. A bare number in it can be of anything."""
    if re.fullmatch(r"[\d.]+", value):
        return False
    return re.search(rf"(?<![\w.]){re.escape(value)}(?![\w.])", error) is not None


def _file_option(own: Sequence[str]) -> inspect.Parameter:
    """The option `--settings`; of its file it takes the command's own options as defaults."""

    def take(ctx: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not ctx.resilient_parsing:
            with guarded():
                found = {k: v for k, v in read_settings_file(path).items() if k in own}
                if "fresh" in own and "resume" in (keys := read_settings_file(path)):
                    found["fresh"] = not keys["resume"]
            ctx.default_map = {**(ctx.default_map or {}), **found}
        return path

    file = option(
        "settings",
        "--settings",
        help="YAML file of settings, by the names of options",
        panel=DATA,
        metavar="FILE",
        is_eager=True,
        callback=take,
        autocompletion=completion.files,
    )
    return inspect.Parameter(
        "file", _KEYWORD, default=None, annotation=Annotated[Path | None, file]
    )


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """The parameter of a command that is the option of a field; None where it is left out."""
    shown = cast(dict[str, Any], field.json_schema_extra)
    annotation: Any = field.annotation
    flags: list[str] = []
    more: dict[str, Any] = {"metavar": METAVARS.get(name) or _metavar(annotation)}
    text = _help(field, shown["unset"])
    choices = _values(annotation) or shown["choices"]
    if shown["repeated"]:
        annotation, flags = list[str], [shown["repeated"]]
        text += "; may be repeated"
    elif get_origin(annotation) is tuple:
        annotation, more = tuple, {"parser": split, "metavar": "A,B"}
    elif choices:
        # Plain text, not typer's choice: the settings refuse it in the words they have for files.
        annotation = str
    elif annotation is bool and not field.default:
        flags = [f"--{name.replace('_', '-')}"]
    if name in completion.FIELDS or choices:
        found = completion.FIELDS.get(name) or completion.of_names(list(choices))
        more["autocompletion"] = found
    # No default for typer: only None tells an option that was left out from one that was written.
    made = option(flag_of(name, field), *flags, help=text, panel=shown["panel"], **more)
    return inspect.Parameter(
        name, _KEYWORD, default=None, annotation=Annotated[annotation | None, made]
    )


def _metavar(annotation: Any) -> str:
    """What stands for a value of that type in help; nothing for a switch."""
    names = {bool: "", int: "N", float: "X", Path: "FILE"}
    for kind in (annotation, *get_args(annotation)):
        if kind in names:
            return names[kind]
    return "NAME"


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


def _panel(parameter: inspect.Parameter) -> int:
    """The place of a parameter's panel in the help."""
    return PANELS.index(get_args(parameter.annotation)[1].rich_help_panel)
