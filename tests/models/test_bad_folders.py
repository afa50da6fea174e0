"""Every bad model folder is refused in one line before its weights are used; odd ones are right."""

from collections import Counter
from pathlib import Path

import pytest
from bad_input import fuzz_model_folders, model_folders
from families import save_tiny

from locscope.errors import UsageError
from locscope.models.load import load, peek


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama whose files are linked, never changed."""
    return save_tiny(tmp_path_factory.mktemp("good") / "m", "llama")


def _opened(folder: str) -> None:
    peek(folder)
    load(folder, device="cpu")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", model_folders.ALL, ids=lambda row: row[0])
def test_a_bad_folder_is_refused_in_one_line_that_names_what_is_wrong(
    row: model_folders.Row, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, change, words = row
    folder = model_folders.linked(good, tmp_path / "m")
    change(folder)
    if words == model_folders.ACCEPTED:
        assert load(str(folder), device="cpu").info.hash == peek(str(folder)).hash
        return
    with pytest.raises(UsageError) as caught:
        _opened(str(folder))
    said = str(caught.value).replace(str(tmp_path), "")
    assert all(word in said for word in words.split("|")), said
    assert len(said) < 300
    assert said.isprintable(), said
    # Nor do libraries print anything themselves, past Python.
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_folders_changed_at_random_are_told_in_one_line_or_right(
    good: Path, tmp_path: Path
) -> None:
    """`python tests/bad_input/fuzz_model_folders.py 600 0` looks for more."""
    seeds = sorted({*fuzz_model_folders.SEEDS, *range(400)})
    found = [fuzz_model_folders.told(_opened, good, tmp_path / str(seed), seed) for seed in seeds]
    assert [wrong for wrong in found if wrong] == []


def test_the_folders_are_many_and_their_names_tell_them_apart() -> None:
    names = Counter(name for name, _, _ in model_folders.ALL)
    assert len(names) == len(model_folders.ALL) >= 172
