"""What settings of all verbs have in common, and how they are declared, read and refused."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from locscope.display import visible
from locscope.errors import UsageError, shown, unknown
from locscope.plugins import load_plugins
from locscope.runs.reading import Unreadable, once, read_yaml

DATA, SEARCH, BOUNDS, SCANS = "Data", "Search", "Bounds", "Scans"
TUNING, COMPUTE, OUTPUT = "Tuning", "Compute", "Output"
PANELS = (DATA, SEARCH, BOUNDS, SCANS, TUNING, COMPUTE, OUTPUT)
"""Groups of options, in the order in which the help of a command shows them."""
CODE = "trust_remote_code"
"""The setting that lets a model's own code run: from the command line or Python alone."""
MOST_SEED = 1 << 32
"""Seeds are below it, as every library's generators want them."""
MANY, RATE, GIBIBYTES, LAYERS = 1_000_000, 1000.0, 1e6, 10_000
"""Above what anyone means, and below what a loop or an allocation would not come back from."""
REPEATS = 1000
"""The same for what is done again in full each time."""
LONGEST, ENTRIES = 4096, 10_000
"""Characters of a text (a path has no more), and texts in a list of them."""


def setting(
    default: Any,
    help: str,
    panel: str,
    *,
    unset: str = "",
    repeated: str = "",
    choices: Iterable[str] = (),
    **limits: Any,
) -> Any:
    """A field of settings, declared once: the command line derives its option from it.

    Args:
        default: the value where neither an option nor a settings file has one.
        help: what it is, in words, without its default.
        panel: the group of options that it is shown in.
        unset: the default in words, where its value does not say what happens.
        repeated: the flag of an option that is written once for each entry.
        choices: names to complete, of a field whose type does not list them.
        limits: of its values, as pydantic's `Field` takes them.
    """
    option: dict[str, Any] = {"panel": panel, "unset": unset, "repeated": repeated}
    option["choices"] = list(choices)
    return Field(default, description=help, json_schema_extra=option, **limits)


BATCH_SIZE = setting(
    None, "edits a batch", TUNING, unset="a quarter of the edits, within 8 and 100", ge=1, le=MANY
)
EPOCHS = setting(25, "passes over the edits at most", TUNING, ge=1, le=MANY)
PREFIXES = setting(0, "random-prefix copies of every edit", TUNING, ge=0, le=REPEATS)


class SharedSettings(BaseModel):
    """Which model, which edits, and how both are read. Abstract: verbs add their own fields."""

    # Unknown keys are an error: a misspelt one would silently be its default. No infinity or NaN:
    # comparisons with a limit let NaN through.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = setting("demo", "demo, a directory, a GGUF file, an alias or a hub id", DATA)
    edits: str = setting(
        "demo", "demo, facts, a file of edits, or ORG/DATASET[:SPLIT] of the hub", DATA
    )
    limit: int | None = setting(
        None, "use so many edits, chosen by the seed", DATA, ge=1, le=MOST_SEED
    )
    seed: int = setting(0, "seed of every random choice", DATA, ge=0, lt=MOST_SEED)
    conflicts: Literal["last", "drop"] | None = setting(
        None, "prompts with several targets: last or drop", DATA, unset="refused"
    )
    prompt_format: Literal["raw", "chat", "qa"] = setting(
        "raw", "how prompts are put to the model: raw, chat or qa", DATA
    )
    neutral: Path | None = setting(None, "file of neutral texts, one a line", DATA)
    abilities: Path | None = setting(None, "JSON file of abilities to retain", DATA)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, ...", COMPUTE)
    dtype: str = setting("auto", "auto, float32, bfloat16 or float16, to compute in", COMPUTE)
    trust_remote_code: bool = setting(False, "run code that a model brings along", COMPUTE)
    offload: Literal["auto", "never", "prefix", "all"] = setting(
        "auto",
        "blocks that are on the device only while they run: auto (where the weights do not fit), "
        "never, prefix (those below the tuned layer) or all",
        COMPUTE,
    )
    device_memory: float = setting(
        8.0, "GiB of cached activations on the device", COMPUTE, gt=0, le=GIBIBYTES
    )
    host_memory: float = setting(
        8.0,
        "GiB of cached activations on the host; the rest goes to a file",
        COMPUTE,
        gt=0,
        le=GIBIBYTES,
    )

    prefix_cache: float = setting(
        0.0,
        "GiB of activations kept in files, with which a later run begins; 0: none",
        COMPUTE,
        ge=0,
        le=GIBIBYTES,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, value: Any, info: ValidationInfo) -> Any:
        """The value as it is; a UsageError for what Python would make a number or text of."""
        name = str(info.field_name)
        _check_plain(name, value, cls.model_fields[name].annotation)
        return value


