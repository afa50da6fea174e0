from dataclasses import replace

import pytest
import torch
from worlds import Notes, same, snapshot, trial_at, world

from locscope.errors import OutOfMemory
from locscope.execution import local
from locscope.execution.local import SMALLEST_BATCH, run_trials
from locscope.tuning.trial import run_trial


def test_trials_run_in_layer_order():
    one, kept, progress = world("llama"), [], Notes()
    trials = [trial_at(f"L{layer}.mlp.down") for layer in (2, 0, 1)]
    run_trials(one.context, "sweep", trials, kept.append, progress)
    assert [record.trial for record in kept] == [trials[1], trials[2], trials[0]]
    assert progress.stages == [("sweep", 3), "finished"]
    assert progress.notes[0].startswith("L0.mlp.down lr 1.0e-02 score ")


@pytest.mark.parametrize(("alone", "threads"), [(True, 2), (False, 1)])
def test_a_trial_alone_has_two_threads_and_begins_with_what_one_computed(
    alone, threads, monkeypatch
):
    one, seen, before = world("llama"), {}, torch.get_num_threads()
    advance = type(one.context.prefix_cache)._advance

    def advancing(*args):
        seen["prefix"] = torch.get_num_threads()
        advance(*args)

    def running(*args):
        seen["trial"] = torch.get_num_threads()
        return run_trial(*args)

    monkeypatch.setattr(type(one.context.prefix_cache), "_advance", advancing)
    monkeypatch.setattr(local, "run_trial", running)
    run_trials(one.context, "sweep", [trial_at("L1.mlp")], [].append, Notes(), alone=alone)
    assert seen == {"prefix": 1, "trial": threads}
    assert torch.get_num_threads() == before


def test_where_memory_ends_half_as_much_is_tried(monkeypatch):
    one = world("llama")
    workspace, kept, progress = one.context, [], Notes()
    run_trials(workspace, "sweep", [trial_at("L1.mlp")], kept.append, Notes())
    before, prefix_cache, failures = snapshot(one.model), one.context.prefix_cache, []
    final = type(prefix_cache).final

    def failing(self, batch):
        if len(failures) < 2 and batch.ids.shape[0] > 1 and self.layer == 1:
            failures.append(batch)
            raise torch.OutOfMemoryError
        return final(self, batch)

    monkeypatch.setattr(type(prefix_cache), "final", failing)
    run_trials(workspace, "sweep", [trial_at("L1.mlp")], kept.append, progress)
    expected, record = kept
    assert prefix_cache.tokens_at_once == 16384 // 4
    assert len(progress.lines) == 2
    assert same(one.model, before)
    assert repr(replace(record, seconds=0.0)) == repr(replace(expected, seconds=0.0))


def test_memory_that_never_suffices_is_an_error_that_names_the_location(monkeypatch):
    one = world("llama")
    workspace, kept, progress = one.context, [], Notes()

    def never(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(type(one.context.prefix_cache), "final", never)
    with pytest.raises(OutOfMemory, match=r"L1\.mlp does not fit on cpu"):
        run_trials(workspace, "sweep", [trial_at("L1.mlp")], kept.append, progress)
    assert kept == []
    assert one.context.prefix_cache.tokens_at_once < SMALLEST_BATCH
    assert progress.stages[-1] == "finished"
