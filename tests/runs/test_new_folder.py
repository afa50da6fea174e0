"""A folder appears whole or not at all, whatever fails; where it cannot, that is said before."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from faults import FULL, refusing

from locscope.errors import UsageError
from locscope.runs import new_folder as module
from locscope.runs.new_folder import check_new, check_room, is_partial, new_folder, note_on_partials


def write(output: Path) -> None:
    with new_folder(output) as partial:
        (partial / "a").write_text("1")
        (partial / "b").mkdir()
        (partial / "b" / "c").write_text("2")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "out") as partial:
        (partial / "a").write_text("1")
        assert is_partial(partial)
        assert names(tmp_path / "deep") == {partial.name}
    assert names(tmp_path / "deep") == {"out"}
    assert names(tmp_path / "deep" / "out") == {"a"}


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("private")
    check_new(tmp_path / "link")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "private") == {"a", "b"}
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()])
def test_nothing_stays_of_what_fails_at_any_step(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = 0
    for raised in refusing(monkeypatch, error, lambda: write(tmp_path / "out")):
        assert names(tmp_path) == (set() if raised else {"out"})
        failed += raised is not None
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert failed >= 6


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    stale, others = tmp_path / ".out.0123abcd.partial", tmp_path / ".out.more.0123abcd.partial"
    for folder in (stale, others):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    with new_folder(tmp_path / "out") as first:
        check_room(tmp_path / "out", 1)
        assert names(tmp_path) == {first.name, others.name}
        write(tmp_path / "out")
        with pytest.raises(OSError, match="not empty"):
            first.rename(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
    assert names(tmp_path) == {"out", others.name}


def test_what_is_there_by_then_is_not_replaced(tmp_path: Path) -> None:
    def fill() -> None:
        with new_folder(tmp_path / "out"):
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "mine").write_text("mine")

    with pytest.raises(OSError, match="not empty"):
        fill()
    assert names(tmp_path) == {"out"}
    assert (tmp_path / "out" / "mine").read_text() == "mine"


def made(folder: Path) -> Path:
    (folder / "file").write_text("mine")
    (folder / "full").mkdir()
    (folder / "full" / "mine").write_text("mine")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "tofile").symlink_to("file")
    (folder / "tofull").symlink_to("full")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "there already") for name in ("file", "full", "tofile", "tofull", "pipe", ".")),
        *((name, "[Nn]ot a directory") for name in ("file/x", "file/x/y", "tofile/x")),
        *((name, "levels of symbolic links") for name in ("loop", "loop/x")),
        *(("dangling", "a link to what is not there"), ("x" * 300, "name too long")),
    ],
)
def test_an_output_that_cannot_be_is_refused_in_one_line(
    name: str, words: str, tmp_path: Path
) -> None:
    before = names(made(tmp_path))
    with pytest.raises(UsageError, match=words) as caught:
        check_new(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before


def test_a_folder_without_permission_a_mount_and_a_full_disk_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        # Root may write anywhere, so that a mode would tell nothing.
        patched.setattr(os, "access", lambda *_: False)
        with pytest.raises(UsageError, match=f"no permission to write into {tmp_path}"):
            check_new(tmp_path / "a" / "b")
    (tmp_path / "volume").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "ismount", lambda path: str(path).endswith("volume"))
        with pytest.raises(UsageError, match="mount point, give a folder in it"):
            check_new(tmp_path / "volume")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=3 * 2**20))
    check_room(tmp_path / "out", 2**20)
    with pytest.raises(UsageError, match=r"it needs 4 MiB, and 3 MiB are free there"):
        check_room(tmp_path / "out", 3 * 2**20)


def test_a_name_of_any_bytes_and_length_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 120, "a\nb", " ", "-x", "x.partial"):
        check_new(tmp_path / name)
        write(tmp_path / name)
        assert not is_partial(tmp_path / name)
        assert names(tmp_path / name) == {"a", "b"}


def test_what_a_file_system_without_locks_keeps_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / ".out.0123abcd.partial"
    stale.mkdir()

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module.fcntl, "flock", none)
    check_room(tmp_path / "out", 1)
    (note,) = note_on_partials(tmp_path / "out")
    assert stale.name in note
    assert "remove it" in note
    monkeypatch.undo()
    check_room(tmp_path / "out", 1)
    assert note_on_partials(tmp_path / "out") == ()
