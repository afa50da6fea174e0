import pytest

from locscope.edits.enough import FEW, FEWEST, resolution_note, why_too_few


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_fewer_than_ten_are_refused_and_told_what_to_do(count):
    reason = why_too_few(count)
    assert f"{count}: add edits" in reason
    assert "locscope edit --location" in reason
    assert resolution_note(count) == ""


@pytest.mark.parametrize("count", range(FEWEST, FEW))
def test_few_are_told_what_can_be_concluded(count):
    assert why_too_few(count) == ""
    note = resolution_note(count)
    words = note.replace(",", "").split()
    parts = [int(words[words.index(w) - 2]) for w in ("select", "validate")]
    report = int(words[words.index("report") - 2])
    assert sum(parts) + report == count
    assert min(*parts, report) > 0
    assert f"below about {report**-0.5:.2f} " in note


def test_other_shares():
    assert "leaves 10 to select on, 10 to validate on, 20 to" in resolution_note(
        40, (0.25, 0.25, 0.5)
    )


def test_enough_says_nothing():
    assert resolution_note(FEW) == ""
    assert why_too_few(1000) == ""
