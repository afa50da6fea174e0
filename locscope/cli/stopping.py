"""Signals that end a command: each is one line and exit code 130, and nothing half written stays.

Python turns Ctrl-C into an exception, which cleans up on its way; SIGTERM (of a batch system, say)
and SIGHUP (of a terminal that was closed) would end the process on the spot.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, final

INTERRUPTED = 130
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
SOON = 0.02
"""Seconds until a signal that was dropped is given again."""
GOING_ON = ("search", "scan")
"""Commands that keep what is done in a run folder."""


def line() -> str:
    """What is said of a command that was interrupted: the one that this process was begun with."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command in GOING_ON:
        return "interrupted: the same command goes on with what is done"
    if command == "edit":
        return "interrupted: nothing is saved, and the same command begins anew"
    return "interrupted: give the same command again"


@final
class _Stopped(KeyboardInterrupt):
    """A signal. Of its own class: where the plain one passes through `exec`, as in imports, Python
    ends by SIGINT in the end, whoever has caught it."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, the signals are exceptions; whatever comes of one ends the process as interrupted.

    Afterwards, while the interpreter takes itself down, they end it with the exit code that it has.
    """
    asked: list[int] = []
    code = 1

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)
        # One is enough: a second one would break off the cleaning up. Ctrl-C is a person's.
        if len(asked) == 1 or number == signal.SIGINT:
            raise _Stopped

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    # What is ignored stays so: that is how nohup keeps a command alive.
    taken = [
        n for n in numbers if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)
    ]
    for number in taken:
        signal.signal(number, stop)
    before, alarm = sys.unraisablehook, signal.signal(signal.SIGALRM, stop)

    def again(lost: Any) -> None:
        if lost.exc_type is not _Stopped:
            before(lost)
            return
        # A destructor is no place to stop in, and Python drops what is raised there.
        asked.clear()
        signal.setitimer(signal.ITIMER_REAL, SOON)

    sys.unraisablehook = again
    try:
        yield
        code = 0
    except BaseException as error:
        # An import that is interrupted may end in any error.
        ended = error.code or 0 if isinstance(error, SystemExit) else 1
        code = ended if isinstance(ended, int) else 1
        if not asked or code in (0, INTERRUPTED):
            raise
        code = INTERRUPTED
        print(f"locscope: {line()}", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = before
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        for number in taken:
            signal.signal(number, lambda *_: os._exit(code))
