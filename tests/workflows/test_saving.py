"""A saved model is its own files, whole and read back, or it is not there."""

import errno
import os
import resource
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from unittest.mock import Mock

import pytest
import torch
from families import save_tiny, tiny, tiny_tokenizer
from faults import FULL, refusing
from killing import content
from safetensors.torch import load_file, save_file

from locscope.errors import LocscopeError, UsageError
from locscope.models.checkpoint import read_checkpoint
from locscope.models.load import in_memory
from locscope.models.save import check_savable, written_anew
from locscope.progress import Silent
from locscope.runs import new_folder
from locscope.runs.note import read_note
from locscope.settings import EditSettings
from locscope.tuning.trial import Tuned
from locscope.workflows.edit import EditPlan, plan_edit, tune
from locscope.workflows.saving import (
    check_output,
    note_on_files,
    save_in_memory,
    save_tuned,
)
from locscope.workflows.workspace import note_on_weights


def planned(base: Path, edits_file: Path, **more: object) -> EditPlan:
    given = {"model": str(base), "edits": str(edits_file), "location": "L1.mlp", "lr": 1e-3}
    return plan_edit(EditSettings(**{**given, "epochs": 1, **more}), None, None)


def save(plan: EditPlan, tuned: Tuned, output: Path) -> tuple[str, ...]:
    return save_tuned(plan.loaded, tuned, plan.settings, plan.objective, output)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, edits_file: Path) -> tuple[EditPlan, Tuned]:
    """A model in two shards, tuned in both of them."""
    base = save_tiny(tmp_path_factory.mktemp("base") / "model", "llama")
    (base / "model.safetensors").unlink()
    tiny("llama").save_pretrained(base, max_shard_size="60KB")
    assert len(list(base.glob("*.safetensors"))) > 2
    plan = planned(base, edits_file)
    return plan, tune(plan, Silent())


def home(plan: EditPlan) -> Path:
    assert plan.loaded.directory is not None
    return plan.loaded.directory


def untouched(plan: EditPlan, tuned: Tuned) -> set[str]:
    """Names of the weight files that hold no tuned tensor."""
    changed = {piece.name for piece in tuned.changes}
    shards = read_checkpoint(home(plan)).shards
    return {path.name for path, tensors in shards.items() if not changed & tensors.keys()}


def test_only_the_changed_tensors_differ(one: tuple[EditPlan, Tuned], tmp_path: Path) -> None:
    plan, tuned = one
    save(plan, tuned, tmp_path / "out")
    before, after = content(home(plan)), content(tmp_path / "out")
    assert before.keys() == after.keys()
    changed = {piece.name: values for piece, values in tuned.changes.items()}
    seen = 0
    for path in home(plan).glob("*.safetensors"):
        mine, theirs = load_file(tmp_path / "out" / path.name), load_file(path)
        for key, tensor in theirs.items():
            wanted = tensor
            if key in changed:
                wanted, seen = changed[key].reshape(tensor.shape), seen + 1
            assert torch.equal(mine[key], wanted), key
    assert seen == len(changed) == 3
    for name in before:
        assert name.endswith(".safetensors") or before[name] == after[name]


