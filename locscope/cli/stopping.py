"""Signals that end a command: each is one line and exit code 130, and nothing half written stays.

Python turns Ctrl-C into an exception, which cleans up on its way; SIGTERM (of a batch system, say)
and SIGHUP (of a terminal that was closed) would end the process on the spot.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
LINE = "interrupted: the same command goes on with what is done"


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, the signals are exceptions; whatever comes of one ends the process as interrupted."""
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)
        # One is enough: a second one would break off the cleaning up. Ctrl-C is a person's.
        if len(asked) == 1 or number == signal.SIGINT:
            raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    # What is ignored stays so: that is how nohup keeps a command alive.
    taken = [
        n for n in numbers if signal.getsignal(n) in (signal.SIG_DFL, signal.default_int_handler)
    ]
    before = [(number, signal.signal(number, stop)) for number in taken]
    try:
        yield
    except BaseException as error:
        # An import that is interrupted may end in any error.
        if not asked or (isinstance(error, SystemExit) and error.code in (0, None, INTERRUPTED)):
            raise
        print(f"locscope: {LINE}", file=sys.stderr)  # noqa: T201
        sys.exit(INTERRUPTED)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
