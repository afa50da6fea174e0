"""What is shown of an input: the one place that makes text of any origin safe to print.

Prompts, names of files and models, keys and messages of other libraries come from anywhere. Raw
they could move the cursor, retitle the terminal, hide a link or turn text around; here they become
escapes that a person can read, as `\\x1b`. Files keep their data as it is.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast, final

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

HIDDEN = re.compile(
    # C0, DEL and C1 (with ESC, CSI, OSC); halves of surrogate pairs, of file names that are no
    # UTF-8; soft hyphen, and format characters of Arabic and Mongolian that have no width; blanks
    # that count as letters.
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\xad\u034f\u061c\u180e\u3164\uffa0"
    # No width, line separators, bidi marks, embeddings, overrides and isolates, invisible
    # operators, byte order mark, annotations, invisible music and shorthand, tags.
    r"\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f\U000e01f0-\U000e0fff]"
    # Joiners, which Persian, Indic scripts and emoji need between their characters.
    r"|(?<![^\x00-\x7f])[\u200c\u200d]"
)
"""Characters that are not seen, or that command a terminal."""
LINES = "\n"
BAR = re.compile(r"(?:\r|(?:\n|\x1b\[A)+\Z)?")
"""What bars of other libraries begin with: a return, or lines down and up and nothing else."""


def visible(text: object, keep: str = "") -> str:
    """The text with an escape in place of every character of `HIDDEN`, but those to `keep`."""
    return HIDDEN.sub(lambda found: _kept(found[0], keep), str(text))


def visible_json(text: str) -> str:
    """JSON that says the same without such characters; its own line ends stay."""
    # Only texts can hold them, and there JSON has an escape for each.
    return HIDDEN.sub(lambda found: found[0] if found[0] in LINES else _utf16(found[0]), text)


def _kept(character: str, keep: str) -> str:
    return character if character in keep else character.encode("unicode_escape").decode()


def _utf16(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def console(*, stderr: bool = False, **options: Any) -> "Console":
    """A console on which only what rich itself draws commands the terminal.

    Of everything printed the text is escaped after it was laid out, so a cell that was not escaped
    before may be wider than its column, and no more. Markup in text is text.
    """
    from rich.console import Console

    stream: Any = sys.stderr if stderr else sys.stdout
    # Past `guarded_streams`, which would take rich's own colours for those of an input.
    while isinstance(stream, _Escaped):
        stream = getattr(stream.behind, "rich_proxied_file", stream.behind)
    options.setdefault("file", stream)
    made = Console(stderr=stderr, markup=False, emoji=False, highlight=False, **options)
    made.push_render_hook(cast(Any, _Hook()))
    return made


@final
class _Hook:
    """Has all that is printed pass `_Drawn`; rich asks for this method by name."""

    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        from rich.control import Control

        return [one if isinstance(one, Control) else _Drawn(one) for one in renderables]


@final
class _Drawn:
    """What rich draws, with its texts escaped."""

    def __init__(self, inner: "RenderableType") -> None:
        self.inner = inner

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[Segment]":
        from rich.segment import Segment

        for text, style, control in console.render(self.inner, options):
            yield Segment(text if control else visible(text, LINES), style, control)


@final
class _Escaped:
    """A stream whose text is escaped, for whoever writes to it; all else is that of `behind`.

    No stream by inheritance: those close what is behind them when they are gone.
    """

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        """Writes the text escaped; tabs and line ends stay, as does what goes before a bar."""
        found = BAR.match(text)
        bar = found[0] if found else ""
        self.behind.write(bar + visible(text[len(bar) :], "\n\t"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Escapes what is written to stdout and stderr within the block: warnings, logs and whatever
    other libraries print."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Escaped(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
