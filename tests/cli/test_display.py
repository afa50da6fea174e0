"""Nothing of an input reaches a terminal, a log or a notebook raw, wherever it is quoted."""

import json
import logging
import sys
import unicodedata
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.text import Text
from screens import in_terminal
from typer.testing import CliRunner

from locscope.api.bars import Bar
from locscope.cli import _defect
from locscope.cli.app import app, guarded
from locscope.cli.listener import Lines, Terminal
from locscope.cli.printing import print_measures, print_rows, say, say_json, show
from locscope.display import HIDDEN, console, guarded_streams, visible, visible_json
from locscope.errors import UsageError, unknown
from locscope.progress import Progress, stage
from locscope.records import Descriptor, Measure, ScanResult
from locscope.report.output.terminal import scan_summary

INPUTS = {
    "colour": "a\x1b[31mred",
    "clear": "a\x1b[2J\x1b[H",
    "title": "a\x1b]0;owned\x07",
    "link": "a\x1b]8;;http://evil.example\x1b\\bank\x1b]8;;\x1b\\",
    "clipboard": "a\x1b]52;c;AAAA\x07",
    "device control": "a\x1bP+q\x1b\\",
    "C1 colour": "a\x9b31mred",
    "C1 title": "a\x9d0;owned\x9c",
    "bell": "a\x07b",
    "backspace": "rm\x08\x08ls",
    "return": "done\rfailed",
    "line": "a\nlocscope: all is well",
    "vertical": "a\x0bb\x0cc",
    "delete": "a\x7fb",
    "nul": "a\x00b",
    "override": "a\u202egpj.exe",
    "embedding": "a\u202ab\u202c",
    "isolate": "a\u2066b\u2069",
    "mark": "a\u200fb",
    "no width": "pay\u200bpal",
    "joiner": "pay\u200dpal",
    "soft hyphen": "pay\u00adpal",
    "byte order": "pay\ufeffpal",
    "separator": "a\u2028b\u2029c",
    "tags": "a\U000e0041\U000e0042",
    "half": "a\udc9bb",
    "filler": "a\u3164b",
    "markup": "a[red]b[/red]",
    "markup link": "a[link=http://evil.example]b[/link]",
    "markup end": "a[/]b",
    "emoji code": "a:bomb:b",
}
SEEN = ("葛\U000e0100城", "می\u200cخواهم", "خانه\u200c", "क्\u200dष", "👩\u200d💻")
"""Texts of languages and emoji that need characters without width: variants and joiners."""
MARKUP = ("markup", "markup link", "markup end", "emoji code")
"""Inputs that are harmless as they stand, and have to come out so."""
IN_COMMANDS = ("link", "C1 title", "line", "nul", "override", "half", "markup end")
"""Inputs that whole commands are given, which take longer."""
OF_LINES = ("a table", "plain", "others", "defect")
"""Places with lines of their own, where a line end is one."""


def _failing(error: Exception) -> Callable[[str], None]:
    def place(text: str) -> None:
        with pytest.raises(typer.Exit), guarded():
            raise type(error)(text)

    return place


def _in_stages(progress: Progress, text: str) -> None:
    with stage(progress, text, 2), stage(progress, text, 2):
        progress.advance(text)
        progress.say(text)


def _from_others(text: str) -> None:
    """What libraries print, log and warn of while a command runs."""
    handler = logging.StreamHandler()
    with guarded():
        handler.setStream(sys.stderr)
        handler.emit(logging.makeLogRecord({"msg": text}))
        sys.stdout.write(text)
        sys.stderr.writelines([text, "\n"])
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(text, stacklevel=1)


def _scans(text: str) -> None:
    descriptor = Descriptor(text, text, text, text, "locscope.scans.gradient:scan")
    show(scan_summary([ScanResult(descriptor, (), 1, 1, 0, 1.0, notes=(text,))]))


def _written(*words: str) -> Callable[[str], None]:
    """The command line with the text in place of `{}`; its exit code is that of wrong usage."""

    def place(text: str) -> None:
        # No system passes a zero byte to a program, and typer below 0.29 does not refuse one.
        passed = text.replace("\0", "")
        result = CliRunner().invoke(app, [word.replace("{}", passed) for word in words])
        assert result.exit_code == 2, result.output
        assert result.stderr.count("\n") == (not result.stdout), "an error is one line"
        sys.stdout.write(result.stdout)
        sys.stderr.write(result.stderr)

    return place


def _settings(line: str) -> Callable[[str], None]:
    def place(text: str) -> None:
        Path("s.yaml").write_text(line.format(json.dumps(text)), encoding="utf-8")
        _written("check", "--settings", "s.yaml")("")

    return place


def _edits(text: str) -> None:
    rows = [{"prompt": text, "target": "a"}, {"prompt": text, "target": "b"}]
    Path("e.json").write_text(json.dumps(rows), encoding="utf-8")
    _written("check", "--edits", "e.json")("")
    Path("e.json").write_text(json.dumps([{text: "a"}]), encoding="utf-8")
    _written("check", "--edits", "e.json")("")


def _run_folder(text: str) -> None:
    Path("run").mkdir(exist_ok=True)
    marker = {"schema_number": 1, "status": "started", "settings": {text: text}}
    for one in (marker, {**marker, "verb": text, "settings": {}}):
        (Path("run") / "run.json").write_text(json.dumps(one), encoding="utf-8")
        _written("report", "run")("")


def _recommendation(text: str) -> None:
    for content in ({text: 1}, {"locscope": {text: 1}}, {"locscope": text}):
        Path("r.yaml").write_text(json.dumps(content), encoding="utf-8")
        _written("edit", "--config", "r.yaml", "--output", "out")("")


