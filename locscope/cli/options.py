"""Options that several commands share. An option left out is left to the settings' defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from locscope.errors import UsageError

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
Thorough = Annotated[
    bool | None, typer.Option(help="try other protocols and numbers of edits too (yes)")
]

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


def split(names: str) -> tuple[str, ...]:
    """Names that were written with commas between them."""
    return tuple(name.strip() for name in names.split(","))


Scans = Annotated[
    tuple | None,
    typer.Option(parser=split, metavar="A,B", help="names with commas between, cheap, or all"),
]
Parts = Annotated[
    tuple | None, typer.Option(parser=split, metavar="A,B", help="parts of every layer to try")
]
Locations = Annotated[
    tuple | None, typer.Option(parser=split, metavar="A,B", help="locations to try besides")
]
Recipes = Annotated[
    tuple | None,
    typer.Option(
        parser=split, metavar="A,B", help="recipes to compare at the end, or every (none)"
    ),
]
Output = Annotated[Path | None, typer.Option(help="run folder (runs/<name>)")]
Fresh = Annotated[
    bool, typer.Option("--fresh/--resume", help="move an existing run aside / go on with it")
]
Strategy = Annotated[str | None, typer.Option(help="race (default), or see list strategies")]
Budget = Annotated[
    str | None, typer.Option(help="for choosing: 0.15 of a sweep's work, or 90s, 5m, 2h")
]
Objective = Annotated[str | None, typer.Option(help="balanced (default), or see list objectives")]
Weights = Annotated[
    list[str] | None, typer.Option("--weight", help="of a term, as locality=2; may be repeated")
]
Bounds = Annotated[
    list[str] | None,
    typer.Option("--bound", help="as 'perplexity_ratio<=1.1'; may be repeated"),
]
BoundMargin = Annotated[
    float | None,
    typer.Option(help="share of what bounds on drift allow to leave free (0.4)"),
]
Quarters = Annotated[
    bool | None, typer.Option(help="try quarters of the layers and pairs of them too (yes)")
]
Consecutive = Annotated[int | None, typer.Option(help="try so many layers in a row too (1)")]
Finalists = Annotated[int | None, typer.Option(help="locations whose rate is searched (3)")]
Audit = Annotated[
    int | None, typer.Option(help="locations run in full to judge the scans by (8; 0: none)")
]
Repetitions = Annotated[int | None, typer.Option(help="subsets of T that is reported on (3)")]
Validations = Annotated[
    int | None, typer.Option(help="subsets of V that the finalists are validated on (2)")
]
NonInferiority = Annotated[
    float | None, typer.Option(help="score that a smaller location may lack to be chosen (0.01)")
]
Deploy = Annotated[
    int | None, typer.Option(help="edits that will be made; the recipe is fitted to them (all)")
]
Save = Annotated[
    Path | None, typer.Option(help="also write the model tuned as recommended to this directory")
]
Controls = Annotated[int | None, typer.Option(help="random locations to compare with (5)")]
Share = Annotated[float | None, typer.Option(help="share of the edits in S, which selects (0.3)")]
Tracker = Annotated[str | None, typer.Option(help="who is told of every trial: wandb")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="say what would be done, and what it takes")
]
Strict = Annotated[
    bool | None, typer.Option("--strict", help="refuse edits whose subject is not there")
]


def given(written: Mapping[str, Any], *aside: str) -> dict[str, Any]:
    """The options that were written and are settings: all but those named aside."""
    wanted = {name: value for name, value in written.items() if name not in aside}
    if wanted.get("weights"):
        wanted["weights"] = dict(map(_pair, wanted["weights"]))
    return {name: value for name, value in wanted.items() if value not in (None, [])}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"cannot read weight '{text}': write name=value, as locality=2")
    return name.strip(), value.strip()
