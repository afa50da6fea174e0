"""What commands print to stdout: tables, and plain text. Imported only when a command runs."""

from collections.abc import Mapping, Sequence
from math import isnan

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from locscope.display import LINES, console, visible, visible_json
from locscope.records import Measure


def print_measures(measures: Sequence[Measure], title: str) -> None:
    """A table of the measures that people are shown."""
    from locscope.evaluation.measures import listed

    # As Text, here and below: a bracket in a value would be read as markup.
    table = Table(title=Text(visible(title)), title_justify="left", box=SIMPLE_HEAD)
    for name in ("measure", "value", "95 %", "before", "count"):
        left = name == "measure"
        table.add_column(name, justify="left" if left else "right", no_wrap=left)
    for row in listed(measures):
        interval = "" if isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}"
        cells = (row.name, _number(row.value), interval, _number(row.before), str(row.count))
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console().print(table)


def _number(value: float) -> str:
    return "not measured" if isnan(value) else f"{value:.3f}"


def print_rows(rows: Sequence[tuple[str, str]], width: int | None = None) -> None:
    """Names and values beneath each other; the names take `width` columns, or what they need."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=width)
    table.add_column()
    for name, value in rows:
        table.add_row(Text(visible(name)), Text(visible(value, LINES)))
    console().print(table)


def print_sections(tables: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Several of these beneath each other, with their titles, names in columns of one width."""
    widest = max(len(name) for rows in tables.values() for name, _ in rows)
    for title, rows in tables.items():
        console().print(Text(visible(title), style="bold"))
        print_rows([(f"  {name}", value) for name, value in rows], widest + 2)
        say("")


def say(text: str) -> None:
    """A line of plain text to stdout."""
    console(soft_wrap=True).out(visible(text), highlight=False)


def say_json(text: str) -> None:
    """JSON to stdout; characters that command a terminal are escaped as JSON escapes them."""
    console(soft_wrap=True).out(visible_json(text), highlight=False)


def show(result: RenderableType) -> None:
    """What a report or a scan is for people, to stdout."""
    console().print(result)
