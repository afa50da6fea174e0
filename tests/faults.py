"""Disks that refuse: the first call that writes, then the second and so on, until none is left."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

STEPS = [
    *((os, "fsync"), (os, "mkdir"), (os, "rename"), (os, "replace")),
    *((shutil, "copyfileobj"), (Path, "open"), (Path, "write_bytes")),
]
"""What writing a folder goes through; a file that is copied is half there when it fails."""
FULL = OSError(28, "No space left on device")


def refusing(
    patch: pytest.MonkeyPatch, error: BaseException, act: Callable[[], object], every: int = 1
) -> Iterator[BaseException | None]:
    """Acts again and again, with another call failing each time (of `every` so many); gives
    what was raised."""
    for number in range(0, 400, every):
        left = [number]
        with patch.context() as patched:
            for where, name in STEPS:
                patched.setattr(where, name, _failing(getattr(where, name), left, error))
            try:
                act()
                raised = None
            except Exception as caught:
                raised = caught
            except KeyboardInterrupt as caught:
                raised = caught
        yield raised
        if left[0] >= 0:
            return
    raise AssertionError("it never comes to an end")


def _failing(
    real: Callable[..., Any], left: list[int], error: BaseException
) -> Callable[..., object]:
    def call(*args: Any, **more: Any) -> object:
        left[0] -= 1
        if left[0] == -1:
            if real is shutil.copyfileobj:
                half = args[0].read()
                args[1].write(half[: len(half) // 2])
            raise error
        return real(*args, **more)

    return call
