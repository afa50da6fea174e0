"""Who gets which trial next, and what becomes of those whose process is gone; no process is
started."""

from dataclasses import replace

import pytest
from worlds import Notes, trial_at, world

from locscope.errors import LocscopeError, OutOfMemory, UsageError
from locscope.execution import dispatch
from locscope.execution.dispatch import Event, TrialQueue, run_in_team
from locscope.execution.local import run_trials
from locscope.records import TrialRecord, dumps
from locscope.scoring.objectives import BALANCED

TRIALS = [trial_at(f"L{layer}.{part}") for layer in (2, 0, 1) for part in ("mlp.down", "attn")]


class Scripted:
    """A team whose members answer as it is told: `{member: [how its trials end]}`."""

    def __init__(self, script, records=None):
        self.script, self.records = script, records or {}
        self.layers = dict.fromkeys(script, -1)
        self.told, self.given, self.closed, self.opened = [], [], 0, []

    def open(self, workspace, trials=None):
        self.opened.append((workspace, trials))

    def give(self, member, trial, objective, *, alone):
        self.given.append((member, trial))
        how = self.script[member].pop(0) if self.script[member] else "record"
        if how == "record":
            self.told.append(Event("record", member, self.records[trial.id]))
        elif how == "alone":
            self.layers.clear()
            self.told = [Event("alone", "", "no room")]
        elif isinstance(how, BaseException):
            self.told.append(Event("failed", member, how))
        else:
            self.layers.pop(member)
            self.told.append(Event("lost", member, how))

    def events(self, *, wait):
        found, self.told = self.told[:1], self.told[1:]
        return found

    def close(self):
        self.closed += 1


@pytest.fixture(scope="module")
def one():
    return world("llama")


@pytest.fixture(scope="module")
def records(one):
    kept: list[TrialRecord] = []
    run_trials(one.context, "sweep", TRIALS, kept.append, Notes())
    return {record.trial.id: record for record in kept}


def ran(team, one, trials=TRIALS):
    kept, progress = [], Notes()
    run_in_team(team, one.context, "sweep", trials, kept.append, progress, objective=BALANCED)
    return kept, progress


def test_a_member_stays_at_its_layer_and_others_begin_at_free_ones():
    queue = TrialQueue(TRIALS, layers := {"a": -1, "b": -1})
    taken = [(name, str(queue.take(name).location)) for name in "abab"]
    assert taken == [("a", "L0.mlp.down"), ("b", "L1.mlp.down"), ("a", "L0.attn"), ("b", "L1.attn")]
    assert layers == {"a": 0, "b": 1}
    # Nothing is left where they are: what is, is shared.
    assert [str(queue.take(name).location) for name in "ba"] == ["L2.mlp.down", "L2.attn"]
    assert queue.take("a") is None


def test_every_trial_is_run_once_and_kept(one, records):
    team = Scripted({"1": [], "2": []}, records)
    kept, progress = ran(team, one)
    assert sorted(record.trial.id for record in kept) == sorted(records)
    assert len(team.given) == len(TRIALS)
    assert {member for member, _ in team.given} == {"1", "2"}
    assert progress.stages == [("sweep", len(TRIALS)), "finished"]
    assert len(progress.notes) == len(TRIALS)
    assert team.opened == [(one.context, len(TRIALS))]
    assert team.closed == 0


def test_what_a_lost_member_had_runs_elsewhere(one, records):
    team = Scripted({"1": ["record", "signal 15 (SIGTERM)"], "2": []}, records)
    kept, progress = ran(team, one)
    assert sorted(record.trial.id for record in kept) == sorted(records)
    assert len(team.given) == len(TRIALS) + 1
    assert [line for line in progress.lines if "worker 1 is gone" in line]


def test_a_team_that_ends_leaves_all_to_this_process(one, records):
    team = Scripted({"1": ["record"], "2": ["record", "alone"]}, records)
    kept, progress = ran(team, one)
    assert sorted(record.trial.id for record in kept) == sorted(records)
    assert "trials run in this process: no room" in progress.lines


def test_without_members_this_process_runs_them(one, records):
    team = Scripted({}, records)
    kept, progress = ran(team, one)
    expected = [replace(records[record.trial.id], seconds=0.0) for record in kept]
    assert dumps([replace(record, seconds=0.0) for record in kept]) == dumps(expected)
    assert len(progress.notes) == len(TRIALS)


@pytest.mark.parametrize(
    ("why", "kind"),
    [("signal 9 (SIGKILL)", OutOfMemory), ("exit code 3: no such device", LocscopeError)],
)
def test_a_trial_that_ends_two_processes_is_named(why, kind, one, records):
    team = Scripted({"1": [why], "2": [why]}, records)
    with pytest.raises(kind, match=r"trial L0\.mlp\.down at 0\.01 ended 2 processes") as raised:
        ran(team, one, TRIALS[2:3])
    assert type(raised.value) is kind
    assert why in str(raised.value)
    assert team.closed == 1


def test_a_trial_is_not_blamed_for_machines_that_are_gone():
    queue = TrialQueue(TRIALS[:1], {})
    for member in "abcd":
        assert queue.take(member) is TRIALS[0]
        queue.lost(member, "its node is gone", blamed=False)
    assert queue.take("e") is TRIALS[0]


def test_the_error_of_a_trial_is_raised_here(one, records):
    team = Scripted({"1": [UsageError("no such recipe")], "2": []}, records)
    with pytest.raises(UsageError, match="no such recipe"):
        ran(team, one)
    assert team.closed == 1


def test_nothing_to_do_asks_nobody(one):
    assert (
        dispatch.run_in_team(
            Scripted({}), one.context, "none", [], [].append, Notes(), objective=BALANCED
        )
        is None
    )
