import pytest

from locscope.edits.enough import FEW, FEWEST, enough


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_fewer_than_ten_are_refused_and_told_what_to_do(count):
    verdict = enough(count)
    assert verdict.refused
    assert f"{count}: add edits" in verdict.note
    assert "locscope edit --location" in verdict.note


@pytest.mark.parametrize("count", range(FEWEST, FEW))
def test_few_are_told_what_can_be_concluded(count):
    verdict = enough(count)
    assert not verdict.refused
    words = verdict.note.replace(",", "").split()
    parts = [int(words[words.index(w) - 2]) for w in ("select", "validate")]
    report = int(words[words.index("report") - 2])
    assert sum(parts) + report == count
    assert min(*parts, report) > 0
    assert f"below about {report**-0.5:.2f} " in verdict.note


def test_other_shares():
    assert "leaves 10 to select on, 10 to validate on, 20 to" in enough(40, (0.25, 0.25, 0.5)).note


def test_enough_says_nothing():
    assert enough(FEW).note == ""
    assert not enough(1000).refused
