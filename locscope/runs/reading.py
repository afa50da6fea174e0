"""Files that someone else may have written or damaged: read within bounds, refused in one line.

A pipe or a device is not waited for, a huge file is not read, and what a text would become is
bounded while it is read: no aliases that multiply, no nesting without end, no key said twice.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from math import inf, isfinite
from pathlib import Path
from typing import IO, Any, final

import yaml

from locscope.errors import UsageError, shortened, shown

MOST_YAML = 1 << 19
"""Bytes of a settings file or recommendation: people write them, and YAML is slow to read."""
MOST_TEXT = 1 << 28
"""Bytes of a text, and of JSON but for records."""
DEEPEST = 32
"""Levels of lists and keys within each other in YAML."""
DEEPEST_JSON = 64
"""The same in JSON: far more than any configuration has, far fewer than end a stack."""
LONGEST_NUMBER = 4000
"""Digits; Python makes no integer of 4301. The fields have narrower limits, and name their key."""

_BLOCK = 1 << 20
_PIPES = ("/dev/", "/proc/")
_WORDS = {"": None, "~": None, "null": None}
_WORDS |= dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(("false", "no", "off"), False)
# Of YAML 1.1 what PyYAML writes, so that all texts it leaves without quotes are texts here too. No
# dates, and no 010 for 8 or 1:30 for 90: those are texts, which the fields refuse by name.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)")
_NAN = (".nan", ".NaN", ".NAN")


class Unreadable(Exception):
    """What is wrong with a text, in words to put after the name of its file."""


def read_bytes(path: Path, most: int = MOST_TEXT, *, links: bool = True) -> bytes:
    """The content of a regular file, and of a pipe that the shell made for this command.

    Raises Unreadable where it is anything else (a link too, unless `links`), or has more bytes
    than `most`; an OSError where the system refuses.
    """
    # Not blocking: opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    if not links and path.is_symlink():
        raise Unreadable("it is a link, not a file")
    if "\0" in str(path):
        raise Unreadable("its name holds a NUL character")
    descriptor = os.open(path, flags)
    try:
        _check_kind(os.fstat(descriptor), path, most)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    with open(descriptor, "rb") as file:
        content = read_within(file, most)
    if len(content) > most:
        raise Unreadable(_too_large(most))
    return content


def read_within(file: IO[bytes], most: int) -> bytes:
    """All that a file has, or `most` bytes and one more where it has more."""
    # In blocks: to read so many at once takes memory for all of them, and most files have few.
    blocks, left = list[bytes](), most + 1
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def read_text(path: Path, what: str, most: int = MOST_TEXT) -> str:
    """The text of a UTF-8 file; a UsageError says why `what` (as: settings) cannot be read."""
    try:
        # Editors on Windows begin files with a byte order mark.
        text = read_bytes(path, most).decode("utf-8-sig")
    except (OSError, Unreadable, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {what} {path}: {reason_of(error)}") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UsageError(f"cannot read {what} {path}: line {line} holds a NUL character")
    return text


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file; a UsageError as for its text, or with the line that is wrong."""
    text = read_text(path, what, MOST_YAML)
    try:
        return parse_yaml(text)
    except Unreadable as error:
        raise UsageError(f"cannot read {what} {path}: {error}") from error


def read_json(path: Path, what: str, most: int = MOST_TEXT) -> Any:
    """The content of a JSON file; a UsageError as for its text, or saying what is wrong."""
    text = read_text(path, what, most)
    try:
        return parse_json(text)
    except Unreadable as error:
        raise UsageError(f"cannot read {what} {path}: {error}") from error


