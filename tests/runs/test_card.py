from pathlib import Path

import pytest

from locscope.runs.card import licence_of, write_card


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\ntags: [a]\n---\n# Text", {"license": "mit"}),
        (
            "\ufeff---\r\nlicense: other\r\nlicense_name: own\r\nlicense_link: LICENSE\r\n---\r\n",
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
        ),
        ("---\nlicense: [mit, gpl]\n---", {"license": ["mit", "gpl"]}),
        ("---\nlicense: mit\n", {}),
        ("# Text\n\n---\nlicense: mit\n---\n", {}),
        ("---\nlanguage: en\n---\n", {}),
        ("---\nlicense: {oops\n---\n", {}),
        ("---\n- a list\n---\n", {}),
        ("", {}),
    ],
)
def test_the_licence_is_what_the_front_matter_states(tmp_path: Path, text: str, licence: dict):
    (tmp_path / "README.md").write_bytes(text.encode())
    assert licence_of(tmp_path) == licence


def test_no_card_or_none_that_can_be_read_states_none(tmp_path: Path):
    assert licence_of(tmp_path) == {}
    (tmp_path / "README.md").write_bytes(b"\xff\xfe")
    assert licence_of(tmp_path) == {}


def test_a_card_takes_the_location_of_another(tmp_path: Path):
    (tmp_path / "README.md").write_text("of the base")
    write_card(tmp_path, "ours\n")
    assert (tmp_path / "README.md").read_text() == "ours\n"