def test_files_without_a_tuned_tensor_are_linked_or_copied(
    one: tuple[EditPlan, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, tuned = one
    same = untouched(plan, tuned)
    assert 0 < len(same) < len(list(home(plan).glob("*.safetensors")))
    copied, real = list[str](), shutil.copyfileobj

    def copy(source: BinaryIO, target: BinaryIO, block: int) -> None:
        copied.append(Path(target.name).name)
        real(source, target, block)

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    (line,) = save(plan, tuned, tmp_path / "linked")
    assert not same & set(copied)
    inodes = {path.name for path in home(plan).iterdir() if _shared(path, tmp_path / "linked")}
    assert inodes == same
    assert line.startswith(f"{len(same)} of ")
    # A disk without links, one of its own, and files of somebody else.
    refused = OSError(errno.EPERM, os.strerror(errno.EPERM))
    for case in ("refused", "another disk", "not ours"):
        with monkeypatch.context() as patched:
            if case == "refused":
                patched.setattr(os, "link", Mock(side_effect=refused))
            elif case == "another disk":
                patched.setattr(new_folder, "_above", lambda _: Path("/proc"))
            else:
                patched.setattr(os, "geteuid", lambda: 12345)
            assert save(plan, tuned, tmp_path / case) == ()
        assert not any(_shared(path, tmp_path / case) for path in home(plan).iterdir())
        assert content(tmp_path / case) == content(tmp_path / "linked")


def test_room_is_wanted_for_what_is_written_anew(
    one: tuple[EditPlan, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, tuned = one
    names = [piece.name for piece in tuned.changes]
    checkpoint = read_checkpoint(home(plan))
    whole = sum(map(len, content(home(plan)).values()))
    linked = sum(len(content(home(plan))[name]) for name in untouched(plan, tuned))
    assert written_anew(checkpoint, tmp_path / "out", names) == whole - linked
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert written_anew(checkpoint, tmp_path / "out", names) == whole


def _shared(path: Path, folder: Path) -> bool:
    return path.samefile(folder / path.name)


@pytest.mark.parametrize(("error", "every"), [(FULL, 1), (KeyboardInterrupt(), 5)])
def test_nothing_stays_where_the_disk_refuses_any_step(
    error: BaseException,
    every: int,
    one: tuple[EditPlan, Tuned],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, failed = tmp_path / "out", 0
    for raised in refusing(monkeypatch, error, lambda: save(*one, out), every):
        assert [path.name for path in tmp_path.iterdir()] == ([] if raised else ["out"])
        if raised:
            failed += 1
            assert isinstance(raised, LocscopeError if error is FULL else KeyboardInterrupt)
            assert "\n" not in str(raised)
        shutil.rmtree(out, ignore_errors=True)
    # Each file is made, copied, changed, synced and read back.
    assert failed > 60 / every


@pytest.mark.parametrize("limit", [0, 1000, 10_000, 20_000, 50_000])
def test_a_file_that_the_system_cuts_short_is_no_model(
    limit: int, one: tuple[EditPlan, Tuned], tmp_path: Path
) -> None:
    """The kernel's own error in the midst of a write, which needs no full disk and no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(LocscopeError, match=r"nothing is left in .*: File too large"):
            save(*one, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_midst_of_a_save(
    one: tuple[EditPlan, Tuned], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.call(mount, stderr=-3):
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(UsageError, match="are free there; make room"):
            check_output(disk / "out", one[0].loaded)
        for free in (0, 8, 20, 40, 60, 80, 100, 120):
            (disk / "other").write_bytes(bytes(2**20 - free * 1024))
            with pytest.raises(LocscopeError, match=r"nothing is left in .*: No space left on dev"):
                save(*one, disk / "out")
            assert [path.name for path in disk.iterdir()] == ["other"]
            (disk / "other").unlink()
        save(*one, disk / "out")
        assert content(disk / "out").keys() == content(home(one[0])).keys()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_the_disk_gives_back_otherwise_is_not_saved(
    one: tuple[EditPlan, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, (plan, tuned) = shutil.copyfileobj, one
    for name in sorted(content(home(plan)).keys() - untouched(plan, tuned)):
        for at in (0, -1):

            def corrupt(
                source: BinaryIO, target: BinaryIO, block: int, name: str = name, at: int = at
            ) -> None:
                real(source, target, block)
                if Path(target.name).name == name:
                    target.flush()
                    data = bytearray(Path(target.name).read_bytes())
                    data[at] ^= 1
                    target.seek(0)
                    target.write(data)

            monkeypatch.setattr(shutil, "copyfileobj", corrupt)
            with pytest.raises(LocscopeError, match=f"{name} was not written as it should be"):
                save(*one, tmp_path / "out")
            assert list(tmp_path.iterdir()) == []


def test_a_base_that_changed_since_it_was_loaded_is_not_mixed_with_its_tuning(
    one: tuple[EditPlan, Tuned], tmp_path: Path
) -> None:
    plan, tuned = one
    other = replace(plan.loaded, info=replace(plan.loaded.info, hash="0" * 16))
    with pytest.raises(LocscopeError, match="has changed since it was loaded"):
        save(replace(plan, loaded=other), tuned, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_overflows_the_stored_dtype_is_not_saved(
    edits_file: Path, tmp_path: Path
) -> None:
    base = save_tiny(tmp_path / "base", "llama")
    weights = {k: v.half() for k, v in load_file(base / "model.safetensors").items()}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    plan = planned(base, edits_file)
    tuned = tune(plan, Silent())
    piece, values = next(iter(tuned.changes.items()))
    large = replace(tuned, changes={piece: values + 1e6})
    with pytest.raises(LocscopeError, match=r"not finite in torch.float16"):
        save(plan, large, tmp_path / "out")
    save(plan, tuned, tmp_path / "out")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float16}


def test_neither_strangers_nor_modes_are_copied(
    one: tuple[EditPlan, Tuned], tmp_path: Path
) -> None:
    plan, tuned = one
    base = tmp_path / "base"
    shutil.copytree(home(plan), base)
    for name in ("pytorch_model.bin", "modeling_mine.py", "LICENSE"):
        (base / name).write_text("{}")
    (base / ".git").mkdir()
    (base / "config.json").chmod(0o400)
    (base / "tokenizer.json").chmod(0o777)
    base.chmod(0o555)
    moved = replace(plan, loaded=replace(plan.loaded, directory=base))
    (told,) = note_on_files(moved.loaded)
    assert told.endswith(": .git/, modeling_mine.py, pytorch_model.bin")
    (read,) = note_on_weights(moved.loaded)
    assert read.endswith(", not from pytorch_model.bin")
    trusting = plan.settings.model_copy(update={"trust_remote_code": True})
    for settings, code in ((plan.settings, set()), (trusting, {"modeling_mine.py"})):
        out = tmp_path / f"out{len(code)}"
        save(replace(moved, settings=settings), tuned, out)
        assert content(out).keys() == content(home(plan)).keys() | {"LICENSE"} | code
        assert out.stat().st_mode & 0o200
        assert {path.stat().st_mode & 0o311 for path in out.iterdir()} == {0o200}
    base.chmod(0o755)


def test_a_model_is_saved_within_its_own_folder(edits_file: Path, tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base", "llama")
    out = base / "runs" / "edited"
    plan = planned(base, edits_file)
    check_output(out, plan.loaded, plan.location)
    save(plan, tune(plan, Silent()), out)
    assert content(out).keys() == {path.name for path in base.iterdir()} - {"runs"}
    note = read_note(out)
    assert note is not None
    assert note.base == str(base)


def test_room_is_looked_for_before_tuning(
    one: tuple[EditPlan, Tuned], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    plan = one[0]
    with pytest.raises(UsageError, match="needs 1 MiB, and 1 MiB are free there"):
        check_output(tmp_path / "out", plan.loaded)


def test_a_model_from_memory_is_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = in_memory(tiny("llama"), tiny_tokenizer())

    def act() -> None:
        save_in_memory(loaded.model, loaded.tokenizer, tmp_path / "out")

    for raised in refusing(monkeypatch, FULL, act):
        assert [path.name for path in tmp_path.iterdir()] == ([] if raised else ["out"])
        assert raised is None or "\n" not in str(raised)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_a_tensor_that_the_files_lack_or_have_twice_is_told_before_tuning(
    one: tuple[EditPlan, Tuned],
) -> None:
    checkpoint = read_checkpoint(home(one[0]))
    names = [piece.name for piece in one[1].changes]
    check_savable(checkpoint, names)
    for first, second in (("x.", "y."), ("x", "y")):
        shards = {
            path: {p + key: tensor for p in (first, second) for key, tensor in tensors.items()}
            for path, tensors in checkpoint.shards.items()
        }
        with pytest.raises(LocscopeError, match=f"cannot save {names[0]}: the checkpoint's keys"):
            check_savable(replace(checkpoint, shards=shards), names)
    # Blocks of another part of a model of several are named alike, and are not meant.
    seeing = {
        path: {
            p + key: tensor
            for p in ("language_model.", "vision_tower.")
            for key, tensor in t.items()
        }
        for path, t in checkpoint.shards.items()
    }
    check_savable(replace(checkpoint, shards=seeing), names)