PLACES: dict[str, Callable[[str], None]] = {
    "error": _failing(UsageError("")),
    "error of memory": _failing(MemoryError()),
    "unknown": lambda text: sys.stderr.write(str(unknown(text, text, [text, "b"]))),
    "lines": lambda text: _in_stages(Lines(console(stderr=True)), text),
    "bars": lambda text: _in_stages(Terminal(console(stderr=True)), text),
    "notebook": lambda text: _in_stages(Bar(), text),
    "rows": lambda text: print_rows([(text, text)]),
    "measures": lambda text: print_measures([Measure("kl", 0.5, 1, text)], text),
    "a line": say,
    "a table": lambda text: show(Text(text)),
    "plain": show,
    "scans": _scans,
    "others": _from_others,
    "defect": lambda text: _defect(ValueError, ValueError(text), None),
}
COMMANDS: dict[str, Callable[[str], None]] = {
    "option": _written("check", "--{}"),
    "option's value": _written("check", "--limit", "{}"),
    "choice": _written("list", "models", "--format", "{}"),
    "command": _written("{}"),
    "argument": _written("list", "models", "{}"),
    "kind": _written("list", "{}"),
    "model": _written("check", "--model", "./{}"),
    "edits": _written("check", "--edits", "./{}.json"),
    "location": _written("edit", "--location", "{}", "--output", "out"),
    "device": _written("check", "--device", "{}"),
    "dtype": _written("check", "--dtype", "{}"),
    "settings": _written("check", "--settings", "./{}"),
    "run": _written("report", "./{}"),
    "key": _settings("{}: 1"),
    "value": _settings("seed: {}"),
    "edits' content": _edits,
    "run's content": _run_folder,
    "recommendation": _recommendation,
}


def _raw(text: str) -> list[str]:
    return [found[0] for found in HIDDEN.finditer(text) if found[0] != "\n"]


@pytest.mark.parametrize("place", [*PLACES, *COMMANDS])
def test_nothing_of_an_input_is_printed_raw(
    place: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in INPUTS if place in PLACES else IN_COMMANDS:
        ({**PLACES, **COMMANDS})[place](INPUTS[name])
        seen = capsys.readouterr()
        shown = seen.out + seen.err
        if place == "notebook":  # Its bar goes back to the start of the line.
            shown = shown.replace("\r", "\n")
        assert _raw(shown) == [], f"{name} in {place}: {shown!r}"
        alone = "locscope: all is well" in shown.splitlines()
        assert place in OF_LINES or not alone, f"{place}: a line of its own"


@pytest.mark.parametrize("place", ["error", "lines", "rows", "measures", "a line", "a table"])
def test_markup_is_text(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in MARKUP:
        PLACES[place](INPUTS[name])
        seen = capsys.readouterr()
        assert INPUTS[name] in seen.out + seen.err


def test_bars_in_a_terminal_are_drawn_by_no_one_else() -> None:
    """There rich writes sequences of its own: of the input's none is among them."""
    for name, text in INPUTS.items():
        file = StringIO()
        progress = Terminal(console(file=file, force_terminal=True, width=80))
        _in_stages(progress, text)
        assert name in MARKUP or text not in file.getvalue(), name
        assert "evil.example\x1b" not in file.getvalue()
        assert visible(text)[:20] in file.getvalue(), name


def test_every_character_that_is_not_seen_is_escaped() -> None:
    signs = {"\u0600", "\u06dd", "\u070f", "\u0890", "\u08e2", "\U000110bd", "\U00013430"}
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            continue
        # Arabic, Syriac, Kaithi and Egyptian have format characters that are signs on paper.
        seen = any(0 <= code - ord(sign) < 0x11 for sign in signs)
        assert seen or character not in visible(f"a{character}b"), hex(code)


def test_what_people_write_stays() -> None:
    for text in ("می‌خواهم", "क्‍ष", "👩‍👩‍👧", "naïve – “quoted” 東京 é", "C:\\new"):
        assert visible(text) == text


@pytest.mark.parametrize("name", INPUTS)
def test_json_says_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = {INPUTS[name]: [INPUTS[name]]}
    say_json(json.dumps(content, ensure_ascii="half" in name, indent=1))
    printed = capsys.readouterr().out
    assert _raw(printed) == []
    assert json.loads(printed) == content
    assert json.loads(visible_json(json.dumps(content, ensure_ascii=False))) == content


@pytest.mark.slow
def test_a_terminal_is_not_commanded(tmp_path: Path) -> None:
    rows = [{"prompt": f"a{i}\x1b]0;owned\x07\x1b[2J is", "target": "b\x9b31m"} for i in range(12)]
    (tmp_path / "e.json").write_text(json.dumps(rows), encoding="utf-8")
    given = [
        "--edits",
        "e.json",
        "--limit",
        "12",
        "--scans",
        "logit-lens",
        "--output",
        "\x1b[5mrun",
    ]
    seen = in_terminal(["scan", *given], 100, tmp_path)
    assert seen.code in {0, 3}, seen.text
    assert "\\x1b[5mrun" in seen.text
    wrong = in_terminal(["scan", "--limit", "\x1b]0;owned\x07"], 100, tmp_path)
    assert wrong.code == 2
    assert len([line for line in wrong.lines if line]) <= 2


@pytest.mark.parametrize("text", SEEN)
def test_what_languages_need_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_bars_of_other_libraries_may_move_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with guarded_streams():
        for chunk in ("\n\n", "\x1b[A\x1b[A", "\rhalf", "\x1b[A\x1b[31mred"):
            sys.stderr.write(chunk)
    assert capsys.readouterr().err == "\n\n\x1b[A\x1b[A\rhalf\\x1b[A\\x1b[31mred"
