"""The command for edit sets: convert, from any layout that is read to ours.

It loads no model, and imports neither torch nor the options that searches derive from settings.
"""

from pathlib import Path
from typing import Annotated

import typer

from locscope.cli import options
from locscope.cli.app import guarded
from locscope.settings.base import DATA, MOST_SEED, OUTPUT

commands = typer.Typer()
Source = Annotated[
    str, typer.Argument(metavar="FILE", help="a file of edits, or ORG/DATASET[:SPLIT] on the hub")
]
Output = Annotated[
    Path, typer.Option(help="file to write, one edit a line (.jsonl)", rich_help_panel=OUTPUT)
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="convert so many, chosen by the seed", rich_help_panel=DATA),
]
Seed = Annotated[
    int,
    typer.Option(min=0, max=MOST_SEED - 1, help="seed of that choice", rich_help_panel=DATA),
]


@commands.command()
@guarded()
def convert(
    source: Source,
    *,
    limit: Limit = None,
    seed: Seed = 0,
    output: Output,
    format: options.Format = "table",
) -> None:
    """Writes edits in our own format, and says what was read and what was left out."""
    from locscope.cli.printing import print_rows, say_json
    from locscope.records import dumps
    from locscope.workflows.edit_files import Line, about_edits
    from locscope.workflows.edit_files import convert as run_convert

    found = run_convert(source, output, limit, seed)
    lines = [*about_edits(found), Line("written", str(output))]
    if format == "json":
        say_json(dumps({"lines": lines}, indent=2))
    else:
        print_rows([(line.name, line.value) for line in lines])
