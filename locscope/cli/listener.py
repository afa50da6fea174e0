"""Progress for people, on stderr: bars in a terminal, a line now and then elsewhere."""

import time
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from locscope.progress import Progress

EVERY = 10.0
"""Seconds between lines where there is no terminal."""


@final
class Terminal(Progress):
    """Bars, one a stage, with the time left."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._open: list[int] = []

    def start(self, stage: str, total: int) -> None:
        """A new bar."""
        if not self._open:
            self._bars.start()
        self._open.append(int(self._bars.add_task(stage, total=total, note="")))

    def advance(self, note: str = "") -> None:
        """One step of the innermost bar."""
        self._bars.update(self._bars.task_ids[self._open[-1]], advance=1, note=note)

    def finish(self) -> None:
        """The innermost bar stays as it is; the next ones begin anew."""
        self._open.pop()
        if not self._open:
            self._bars.stop()
            for task in self._bars.task_ids:
                self._bars.remove_task(task)

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._bars.console.print(line, style="dim", highlight=False, markup=False)


@final
class Lines(Progress):
    """A line at the start of a stage and every few seconds in it, with the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: list[_Stage] = []

    def start(self, stage: str, total: int) -> None:
        """Says which stage begins."""
        self._open.append(_Stage(stage, total))
        self.say(f"{stage}: {total} to do")

    def advance(self, note: str = "") -> None:
        """Says how far it is, if it has not for a while."""
        stage = self._open[-1]
        stage.done += 1
        now = time.monotonic()
        if now - stage.said >= EVERY:
            stage.said = now
            left = (now - stage.began) / stage.done * (stage.total - stage.done)
            self.say(f"{stage.name}: {stage.done} of {stage.total}, {left:.0f} s left. {note}")

    def finish(self) -> None:
        """Says how long it took."""
        stage = self._open.pop()
        took = f"{time.monotonic() - stage.began:.0f} s"
        whole = stage.done >= stage.total
        end = "done in" if whole else f"stopped at {stage.done} of {stage.total} after"
        self.say(f"{stage.name}: {end} {took}")

    def say(self, line: str) -> None:
        """A line."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


@final
class _Stage:
    def __init__(self, name: str, total: int) -> None:
        self.name, self.total, self.done = name, total, 0
        self.began = self.said = time.monotonic()


def listener() -> Progress:
    """The listener that fits this stderr."""
    console = Console(stderr=True)
    return Terminal(console) if console.is_terminal else Lines(console)
