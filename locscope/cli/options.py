"""Options that several commands share. An option left out is left to the settings' defaults."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Model = Annotated[
    str | None, typer.Option(help="demo (default), a directory, an alias, or a hub id")
]
Edits = Annotated[str | None, typer.Option(help="demo (default), or a file of edits")]
Limit = Annotated[int | None, typer.Option(help="use so many edits, chosen by --seed")]
Seed = Annotated[int | None, typer.Option(help="of every random choice (0)")]
Conflicts = Annotated[
    str | None, typer.Option(help="prompts with several targets: last or drop; refused else")
]
PromptFormat = Annotated[str | None, typer.Option(help="raw (default), chat or qa")]
Neutral = Annotated[Path | None, typer.Option(help="file of neutral texts, one a line")]
Abilities = Annotated[Path | None, typer.Option(help="JSON file of abilities to retain")]
Device = Annotated[str | None, typer.Option(help="auto (default), cpu, cuda, cuda:1, ...")]
Dtype = Annotated[
    str | None, typer.Option(help="auto (default), float32, bfloat16 or float16, to compute in")
]
DeviceMemory = Annotated[
    float | None, typer.Option(help="GiB of cached activations on the device (8)")
]
HostMemory = Annotated[
    float | None, typer.Option(help="GiB of cached activations on the host (8); beyond: a file")
]
RemoteCode = Annotated[
    bool | None, typer.Option("--trust-remote-code", help="run code that a model brings along")
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="YAML file of settings; options here win")
]
Format = Annotated[Literal["table", "json"], typer.Option(help="what is printed to stdout")]
BatchSize = Annotated[
    int | None, typer.Option(help="edits a batch (a quarter of the edits, within 8 and 100)")
]
Epochs = Annotated[int | None, typer.Option(help="passes over the edits at most (25)")]
Prefixes = Annotated[int | None, typer.Option(help="random-prefix copies of every edit (0)")]

Scans = Annotated[str | None, typer.Option(help="names with commas between, cheap, or all")]
Corruption = Annotated[
    str | None, typer.Option(help="of patching scans: swap or noise (each scan's own)")
]
Metric = Annotated[
    str | None, typer.Option(help="what is followed: probability or logit-diff (each scan's own)")
]
Noise = Annotated[
    float | None, typer.Option(help="standard deviations of the subjects' embeddings (3)")
]
Samples = Annotated[int | None, typer.Option(help="draws of noise (10)")]
Stream = Annotated[str | None, typer.Option(help="random numbers of the noise: own or rome")]
Window = Annotated[int | None, typer.Option(help="layers restored together (10 of 32)")]
Steps = Annotated[int | None, typer.Option(help="of integrated gradients (each scan's own)")]
Ablation = Annotated[
    str | None, typer.Option(help="heads and MLPs are replaced by: zero, mean or resample")
]

Requests = Annotated[
    int | None, typer.Option(help="edits that scans look at if they are not cheap (100; 0: all)")
]


def split(names: str | None) -> tuple[str, ...] | None:
    """Names that were written with commas between them."""
    return tuple(name.strip() for name in names.split(",")) if names is not None else None


def several(values: list[str] | None) -> tuple[str, ...] | None:
    """Values of an option that may be repeated."""
    return tuple(values) if values else None


def pairs(values: list[str] | None) -> dict[str, str] | None:
    """What was written as name=value; the value is read where the setting is."""
    return dict(_pair(value) for value in values) if values else None


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"'{text}': write name=value, as locality=2")
    return name.strip(), value.strip()


def given(**options: Any) -> dict[str, Any]:
    """The options that were written."""
    return {name: value for name, value in options.items() if value is not None}
