"""What a terminal shows: commands run in one, 80 columns wide, and drawn as SVG by rich.

    python -m analyses.screens --output reports/screens [--only check,scan]

Every picture is of a command that was run, read by a screen emulator (pyte, extra `dev`) as a
person would see it; `-running` is how it looks while it works.
"""

import argparse
import os
import re
import shlex
import sys
import tempfile
import time
from pathlib import Path

import pexpect
import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH, HEIGHT = 80, 60
FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""Of rich's template: fonts that are fetched from a network."""
COLOURS = {"brown": "yellow", "brightbrown": "bright_yellow", "default": "default"}
"""Of the emulator's names of colours those that rich has not."""
SMALL = "--limit 40 --parts mlp.down --no-quarters --audit 0 --no-thorough --repetitions 1"
SCREENS: dict[str, tuple[str, ...]] = {
    "help": ("locscope --help",),
    "search-help": ("locscope search --help",),
    "list": ("locscope list recipes",),
    "check": ("locscope check",),
    "mistakes": (
        "locscope serch",
        "locscope search --part mlp",
        "locscope search --device gpu",
        "locscope search --model lama-3-8b",
        "locscope scan --scans causal_tracing",
        "locscope edit --location layer22.mlp --output out",
        "locscope search --edits my-edit.json",
    ),
    "scan": ("locscope scan --scans logit-lens,weight-gradient --limit 40 --output runs/scans",),
    "search": (f"locscope search {SMALL} --controls 1 --output runs/first",),
}
"""By the name of a picture, the commands that it shows."""
RUNNING = {"search": "rung 1"}
"""Of commands that are pictured while they work too, the text that has to be on the screen."""
SECONDS = 1800


def main() -> None:
    """Runs the commands in a folder of their own and writes a picture of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("reports/screens"))
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    output = args.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    wanted = args.only.split(",") if args.only else list(SCREENS)
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            shown = Text("\n").join(
                line
                for command in SCREENS[name]
                for line in pictured(name, command, folder, output)
            )
            write(output / f"{name}.svg", shown)


def pictured(name: str, command: str, folder: str, output: Path) -> list[Text]:
    """Runs a command; the lines that it leaves on the screen, below what was typed."""
    screen = pyte.Screen(WIDTH, 2 * HEIGHT)
    stream = pyte.Stream(screen)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    # By the name that a person types, which errors and help repeat.
    program = Path(folder) / "locscope"
    program.write_text("from locscope.cli import main\n\nmain()\n")
    child = pexpect.spawn(
        sys.executable,
        [str(program), *shlex.split(command)[1:]],
        dimensions=(2 * HEIGHT, WIDTH),
        encoding="utf-8",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "TERM": "xterm-256color"},
    )
    awaited, end = RUNNING.get(name, ""), time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            stream.feed(child.read_nonblocking(1 << 16, timeout=0.2))
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            break
        if awaited and awaited in (seen := "\n".join(screen.display)) and " left" in seen:
            write(output / f"{name}-running.svg", Text("\n").join(_with_prompt(command, screen)))
            awaited = ""
    else:
        child.terminate(force=True)
        raise SystemExit(f"{command} still ran after {SECONDS} s")
    return _with_prompt(command, screen)


def write(path: Path, shown: Text) -> None:
    """The text as rich draws a terminal, with fonts of the reader's machine."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(shown, no_wrap=True, crop=False, overflow="ignore")
    svg = console.export_svg(
        title="locscope", unique_id=path.stem, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT)
    )
    # Trailing blanks of its template would not pass a check of white space.
    path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n", encoding="utf-8")
    sys.stderr.write(f"{path}\n")


def _with_prompt(command: str, screen: pyte.Screen) -> list[Text]:
    """What was typed, and the lines of a screen down to the last that has anything."""
    last = max((i for i, line in enumerate(screen.display) if line.strip()), default=-1)
    typed = Text(f"$ {command}", style="bold green")
    typed = Text("\n").join(_folded(typed))
    return [typed, *(_line(screen, row) for row in range(last + 1)), Text()]


def _folded(typed: Text) -> list[Text]:
    return list(typed.wrap(Console(width=WIDTH), WIDTH))


def _line(screen: pyte.Screen, row: int) -> Text:
    line, cells = Text(), screen.buffer[row]
    for column in range(WIDTH):
        cell = cells[column]
        marks = [name for name in ("bold", "reverse") if getattr(cell, name)]
        marks += ["italic"] if cell.italics else []
        colours = [_colour(cell.fg), *(["on", _colour(cell.bg)] if cell.bg != "default" else [])]
        line.append(cell.data, style=" ".join([*marks, *colours]))
    line.rstrip()
    return line


def _colour(name: str) -> str:
    """A colour of the emulator as rich writes it."""
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    name = COLOURS.get(name, name)
    return name.replace("bright", "bright_") if re.match(r"bright[a-z]", name) else name


if __name__ == "__main__":
    main()
