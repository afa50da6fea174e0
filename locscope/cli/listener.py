"""Progress on stderr: live bars in a terminal, a line every few seconds elsewhere."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from locscope.display import console, guarded_streams, visible
from locscope.progress import WHOLE, Progress, Silent
from locscope.report.data.words import duration

EVERY = 10.0
"""Seconds between lines where there is no terminal."""
ESTIMATED_FROM = 0.02
"""Share of the whole that has to be done before the time left is estimated."""
ONE_STEP = 0.9
"""Share of work that is one step which the first stage within it stands for, if it says none; the
next one stands for so much of the rest."""
NAME_WIDTH, COUNT_WIDTH = 31, 22
"""Columns of text on the left and on the right of a bar; the bar takes the rest of the line."""


@final
class _Stage:
    """An open stage; it stands for `share` steps of the stage around it.

    `skipped` are steps that took no time: those of stages with nothing left to do.
    """

    def __init__(self, name: str, total: int, share: float) -> None:
        self.name, self.total, self.share = visible(name), total, share
        self.done, self.skipped = 0.0, 0.0
        self.began = self.reported = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def count(self) -> str:
        """Steps done and all steps, in words."""
        return f"{self.done:.0f} of {self.total}"


@final
class Terminal(Progress):
    """A bar for the whole job with the time left, one for the innermost stage, and its last step.

    A stage with a share of the whole leaves a line above the bars when it ends, and one that comes
    several times in a row one line in all. The bars are gone when the job ends or is interrupted.
    """

    def __init__(self, shown: Console) -> None:
        self._console = shown
        self._open: list[_Stage] = []
        self._note = ""
        self._ended: dict[str, list[float]] = {}
        """Seconds of each round of the stage that ended last, by its name, not yet said."""
        self._live = Live(
            console=shown, get_renderable=self._draw, transient=True, refresh_per_second=4
        )
        self._streams = ExitStack()

    def start(self, stage: str, total: int, share: float = 0.0) -> None:
        """A stage begins, within the one that is open."""
        if share and visible(stage) not in self._ended:
            self._say_ended()
        self._open.append(_Stage(stage, total, share))
        self._note = ""
        if len(self._open) == 1:
            self._live.start()
            # Over the streams that it has set: what others print is decoded there for its colours.
            self._streams.enter_context(guarded_streams())

    def advance(self, note: str = "") -> None:
        """One step of the innermost stage."""
        self._open[-1].done += 1
        self._note = visible(note)

    def finish(self, *, failed: bool = False) -> None:
        """The innermost stage ends."""
        ended = close(self._open)
        self._note = ""
        if not self._open:
            self._streams.close()
            self._live.stop()
        if not failed and ended.share:
            self._ended.setdefault(ended.name, []).append(ended.seconds)
        if not self._open:
            self._say_ended()
            if not failed:
                self.say(f"{ended.name}: {duration(ended.seconds)}")

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._say_ended()
        self._console.print(visible(line), style="dim", highlight=False, markup=False)

    def _say_ended(self) -> None:
        ended, self._ended = self._ended, {}
        for name, rounds in ended.items():
            several = f" in {len(rounds)} rounds" if len(rounds) > 1 else ""
            self.say(f"{name}: {duration(sum(rounds))}{several}")

    def _draw(self) -> RenderableType:
        if not self._open:
            return Text()
        whole, at_work = share_done(self._open), self._open[-1]
        rows = Table.grid(padding=(0, 1), expand=True)
        rows.add_column(width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
        rows.add_column(ratio=1)
        rows.add_column(width=COUNT_WIDTH, no_wrap=True)
        rows.add_row(Text(self._open[0].name), ProgressBar(1.0, whole), self._left(whole))
        # Of one height always: a line that is printed while it changes would leave a bar behind.
        inner = at_work is not self._open[0]
        bar = ProgressBar(at_work.total or 1, at_work.done) if inner else ""
        name = Text(f"  {at_work.name}") if inner else " "
        rows.add_row(name, bar, at_work.count if inner else "")
        return Group(rows, Text(f"  {self._note}", "dim", no_wrap=True, overflow="ellipsis"))

    def _left(self, whole: float) -> str:
        job = self._open[0]
        # Steps from an earlier run took no time now, so they say nothing about the time left.
        worked = whole - (job.skipped / job.total if job.total else 0.0)
        if worked < ESTIMATED_FROM:
            return f"{whole:.0%}"
        return f"{whole:.0%}, {duration(job.seconds * (1 - whole) / worked)} left"


@final
class Lines(Progress):
    """A line at the start of a stage and every few seconds in it, with the time left."""

    def __init__(self, shown: Console) -> None:
        self._console = shown
        self._open: list[_Stage] = []

    def start(self, stage: str, total: int, share: float = 0.0) -> None:
        """Prints which stage begins."""
        self._open.append(_Stage(stage, total, share))
        counted = total > 1 and total != WHOLE
        self.say(f"{stage}: {total} to do" if counted else stage)

    def advance(self, note: str = "") -> None:
        """Prints how far it is, at most every `EVERY` seconds."""
        stage = self._open[-1]
        stage.done += 1
        now = time.monotonic()
        if now - stage.reported >= EVERY:
            stage.reported = now
            left = stage.seconds / stage.done * max(0.0, stage.total - stage.done)
            self.say(f"{stage.name}: {stage.count}, {duration(left)} left. {note}".rstrip(". "))

    def finish(self, *, failed: bool = False) -> None:
        """Prints how long it took.

        Of a stage that failed before its first step the error says all.
        """
        ended = close(self._open)
        if failed and not ended.done:
            return
        end = f"stopped at {ended.count} after" if failed else "done in"
        self.say(f"{ended.name}: {end} {duration(ended.seconds)}")

    def say(self, line: str) -> None:
        """A line."""
        self._console.print(visible(line), highlight=False, markup=False, soft_wrap=True)


def close(stages: list[_Stage]) -> _Stage:
    """Takes the innermost stage off; its share of the stage around it is done."""
    ended = stages.pop()
    if stages and not ended.share and stages[-1].total == 1:
        stages[-1].done += ONE_STEP * max(0.0, 1 - stages[-1].done)
    # All of its share, however few steps it reported: a search may end a stage early.
    if stages:
        stages[-1].done += ended.share
        stages[-1].skipped += 0.0 if ended.total else ended.share
    return ended


def share_done(stages: Sequence[_Stage]) -> float:
    """How much of the outermost stage is done, from 0 to 1, with the steps of stages within it."""
    done, share = 0.0, 0.0
    for stage in reversed(stages):
        # Work that is one step tells how far it is by stages of its own, mostly one.
        share = share or (ONE_STEP * (1 - stage.done) if stage.total == 1 else 0.0)
        inner = stage.done + share * done
        done, share = min(1.0, inner / stage.total) if stage.total else 1.0, stage.share
    return done


def listener(quiet: bool = False) -> Progress:
    """The listener that fits this stderr; one that shows nothing where it shall be `quiet`."""
    if quiet:
        # Read by the hub's library when it is imported: its bars are progress too.
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        return Silent()
    shown = console(stderr=True)
    return Terminal(shown) if shown.is_terminal else Lines(shown)
