"""Progress for notebooks and scripts: one tqdm bar for the whole job."""

from typing import Any, final

from locscope.display import visible
from locscope.progress import Progress, Silent


def progress_of(show: bool) -> Progress:
    """A bar, or silence."""
    return Bar() if show else Silent()


@final
class Bar(Progress):
    """One bar for the outermost stage; the stage within it is named beside it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._shares: list[float] = []

    def start(self, stage: str, total: int, share: float = 0.0) -> None:
        """Opens the bar, or names the inner stage beside it."""
        from tqdm.auto import tqdm

        if not self._shares:
            self._bar = tqdm(total=total, desc=visible(stage), leave=False)
        else:
            self._bar.set_postfix_str(visible(stage))
        self._shares.append(share)

    def advance(self, note: str = "") -> None:
        """A step of the outermost stage moves the bar; other notes stand beside it."""
        if len(self._shares) == 1:
            self._bar.update(1)
        elif note:
            self._bar.set_postfix_str(visible(note))

    def finish(self, *, failed: bool = False) -> None:
        """An inner stage moves the bar by its share; the outermost one closes it."""
        share = self._shares.pop()
        if not self._shares:
            self._bar.close()
        elif len(self._shares) == 1 and not failed:
            self._bar.update(share)

    def say(self, line: str) -> None:
        """A line above the bar."""
        from tqdm.auto import tqdm

        tqdm.write(visible(line))
