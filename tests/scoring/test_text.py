import pytest

from locscope.scoring.text import (
    cannot_match,
    cut_answer,
    ended,
    holds_stop,
    may_reason,
    normalise,
    normalised_match,
    without_reasoning,
)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (" Paris. It is", "Paris"),
        ("Paris\nParis", "Paris"),
        (" St. Louis", "St"),
        ("U.S.", "U"),
        ("", ""),
        ("\nParis", ""),
        ("no stop ", "no stop"),
        ("司马光。他", "司马光"),
        ("什么？", "什么"),
        ("दिल्ली। और", "दिल्ली"),
        ("3.14. Then", "3.14"),
        ("3.", "3"),
        ("2. Bundesliga", "2"),
    ],
)
def test_cut_answer(text, cut):
    assert cut_answer(text) == cut


@pytest.mark.parametrize(
    ("text", "target", "cut"),
    [
        (" St. Louis. Then", "St. Louis", "St. Louis"),
        (" St. Louis\nThen", "St. Louis", "St. Louis"),
        (" U.S. is. So", "U.S.", "U.S"),
        (" Robert Downey Jr. is", "Robert Downey Jr.", "Robert Downey Jr"),
        (" one\ntwo\nthree", "one\ntwo", "one\ntwo"),
    ],
)
def test_stops_of_the_target_end_no_answer(text, target, cut):
    assert cut_answer(text, target) == cut


@pytest.mark.parametrize(
    ("text", "target", "over"),
    [
        ("Paris", "", False),
        ("Paris.", "", True),
        ("Paris\n", "", True),
        ("巴黎。", "", True),
        ("3.", "", False),
        ("3.1", "", False),
        ("3. ", "", True),
        ("St.", "St. Louis", False),
        ("St. Louis.", "St. Louis", True),
        ("St.\n", "St. Louis", True),
    ],
)
def test_an_answer_has_ended_once_no_text_can_change_it(text, target, over):
    assert ended(text, target) is over


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        ("Paris", False),
        ("Paris.", True),
        ("St. Louis", True),
        ("U.S.", True),
        ("3.14", False),
        ("2. Bundesliga", True),
        (".NET", True),
    ],
)
def test_holds_stop(target, holds):
    assert holds_stop(target) is holds


def test_a_reasoning_block_is_skipped():
    assert without_reasoning("<think>\nHm. 1\n</think>\n\nParis. It") == "Paris. It"
    assert without_reasoning("<think>\nHm. 1") == ""
    assert without_reasoning(" Paris <think>") == " Paris <think>"
    assert may_reason("\n<th")
    assert may_reason("<think>\nHm")
    assert not may_reason("<think>Hm</think>")
    assert not may_reason("<b>")
    assert not may_reason(" ")


def test_normalise_as_squad():
    assert normalise(" The  Beatles, a  rock-and-roll BAND!") == "beatles rockandroll band"
    assert normalise("Theatre") == "theatre"
    assert normalise("Straße") == "strasse"
    assert normalise("1,000") == "1000"
    assert normalise("F-16") == "f16"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("「司马光」", "司马光"),
        ("“Paris”", "Paris"),
        ("Москва»", "Москва"),
        ("Ｔｏｋｙｏ", "Tokyo"),
        ("Zu\u0308rich", "Zürich"),
        ("Pa\u200dris", "Paris"),
        ("−5", "-5"),
        ("1939–45", "1939-45"),
    ],
)
def test_other_ways_to_write_it_are_the_same(text, same):
    assert normalise(text) == normalise(same) != ""


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("-5", "5"), ("+5", "5"), ("C#", "C"), ("C++", "C"), ("50%", "50"), ("$5", "5"),
        ("€5", "$5"), ("#1", "1"), ("3.14", "314"), ("1/2", "12"), ("10:30", "1030"),
        ("1939-45", "193945"), ("R&D", "RD"), ("A+", "A"),
    ],
)  # fmt: skip
def test_what_carries_meaning_is_kept(text, other):
    assert normalise(text) != normalise(other)
    assert not normalised_match(other, text)
    assert normalised_match(f" {text}. So", text)


def test_a_text_of_nothing_else_is_kept():
    assert normalise("A") == "a"
    assert normalise("?") == "?"
    assert not normalised_match("", "A")
    assert not normalised_match("", "The")


@pytest.mark.parametrize(
    ("output", "target", "match"),
    [
        (" paris. And", "Paris", True),
        (" the United States", "United States", True),
        (" St. Louis. Then", "St. Louis", True),
        (" St. Louis", "Louis", False),
        (" U.S. ", "U.S.", True),
        (" Paris is", "Paris", False),
        ("", "Paris", False),
        (" .NET", ".NET", True),
        ("", ".NET", False),
        (" B", "A", False),
        (" St. Paul", "St. Louis", False),
        (" St", "St. Louis", False),
        (" 3.14 is", "3.14", False),
        (" 3.9", "3.14", False),
        (" 3.9", "3", False),
        (" 3. And", "3", True),
        (" U.S. And", "U.S.", True),
        ("...", "...", True),
        ("", "...", False),
    ],
)
def test_match(output, target, match):
    assert normalised_match(output, target) is match


@pytest.mark.parametrize(
    ("beginning", "target", "hopeless"),
    [
        (" Romania", "Rome", True),
        (" Rome is", "Rome", True),
        (" Rome i", "Rome", True),
        (" Rome t", "Rome", False),
        (" the Rom", "Rome", False),
        (" St. Pau", "St. Louis", True),
        (" St. Louis. X", "St. Louis", False),
        (" Paris.", "Rome", True),
        (" 3.", "3.14", False),
        (" 3.9", "3.14", True),
        ("-", "5", False),
    ],
)
def test_cannot_match(beginning, target, hopeless):
    assert cannot_match(beginning, target) is hopeless
