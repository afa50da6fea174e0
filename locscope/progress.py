"""Progress of long jobs: stages report it, listeners (terminal, notebook, tests) show it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar, final

Item = TypeVar("Item")
WHOLE = 100
"""Steps of a whole job; the stages within it state their share of them."""


class Progress(ABC):
    """A listener of progress. Stages nest; `advance` counts within the innermost open stage."""

    @abstractmethod
    def start(self, stage: str, total: int, share: float = 0.0) -> None:
        """A stage of `total` steps begins; it stands for `share` steps of the stage around it."""

    @abstractmethod
    def advance(self, note: str = "") -> None:
        """One step of the innermost stage is done; `note` says which."""

    @abstractmethod
    def finish(self, *, failed: bool = False) -> None:
        """The innermost stage ends; `failed` where an error ended it."""

    @abstractmethod
    def say(self, line: str) -> None:
        """A line of text, outside any bar."""


@final
class Silent(Progress):
    """A listener that shows nothing."""

    def start(self, stage: str, total: int, share: float = 0.0) -> None:
        """Ignored."""

    def advance(self, note: str = "") -> None:
        """Ignored."""

    def finish(self, *, failed: bool = False) -> None:
        """Ignored."""

    def say(self, line: str) -> None:
        """Ignored."""


@contextmanager
def stage(progress: Progress, name: str, total: int, share: float = 0.0) -> Iterator[None]:
    """A stage of `total` steps, which the block advances; it ends also when the block fails.

    Within another stage it stands for `share` of that one's steps.
    """
    progress.start(name, total, share)
    try:
        yield
    # Also for Ctrl-C: a live bar that is not ended leaves the terminal without its cursor.
    except BaseException:
        progress.finish(failed=True)
        raise
    progress.finish()


def track(progress: Progress, name: str, items: Iterable[Item]) -> Iterator[Item]:
    """Yields the items as one stage, a step for each; the stage also ends when the loop breaks."""
    items = list(items)
    with stage(progress, name, len(items)):
        for item in items:
            yield item
            progress.advance(str(item) if isinstance(item, str) else "")
