import os

import pytest

from locscope.errors import UsageError
from locscope.runs.cache import cache_folder, clear, kept


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "cache"))
    for name, size in {
        "prefix/llama-L3-0a.safetensors": 100,
        "converted/toy-1f/model.safetensors": 300,
        "converted/toy-1f/config.json": 5,
        "fetched/toy.gguf": 70,
        "edits/edits-00.json": 9,
    }.items():
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LOCSCOPE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a/prefix"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/locscope/prefix"),
        ({"XDG_CACHE_HOME": ""}, "/h/.cache/locscope/prefix"),
        ({"LOCSCOPE_CACHE": "~/mine"}, "/h/mine/prefix"),
    ],
)
def test_one_rule_says_where_the_cache_is(variables, expected, monkeypatch):
    for name in ("LOCSCOPE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/h", **variables}.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder("prefix")) == expected


def test_what_is_kept_is_listed_by_kind_with_its_size(folder):
    assert [(one.kind, one.path.name, one.size) for one in kept()] == [
        ("prefix", "llama-L3-0a.safetensors", 100),
        ("converted", "toy-1f", 305),
        ("fetched", "toy.gguf", 70),
        ("edits", "edits-00.json", 9),
    ]
    assert [one.kind for one in kept(("edits",))] == ["edits"]
    with pytest.raises(UsageError, match="unknown kind of cache 'prefx': did you mean prefix"):
        kept(("prefx",))


@pytest.mark.parametrize(
    ("kinds", "left"),
    [
        ((), ["edits", "fetched"]),
        (("prefix",), ["converted", "edits", "fetched"]),
        (("edits", "fetched"), ["converted", "prefix"]),
    ],
)
def test_clearing_removes_what_is_made_again_or_what_is_named(kinds, left, folder):
    removed = clear(kinds)
    assert sorted({one.kind for one in kept()}) == left
    assert not any(one.path.exists() for one in removed)
    assert clear(kinds) == ()


def test_clearing_leaves_what_another_process_writes(folder):
    mine = folder / "prefix" / f".a.safetensors.{os.getpid()}.partial"
    dead = folder / "prefix" / ".a.safetensors.999999999.partial"
    for path in (mine, dead):
        path.write_bytes(b"x")
    stale = folder / "converted" / ".toy-2a.0123abcd.partial"
    stale.mkdir()
    clear()
    assert mine.exists()
    assert not dead.exists()
    assert not stale.exists()


def test_a_cache_that_is_not_there_or_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "none"))
    assert kept() == clear() == ()
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="set LOCSCOPE_CACHE"):
        kept()
