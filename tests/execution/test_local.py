from dataclasses import replace

import pytest
import torch
from worlds import EDITS, World, same, snapshot, world

from locscope.errors import OutOfMemory
from locscope.execution import local
from locscope.execution.local import SMALLEST_BATCH, Worker, run_trials
from locscope.progress import Progress
from locscope.records import Recipe, Trial


class Notes(Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.stages, self.notes, self.lines = [], [], []

    def start(self, stage, total, share=0.0):
        self.stages.append((stage, total))

    def advance(self, note=""):
        self.notes.append(note)

    def finish(self, *, failed=False):
        self.stages.append("finished")

    def say(self, line):
        self.lines.append(line)


def trial_at(location):
    recipe = Recipe(lr=1e-2, batch=2, epochs=2)
    return Trial(location, recipe, tuple(e.id for e in EDITS), "S", "sweep", 0, "0", "0")


def worker_of(one: World):
    kept = {}
    worker = Worker(
        one.context, one.before, kept.get, lambda r: kept.update({r.trial.id: r}), Notes()
    )
    return worker, kept


def test_trials_run_in_layer_order_and_come_back_in_theirs():
    worker, kept = worker_of(world("llama"))
    trials = [trial_at(f"L{layer}.mlp.down") for layer in (2, 0, 1)]
    records = run_trials(worker, "sweep", trials)
    assert [record.trial for record in records] == trials
    assert [record.trial.location for record in kept.values()] == [
        "L0.mlp.down",
        "L1.mlp.down",
        "L2.mlp.down",
    ]
    assert worker.progress.stages == [("sweep", 3), "finished"]
    assert worker.progress.notes[0].startswith("L0.mlp.down lr 1.0e-02 score ")


def test_known_trials_are_not_run_again(monkeypatch):
    worker, kept = worker_of(world("llama"))
    trials = [trial_at("L1.mlp"), trial_at("L2.mlp")]
    first = run_trials(worker, "sweep", trials[:1])
    ran = []
    run = local.run_trial
    monkeypatch.setattr(local, "run_trial", lambda b, t, o: ran.append(t) or run(b, t, o))
    records = run_trials(worker, "sweep", trials)
    assert ran == trials[1:]
    assert records[0] is first[0]
    assert set(kept) == {trial.id for trial in trials}


def test_where_memory_ends_half_as_much_is_tried(monkeypatch):
    one = world("llama")
    worker, _ = worker_of(one)
    (expected,) = run_trials(worker, "sweep", [trial_at("L1.mlp")])
    worker, _ = worker_of(one)
    before, prefix_cache, failures = snapshot(one.model), one.context.prefix_cache, []
    final = type(prefix_cache).final

    def failing(self, batch):
        if len(failures) < 2 and batch.ids.shape[0] > 1 and self.layer == 1:
            failures.append(batch)
            raise torch.OutOfMemoryError
        return final(self, batch)

    monkeypatch.setattr(type(prefix_cache), "final", failing)
    (record,) = run_trials(worker, "sweep", [trial_at("L1.mlp")])
    assert prefix_cache.tokens_at_once == 16384 // 4
    assert len(worker.progress.lines) == 2
    assert same(one.model, before)
    assert repr(replace(record, seconds=0.0)) == repr(replace(expected, seconds=0.0))


def test_memory_that_never_suffices_is_an_error_that_names_the_location(monkeypatch):
    one = world("llama")
    worker, _ = worker_of(one)

    def never(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(type(one.context.prefix_cache), "final", never)
    with pytest.raises(OutOfMemory, match=r"L1\.mlp does not fit on cpu"):
        run_trials(worker, "sweep", [trial_at("L1.mlp")])
    assert one.context.prefix_cache.tokens_at_once < SMALLEST_BATCH
    assert worker.progress.stages[-1] == "finished"
