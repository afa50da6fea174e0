"""The list of files of a checkpoint: what is on it, what is not, and which links are followed."""

import os
from pathlib import Path

import pytest
from families import save_tiny

from locscope.errors import UsageError
from locscope.models import files
from locscope.models.checkpoint import read_checkpoint
from locscope.models.files import INDEX, WHOLE, belonging, in_words, left_out, open_own

MINE = (
    *("LICENSE", "License.txt", "NOTICE", "USE_POLICY.md", "chat_template.jinja"),
    *("special_tokens_map.json", "tokenizer.model", "neutral.txt"),
    "additional_chat_templates/tools.jinja",
)
NOT_MINE = (
    *("pytorch_model.bin", "consolidated.safetensors", "optimizer.pt", "rng_state.pth", "id_rsa"),
    *(INDEX, "adapter_config.json", "adapter_model.safetensors", "training_args.bin"),
    *("modeling_mine.py", "license.bin", "model.fp16.safetensors", ".env", "notes.txt"),
    *("original/consolidated.00.pth", ".git/config", "runs/run.json", "global_step10/x.pt"),
    *("additional_chat_templates/key.pem", "1_Pooling/config.json"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model", "llama")


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")


def names(folder: Path, **more: bool) -> set[str]:
    files = belonging(folder, [folder / WHOLE], **more)
    return {path.relative_to(folder).as_posix() for path in files}


def test_the_list_is_what_belongs_to_the_weights_that_were_read(folder: Path) -> None:
    plain = names(folder)
    assert {"config.json", "tokenizer.json", WHOLE} <= plain
    put(folder, *MINE, *NOT_MINE, "README.md", "locscope.json")
    assert names(folder) == plain | set(MINE)
    assert names(folder, code=True) == plain | set(MINE) | {"modeling_mine.py"}
    told = left_out(folder, belonging(folder, [folder / WHOLE]))
    tops = {name.split("/")[0] + "/" * ("/" in name) for name in NOT_MINE}
    assert set(told) == tops - {"additional_chat_templates/"}
    assert in_words(told).endswith(f" and {len(told) - 8} more")


def test_an_index_belongs_to_its_shards_only(folder: Path) -> None:
    put(folder, INDEX, "a.safetensors")
    shard = folder / "a.safetensors"
    assert {folder / INDEX, shard} <= set(belonging(folder, [shard]))
    assert folder / WHOLE not in belonging(folder, [shard])


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "tokenizer.json", "generation_config.json", "chat_template.jinja"),
        *(WHOLE, "neutral.txt", "additional_chat_templates/x.jinja"),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_what_is_loaded_may_not_leave_the_folder(folder: Path, name: str, absolute: bool) -> None:
    outside, inside = folder.parent / "secret", folder / name
    inside.parent.mkdir(exist_ok=True)
    outside.write_bytes(inside.read_bytes() if inside.exists() else b"{}")
    inside.unlink(missing_ok=True)
    inside.symlink_to(outside if absolute else Path(*[".."] * len(Path(name).parts), "secret"))
    with pytest.raises(UsageError, match="is a link out of the model's folder") as caught:
        read_checkpoint(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert inside not in belonging(folder, [folder / WHOLE])


def test_blobs_that_are_themselves_a_link_lead_nowhere(folder: Path) -> None:
    secrets = folder.parent / "secrets"
    secrets.mkdir()
    (secrets / "key").write_text("-----BEGIN PRIVATE KEY-----")
    snapshot = folder.parent / "models--org--name/snapshots/0a1b"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot.parent.parent / "blobs").symlink_to(secrets)
    (snapshot / "LICENSE").symlink_to("../../blobs/key")
    files = belonging(snapshot, read_checkpoint(snapshot).shards)
    assert snapshot / "LICENSE" not in files


def test_a_link_to_another_model_is_told_which_one(folder: Path) -> None:
    store = folder.parent / "store"
    store.mkdir()
    (store / "config.json").write_text("{}")
    (folder / WHOLE).rename(store / WHOLE)
    (folder / WHOLE).symlink_to(store / WHOLE)
    with pytest.raises(UsageError, match=f"or give --model '{store}'"):
        read_checkpoint(folder)


def test_a_folder_that_leaves_is_not_listed(folder: Path) -> None:
    other = folder.parent / "other"
    put(folder.parent, "other/x.jinja")
    (folder / "additional_chat_templates").symlink_to(other)
    with pytest.raises(UsageError, match="jinja' is a link out"):
        read_checkpoint(folder)


def test_what_is_not_loaded_and_leaves_is_left_out_by_name(folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.write_text("-----BEGIN PRIVATE KEY-----")
    for name in ("LICENSE", "id_rsa", "notes.txt"):
        (folder / name).symlink_to(secret)
    (folder / "NOTICE").symlink_to("NOTICE")
    files = belonging(folder, read_checkpoint(folder).shards)
    told = left_out(folder, files)
    assert set(told) == {"LICENSE", "id_rsa", "notes.txt", "NOTICE"}


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "store").mkdir()
    (folder / WHOLE).rename(folder / "store" / "v2.safetensors")
    (folder / WHOLE).symlink_to("store/v2.safetensors")
    assert folder / WHOLE in belonging(folder, read_checkpoint(folder).shards)


def test_a_snapshot_of_a_hubs_cache_links_to_the_blobs_of_its_model(folder: Path) -> None:
    cache = folder.parent / "cache"
    snapshot, blobs = cache / "models--org--name/snapshots/0a1b", cache / "models--org--name/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / f"{number}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    there = belonging(snapshot, read_checkpoint(snapshot).shards)
    assert {path.name for path in there} == {path.name for path in snapshot.iterdir()}
    # Through a link to the snapshot too, but never to the blobs of another model.
    (cache / "short").symlink_to(snapshot)
    assert read_checkpoint(cache / "short").shards
    other = cache / "models--org--other/blobs"
    other.mkdir(parents=True)
    (other / "0").write_text("{}")
    (snapshot / "generation_config.json").unlink()
    (snapshot / "generation_config.json").symlink_to("../../../models--org--other/blobs/0")
    with pytest.raises(UsageError, match="link out of the model's folder"):
        read_checkpoint(snapshot)


def test_a_file_that_becomes_a_link_while_it_is_looked_at_is_not_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the copy anyone who may write there can put a link in its place."""
    secret, mine = tmp_path / "id_rsa", folder / "config.json"
    secret.write_text("secret")
    with open_own(mine, folder) as file:
        assert file.read() == mine.read_bytes()
    looked = files.stays

    def swapped(path: Path, directory: Path) -> bool:
        stayed = looked(path, directory)
        mine.unlink()
        mine.symlink_to(secret)
        return stayed

    monkeypatch.setattr(files, "stays", swapped)
    with pytest.raises(UsageError, match="became a link"), open_own(mine, folder):
        pass
    monkeypatch.undo()
    with pytest.raises(UsageError, match="became a link"), open_own(mine, folder):
        pass
    mine.unlink()
    os.mkfifo(mine)
    with pytest.raises(UsageError, match="no file"), open_own(mine, folder):
        pass
