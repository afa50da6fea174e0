import errno
import os

import pytest
import torch
from families import CONFIGS
from worlds import PAIRS, frozen, prefix_cache_of

from locscope.errors import LocscopeError, ran_out_of_memory
from locscope.forward import prefix_cache as module
from locscope.forward.prefix_cache import COPIES, Budget, chunks

TIERS = {"device": Budget(), "host": Budget(device=0), "file": Budget(device=0, host=0)}
EVERY_ROW = range(len(PAIRS))


def final(prefix_cache):
    batch = prefix_cache.batch(EVERY_ROW)
    return prefix_cache.final(batch)[batch.real]


def close(one, two):
    return float((one - two).norm() / two.norm()) < 1e-6


@pytest.mark.parametrize("family", CONFIGS)
def test_every_tier_and_every_way_up_give_the_same_stream(family):
    model = frozen(family)
    whole = final(prefix_cache_of(model))
    for budget in TIERS.values():
        stepwise, jumping = (
            prefix_cache_of(model, budget=budget),
            prefix_cache_of(model, budget=budget),
        )
        stepwise.enter(1)
        stepwise.enter(2)
        jumping.enter(2)
        assert torch.equal(stepwise._stream, jumping._stream)
        assert close(final(stepwise), whole)
        stepwise.enter(1)
        assert stepwise.layer == 1
        jumping.enter(0)
        assert torch.equal(final(jumping), whole)


def test_small_batches_give_the_same_stream():
    model = frozen("mistral")
    one, many = prefix_cache_of(model), prefix_cache_of(model, tokens_at_once=8)
    one.enter(2)
    many.enter(2)
    assert close(one._stream, many._stream)


def test_the_file_tier_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prefix_cache = prefix_cache_of(frozen("llama"), budget=TIERS["file"])
    prefix_cache.enter(1)
    assert final(prefix_cache).isfinite().all()
    assert list(tmp_path.iterdir()) == []


def test_an_advance_that_breaks_off_does_not_leave_half_a_stream(monkeypatch):
    model = frozen("llama")
    fresh, prefix_cache = prefix_cache_of(model), prefix_cache_of(model, tokens_at_once=8)
    prefix_cache.enter(1)
    calls, run = [], prefix_cache.batch

    def failing(rows):
        calls.append(rows)
        if len(calls) == 3:
            raise torch.OutOfMemoryError
        return run(rows)

    with monkeypatch.context() as patch:
        patch.setattr(prefix_cache, "batch", failing)
        with pytest.raises(torch.OutOfMemoryError):
            prefix_cache.enter(2)
    prefix_cache.enter(2)
    fresh.enter(2)
    assert close(prefix_cache._stream, fresh._stream)


def test_chunks_hold_every_row_once_and_stay_within_bounds():
    lengths = torch.tensor([5, 1, 9, 3, 3, 12])
    found = list(chunks(lengths, [0, 1, 2, 3, 4, 5], 10))
    assert sorted(row for some in found for row in some) == [0, 1, 2, 3, 4, 5]
    assert all(len(some) * max(lengths[some]) <= 10 or len(some) == 1 for some in found)
    assert list(chunks(lengths, [], 10)) == []


def test_a_layer_that_was_entered_is_entered_again_without_running_it(monkeypatch):
    prefix_cache = prefix_cache_of(frozen("llama"))
    prefix_cache.enter(1)
    first = prefix_cache._stream.clone()
    prefix_cache.enter(2)
    second = prefix_cache._stream.clone()
    monkeypatch.setattr(module, "run_blocks", None)
    prefix_cache.enter(1)
    assert torch.equal(prefix_cache._stream, first)
    prefix_cache.enter(2)
    assert torch.equal(prefix_cache._stream, second)
    assert prefix_cache.layer == 2


@pytest.mark.parametrize(("room", "kept"), [(0, []), (1, [2]), (2, [1, 2]), (9, [1, 2])])
def test_copies_stay_within_their_share_of_the_host(room, kept):
    size = prefix_cache_of(frozen("llama"))._allocate().nbytes
    prefix_cache = prefix_cache_of(frozen("llama"), budget=Budget(host=COPIES * size * room))
    prefix_cache.enter(1)
    prefix_cache.enter(2)
    assert sorted(prefix_cache._copies) == kept
    whole = final(prefix_cache_of(frozen("llama")))
    prefix_cache.enter(1)
    assert close(final(prefix_cache), whole)


def _refused(number, calls):
    def refuse(*arguments):
        calls.append(arguments)
        raise OSError(number, os.strerror(number))

    return refuse


def test_room_for_the_file_is_reserved_or_written(tmp_path, monkeypatch):
    """A mapped file without room on the disk would end the process when it is written."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, calls, streams = frozen("llama"), [], []
    for change in ("as it is", errno.EOPNOTSUPP, errno.EINVAL, None):
        with monkeypatch.context() as patch:
            if change is None:
                patch.delattr("os.posix_fallocate")
            elif change != "as it is":
                patch.setattr("os.posix_fallocate", _refused(change, calls))
            prefix_cache = prefix_cache_of(model, budget=TIERS["file"])
            prefix_cache.enter(1)
            streams.append(prefix_cache._stream.clone())
    assert len(calls) == 2
    assert all(torch.equal(stream, streams[0]) for stream in streams)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES])
def test_no_room_for_the_file_is_told(number, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    prefix_cache = prefix_cache_of(frozen("llama"), budget=TIERS["file"])
    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", _refused(number, []))
        with pytest.raises(LocscopeError, match=r"no room for cached activations in .*TMPDIR"):
            prefix_cache.enter(1)
        patch.setattr("os.posix_fallocate", _refused(errno.ENOMEM, []))
        with pytest.raises(OSError, match="allocate memory") as raised:
            prefix_cache.enter(1)
    assert ran_out_of_memory(raised.value)
    assert list(tmp_path.iterdir()) == []
    prefix_cache.enter(1)
    assert final(prefix_cache).isfinite().all()


@pytest.mark.parametrize(
    ("free", "fails", "mapped"), [(1 << 40, 0, 0), (10, 0, 1), (1 << 40, 1, 0), (1 << 40, 3, 1)]
)
def test_a_tier_without_memory_hands_on_to_the_next(free, fails, mapped, monkeypatch):
    """What is free is measured; what is free all the same may be in pieces."""
    monkeypatch.setattr(module, "free_bytes", lambda device: float(free))
    expected = final(prefix_cache_of(frozen("llama")))
    prefix_cache, left, files, own = prefix_cache_of(frozen("llama")), [fails], [], torch.empty

    def empty(*shape, **how):
        if "pin_memory" in how and left[0]:
            left[0] -= 1
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return own(*shape, **how)

    monkeypatch.setattr(torch, "empty", empty)
    reserve = module.reserve
    monkeypatch.setattr(module, "reserve", lambda *given: files.append(reserve(*given)))
    prefix_cache.enter(1)
    assert len(files) == mapped
    assert close(final(prefix_cache), expected)