def reason_of(error: Exception) -> str:
    """Why a file could not be read, in words."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8 text"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def parse_json(text: str | bytes, largest: float = inf) -> Any:
    """What a JSON text says; Unreadable where a key is said twice, a number is not finite (its key
    is named), too long or from `largest` on, or it is nested too deeply."""
    try:
        value = json.loads(text, object_pairs_hook=once)
        for key, leaf in leaves(value):
            if isinstance(leaf, float) and not isfinite(leaf):
                raise Unreadable(
                    f"{shown(key)} is {leaf}, no finite number (write null where there is none)"
                )
            if isinstance(leaf, int) and abs(leaf) >= largest:
                raise Unreadable(f"{shown(key)} is a whole number that is too large")
        return value
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"not JSON ({error.msg} at {place})") from error
    except RecursionError as error:
        raise Unreadable("not JSON: nested too deeply") from error
    # Integers of more digits than Python converts, and bytes of no encoding.
    except ValueError as error:
        raise Unreadable("not JSON: a number of too many digits, or not UTF-8 text") from error


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested objects and lists that is neither, with its key, as `a.b.0`.

    Raises RecursionError beyond `DEEPEST_JSON`.
    """
    # A stack of our own: a generator within a generator takes time by depth for every leaf.
    waiting = [(key, value, 0)]
    while waiting:
        key, value, depth = waiting.pop()
        if depth > DEEPEST_JSON:
            raise RecursionError
        if isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            below = [(f"{key}.{k}" if key else str(k), item, depth + 1) for k, item in inner]
            waiting += reversed(below)
        else:
            yield key, value


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values; Unreadable where one is there twice."""
    pairs = list(pairs)
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        values = " and ".join(shown(value) for name, value in pairs if name == twice)
        raise Unreadable(f"key '{twice}' is there twice, as {shortened(values, 400)}")
    return found


def parse_yaml(text: str) -> Any:
    """What a YAML text says: lists, texts, numbers, true, false, null; None where it is empty.

    Raises Unreadable, with the line, for anything else: aliases, tags, a key twice, deep nesting.
    A date is a text.
    """
    try:
        return _built(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        raise Unreadable(f"not YAML{line}") from error


def _check_kind(status: os.stat_result, path: Path, most: int) -> None:
    # `--settings <(...)`: the shell holds the other end, so that reading it ends.
    piped = stat.S_ISFIFO(status.st_mode) and str(path).startswith(_PIPES)
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable("it is a directory")
    if not (stat.S_ISREG(status.st_mode) or piped):
        raise Unreadable("it is no regular file")
    if status.st_size > most:
        raise Unreadable(_too_large(most))


def _too_large(most: int) -> str:
    size = f"{most >> 20} MiB" if most >> 20 else f"{most >> 10} KiB"
    return f"it is too large (more than {size})"


@final
class _Level:
    """A list, or an object with the key that waits for its value, whose end is not there yet."""

    def __init__(self, event: Any) -> None:
        self.made: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.key: str | None = None

    def add(self, value: Any, line: int) -> None:
        """The next item of the list, or the next key or value of the object."""
        if isinstance(self.made, list):
            self.made.append(value)
        elif self.key is not None:
            self.made[self.key], self.key = value, None
        elif isinstance(value, list | dict):
            raise Unreadable(f"line {line}: a key is a list or has keys itself")
        elif (key := str(value)) in self.made:
            raise Unreadable(f"line {line}: key '{key}' is there twice")
        else:
            self.key = key


def _built(text: str) -> Any:
    """The value from the events of the text: nothing recurses, and nothing is made that is not
    written out."""
    levels: list[_Level] = []
    found: list[Any] = []
    # The parser in C is ten times faster, where PyYAML was built with it.
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        line = event.start_mark.line + 1
        _check_event(event, line, len(levels))
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            levels.append(_Level(event))
            continue
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            value = levels.pop().made
        else:
            continue
        if levels:
            levels[-1].add(value, line)
        elif found:
            raise Unreadable(f"line {line}: a second document begins; write one")
        else:
            found.append(value)
    return found[0] if found else None


def _check_event(event: Any, line: int, depth: int) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise Unreadable(f"line {line}: alias *{event.anchor} is not read: write the value out")
    if getattr(event, "tag", None):
        raise Unreadable(f"line {line}: tag {event.tag} is not read: leave it out")
    if depth > DEEPEST:
        raise Unreadable(f"line {line}: nested more than {DEEPEST} levels deep")


def _scalar(event: yaml.ScalarEvent, line: int) -> Any:
    text = event.value
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"line {line}: half a surrogate pair") from error
    if not event.implicit[0]:
        return text
    # yes, Yes and YES, not yEs: that is a text to PyYAML too.
    written = text in (text.lower(), text.upper(), text.title())
    known = written and text.lower() in _WORDS
    return _WORDS[text.lower()] if known else _number(text, line)


def _number(text: str, line: int) -> Any:
    kinds: tuple[tuple[Callable[[str], Any], Any], ...] = ((int, _INTEGER), (float, _FLOAT))
    for kind, pattern in kinds:
        if pattern.fullmatch(text):
            if len(text) > LONGEST_NUMBER:
                raise Unreadable(f"line {line}: a number of {len(text)} characters is too long")
            # `.inf` of YAML is `inf` to Python.
            return kind(text.replace(".i", "i").replace(".I", "I"))
    return float("nan") if text in _NAN else text
