import pytest

from locscope.scoring.text import cut_answer, normalise, normalised_match, stops_inside


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
    ],
)
def test_cut_answer(text, cut):
    assert cut_answer(text) == cut


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        ("Paris", False),
        ("Paris.", False),
        ("St. Louis", True),
        ("U.S.", True),
        ("Robert Downey Jr.", False),
        ("2. Bundesliga", True),
        (".NET", True),
    ],
)
def test_stops_inside(target, inside):
    assert stops_inside(target) is inside


def test_normalise_as_squad():
    assert normalise(" The  Beatles, a  rock-and-roll BAND!") == "beatles rockandroll band"
    assert normalise("Theatre") == "theatre"
    assert normalise("Straße") == "strasse"


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
    ],
)
def test_match(output, target, match):
    assert normalised_match(output, target) is match
