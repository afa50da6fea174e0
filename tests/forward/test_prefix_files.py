"""Files of the prefix cache: the same bits as without them, whatever became of the files."""

import copy
import errno
import multiprocessing
import os
import warnings
from dataclasses import replace

import pytest
import torch
from families import CONFIGS
from safetensors.torch import load_file
from worlds import PAIRS, frozen, prefix_cache_of

from locscope.forward import prefix_cache as module
from locscope.forward import prefix_files
from locscope.forward.prefix_cache import Budget
from locscope.tuning.workspace import trial_threads

KEPT = Budget(kept=1 << 30)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCSCOPE_CACHE", str(tmp_path))
    return tmp_path / "prefix"


def stream_at(layer, model=None, **settings):
    cache = prefix_cache_of(model or frozen("llama"), **{"budget": KEPT, **settings})
    cache.enter(layer)
    assert cache.layer == layer
    return cache._stream.clone()


@pytest.fixture
def no_blocks(monkeypatch):
    """Whoever computes a block fails."""
    return lambda: monkeypatch.setattr(module, "run_blocks", None)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_second_run_reads_the_bits_that_the_first_computed(family, folder, no_blocks):
    model = frozen(family)
    without = stream_at(2, model, budget=Budget())
    first = prefix_cache_of(model, budget=KEPT)
    first.enter(1)
    first.enter(2)
    assert torch.equal(first._stream, without)
    assert len(list(folder.iterdir())) == 2
    no_blocks()
    for budget in (KEPT, replace(KEPT, device=0), replace(KEPT, device=0, host=0)):
        assert torch.equal(stream_at(2, model, budget=budget), without)


def test_the_run_goes_on_from_the_highest_file_below(folder, monkeypatch):
    without = stream_at(2, budget=Budget())
    stream_at(1)
    starts, run = [], module.run_blocks
    monkeypatch.setattr(module, "run_blocks", lambda *given: starts.append(given[2]) or run(*given))
    assert torch.equal(stream_at(2), without)
    assert set(starts) == {1}


def test_a_file_is_one_tensor_that_other_tools_read(folder):
    stream = stream_at(1)
    (path,) = folder.iterdir()
    assert torch.equal(load_file(path)["stream"], stream)
    assert path.name.startswith("llama-L1-")


def changed_below(model):
    model = copy.deepcopy(model)
    next(model.model.layers[0].mlp.parameters()).data[0, 0] += 1e-3
    return model


@pytest.mark.parametrize(
    "other",
    [
        lambda model: {"model": changed_below(model)},
        lambda model: {"pairs": PAIRS[1:]},
        lambda model: {"tokens_at_once": 8},
        lambda model: {"model": copy.deepcopy(model).to(torch.bfloat16)},
    ],
    ids=["a weight", "a text", "batches", "dtype"],
)
def test_what_decides_the_bits_decides_the_file(other, folder):
    model = frozen("llama")
    stream_at(1, model)
    given = {"model": model, **other(model)}
    stream_at(1, **given)
    assert len(list(folder.iterdir())) == 2


def test_weights_above_the_layer_do_not(folder, no_blocks):
    model = frozen("llama")
    stream = stream_at(1, model)
    edited = copy.deepcopy(model)
    edited.model.layers[1].mlp.down_proj.weight.data += 1.0
    no_blocks()
    assert torch.equal(stream_at(1, edited), stream)


def damages(path):
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    header = bytearray(content)
    header[20] ^= 1
    return {
        "a bit": bytes(flipped),
        "cut": content[:-10],
        "longer": content + b"x",
        "empty": b"",
        "half a header": content[:30],
        "header": bytes(header),
        "room without content": content[:200] + bytes(len(content) - 200),
    }


def test_a_damaged_file_is_told_and_made_again(folder):
    stream = stream_at(1)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for what, content in damages(path).items():
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=r"is damaged \(.*\): it is made again"):
            again = stream_at(1)
        assert torch.equal(again, stream), what
        assert path.read_bytes() == whole, what


def test_files_stay_within_their_room_and_old_ones_of_others_go(folder):
    stream_at(1)
    (old,) = folder.iterdir()
    os.utime(old, (1, 1))
    room = replace(KEPT, kept=2 * old.stat().st_size)
    two = prefix_cache_of(frozen("llama"), PAIRS[1:], budget=room)
    two.enter(1)
    assert old.exists(), "there is room for both"
    two.enter(2)
    assert not old.exists(), "used longest ago, and of another run"
    three = prefix_cache_of(frozen("llama"), PAIRS[1:], budget=replace(KEPT, kept=1))
    three.enter(2)
    assert len(list(folder.iterdir())) == 2, "one that fits nowhere drives nothing out"


def test_its_own_files_stay_where_there_is_no_room_for_more(folder):
    cache = prefix_cache_of(frozen("llama"), budget=KEPT)
    cache.enter(1)
    (first,) = folder.iterdir()
    small = prefix_cache_of(frozen("llama"), budget=replace(KEPT, kept=first.stat().st_size))
    small.enter(1)
    small.enter(2)
    assert list(folder.iterdir()) == [first]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_disk_that_refuses_is_a_warning_once(number, folder, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    without = stream_at(2, budget=Budget())
    cache = prefix_cache_of(frozen("llama"), budget=KEPT)
    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        patch.setattr(prefix_files, "reserve", refuse)
        cache.enter(1)
        cache.enter(2)
    (line,) = [str(one.message) for one in told]
    assert "cannot keep activations in" in line
    assert os.strerror(number) in line
    assert torch.equal(cache._stream, without)
    assert list(folder.iterdir()) == []
    stream_at(2)
    assert len(list(folder.iterdir())) == 1, "it goes on once there is room"


def _enter(start):
    # A fork has none of the threads that the parent's pool counts on.
    torch.set_num_threads(1)
    start.wait()
    stream_at(2)


def test_processes_at_once_leave_one_sound_file(folder, no_blocks):
    fork = multiprocessing.get_context("fork")
    start = fork.Event()
    processes = [fork.Process(target=_enter, args=(start,)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(folder.iterdir())) == 1
    # With the one thread of these processes, which the file's name says.
    with trial_threads(torch.device("cpu")):
        without = stream_at(2, budget=Budget())
        no_blocks()
        assert torch.equal(stream_at(2), without)
