"""Trials on a Ray cluster of two nodes on this machine, of which one is killed."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from worlds import Notes, trial_at, world

from locscope.errors import LocscopeError, UsageError
from locscope.execution.dispatch import run_in_team
from locscope.execution.handed import write_loaded, write_workspace
from locscope.execution.local import run_trials
from locscope.execution.ray_actor import Actor, make_private, sent_to
from locscope.execution.ray_team import RayTeam
from locscope.execution.worker import Task
from locscope.records import dumps
from locscope.scoring.objectives import BALANCED
from locscope.settings import SearchSettings, settings_of
from locscope.settings import search as settings_module

TRIALS = [
    trial_at(f"L{layer}.{part}")
    for layer in (0, 1, 2)
    for part in ("mlp.down", "attn", "mlp.up", "block")
]
PATIENCE = 300.0


def timeless(records):
    return {record.trial.id: dumps(replace(record, seconds=0.0)) for record in records}


def test_without_ray_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(settings_module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'locscope\[ray\]'"):
        settings_of(SearchSettings, {"ray": "local"})


def test_files_that_a_machine_lacks_are_asked_for_and_kept_for_others(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    one, objects = world("llama"), {}
    monkeypatch.setattr(ray, "get", objects.__getitem__)
    paths = [tmp_path / "there" / name for name in ("model.pt", "workspace.pt")]
    paths[0].parent.mkdir()
    write_loaded(one.context.loaded, paths[0])
    write_workspace(one.context, paths[1])
    contents = [path.read_bytes() for path in paths]
    for path in paths:
        path.rename(tmp_path / path.name)
    actor, task = Actor("cpu", 1), Task(*paths, TRIALS[0], BALANCED)
    assert actor.run(task, {}) == ("missing", paths, [])
    objects |= dict(zip("ab", contents, strict=True))
    kind, record, lines = actor.run(task, dict(zip(paths, "ab", strict=True)))
    expected = []
    run_trials(one.context, "sweep", TRIALS[:1], expected.append, Notes())
    assert (kind, lines) == ("record", [])
    assert timeless([record]) == timeless(expected)
    # Another one finds them, sent or not.
    assert Actor("cpu", 1).run(task, {})[0] == "record"
    actor.clean("there")
    assert not sent_to("there").exists()


def test_a_folder_that_others_may_enter_is_refused(tmp_path):
    make_private(tmp_path / "own")
    make_private(tmp_path / "own")
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for name in ("open", "link"):
        with pytest.raises(LocscopeError, match="is not a folder of this user alone"):
            make_private(tmp_path / name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_that_is_killed_costs_what_it_had():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    one, expected, kept, notes = world("llama"), [], [], Notes()
    run_trials(one.context, "sweep", TRIALS, expected.append, Notes())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    team = RayTeam(one.context.loaded, cluster.address)
    try:
        second = cluster.add_node(num_cpus=1)
        team.open(one.context)
        folder, until = team.files.folder, time.monotonic() + PATIENCE
        while len(team.layers) < 2:
            assert time.monotonic() < until
            for event in team.events(wait=True):
                assert event.kind == "said"

        def keep(record):
            kept.append(record)
            if len(kept) == 3:
                cluster.remove_node(second, allow_graceful=False)

        run_in_team(team, one.context, "sweep", TRIALS, keep, notes, objective=BALANCED)
    finally:
        team.close()
        cluster.shutdown()
    assert len(kept) == len(TRIALS)
    assert timeless(kept) == timeless(expected)
    assert [line for line in notes.lines if "is gone" in line]
    assert not Path(folder).exists()
