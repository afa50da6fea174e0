"""Commands in a real terminal: run in a pty, read as a person sees them, by a screen emulator."""

import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pexpect
import pyte

HEIGHT = 50
CUT = ("…", "...")
"""What a terminal program writes where it cut something off."""


@dataclass(frozen=True)
class Seen:
    """What a command left: its exit code, the screens seen while it ran, and all lines in the end.

    `cursor` tells whether the cursor is shown again.
    """

    code: int
    screens: tuple[str, ...]
    lines: tuple[str, ...]
    cursor: bool

    @property
    def text(self) -> str:
        """The lines that are left, scrolled off or not."""
        return "\n".join(self.lines)


def in_terminal(
    arguments: list[str],
    width: int,
    cwd: Path,
    *,
    interrupt_at: str = "",
    seconds: float = 300,
    program: str = "",
) -> Seen:
    """Runs locscope with these arguments; Ctrl-C is typed once when that text is on the screen."""
    screen = pyte.HistoryScreen(width, HEIGHT, history=10_000)
    stream, screens = pyte.Stream(screen), dict[str, None]()
    command = [program] if program else [sys.executable, "-m", "locscope"]
    child = pexpect.spawn(
        command[0],
        [*command[1:], *arguments],
        dimensions=(HEIGHT, width),
        encoding="utf-8",
        cwd=str(cwd),
        # Where tests run in the background, Ctrl-C is ignored, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            stream.feed(child.read_nonblocking(1 << 16, timeout=0.2))
        except pexpect.TIMEOUT:
            continue
        except pexpect.EOF:
            break
        shown = "\n".join(_shown(screen))
        screens[shown] = None
        if interrupt_at and interrupt_at in shown:
            interrupt_at = ""
            child.sendintr()
    else:
        child.terminate(force=True)
        raise AssertionError(f"{arguments} still ran after {seconds:g} s:\n{_shown(screen)}")
    child.close()
    code = child.exitstatus if child.exitstatus is not None else -(child.signalstatus or 0)
    lines = tuple(_row(row, width) for row in screen.history.top) + tuple(_shown(screen))
    return Seen(code, tuple(screens), lines, not screen.cursor.hidden)


def _shown(screen: pyte.HistoryScreen) -> list[str]:
    return [line.rstrip() for line in screen.display]


def _row(row: dict, width: int) -> str:
    return "".join(row[column].data for column in range(width)).rstrip()