Settings = TypeVar("Settings", bound=SharedSettings)


def settings_of(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings with these values, and the defaults of the others.

    Raises UsageError, which names the first key that is unknown or has a bad value.
    """
    load_plugins()  # Settings name scans and strategies that other packages may add.
    for name in values:
        if name not in kind.model_fields:
            raise unknown("setting", name, kind.model_fields)
    try:
        return kind(**values)
    except ValidationError as error:
        # Only the first: errors of the command line are one line.
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        found = shown(first["input"])
        raise UsageError(f"setting '{key}' is {found}: {first['msg'].lower()}") from None


def warn_of_code(model: str, trusted: bool) -> None:
    """A warning, each time that a model is loaded whose own code is trusted."""
    if not trusted:
        return
    with warnings.catch_warnings():
        # Python shows a warning once for a place in the code; here every use is another decision.
        if not any(action == "error" for action, *_ in warnings.filters):
            warnings.simplefilter("always")
        warnings.warn(
            f"{CODE}: Python code in the folder of model '{visible(model)}' runs with all your "
            "rights; read it first",
            stacklevel=3,
        )


def read_settings_file(path: Path | None) -> dict[str, Any]:
    """The keys of a YAML settings file (none without a file); dashes and underscores are alike.

    Raises UsageError where the file cannot be read, holds no keys, or would run a model's code.
    """
    if path is None:
        return {}
    content = read_yaml(path, "settings")
    if content is not None and not isinstance(content, dict):
        raise UsageError(f"settings {path} hold no keys: write `key: value` lines")
    try:
        found = once((key.replace("-", "_"), value) for key, value in (content or {}).items())
    except Unreadable as error:
        raise UsageError(f"cannot read settings {path}: {error}") from error
    if found.get(CODE, False) is not False:
        # A file may come with the model whose code it would let run.
        raise UsageError(
            f"settings {path} cannot say '{CODE}': only who runs the command can, by "
            "--trust-remote-code; take the line out"
        )
    return found


def _check_plain(name: str, value: Any, annotation: Any) -> None:
    """A UsageError where true is meant to be a number, a number true, or a text cannot be one."""
    takes_bool, entries = annotation is bool, [value]
    if isinstance(value, dict):
        entries = [*value, *value.values()]
    elif isinstance(value, list | tuple):
        entries = [*value]
    if len(entries) > ENTRIES:
        raise UsageError(f"setting '{name}' has {len(entries)} entries: give at most {ENTRIES}")
    for entry in entries:
        if isinstance(entry, bool) and not takes_bool:
            raise UsageError(f"setting '{name}' is {entry}, which is neither a number nor a text")
        if takes_bool and isinstance(entry, int | float) and not isinstance(entry, bool):
            raise UsageError(f"setting '{name}' is {shown(entry)}: give true or false")
        if isinstance(entry, str | Path) and (reason := _no_text(str(entry))):
            raise UsageError(f"setting '{name}' is {shown(str(entry))}: {reason}")


def _no_text(text: str) -> str:
    """Why it is no text of a setting; empty where it is one."""
    if len(text) > LONGEST:
        return f"it has {len(text)} characters, and at most {LONGEST} are read"
    return "it holds a NUL character" if "\0" in text else ""
