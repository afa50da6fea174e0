"""How much sooner trials are done side by side: in processes of this machine, on nodes of Ray.

    python -m analyses.bench_workers [--ways one,processes,ray-1,ray-2,killed] [--trials 24]

Trials on the bundled model: one after the other in this process, in two worker processes, on a Ray
cluster of one node with one core, of two such nodes, and of two of which one is killed every few
trials (five in all; another joins). Processes and nodes have begun before the clock starts. Records
have to be the same but for times, and every trial is kept once. Bar: two nodes, 1.7 times one.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from locscope.execution.dispatch import Team, run_in_team
from locscope.execution.local import run_trials
from locscope.execution.processes import Processes
from locscope.execution.ray_team import RayTeam
from locscope.locations import Location
from locscope.progress import Silent
from locscope.records import Trial, TrialRecord, dumps
from locscope.scoring.objectives import BALANCED
from locscope.selection.space import FULL, Fidelity, TrialRequest
from locscope.settings import SearchSettings
from locscope.tuning.workspace import Workspace
from locscope.workflows.search.plan import Plan, plan_search
from locscope.workflows.search.stages import trial_of

WAYS = ("one", "processes", "ray-1", "ray-2", "killed")
PARTS = ("mlp.down", "mlp.up", "attn", "mlp", "block")
KILLS = 5
Keep = Callable[[TrialRecord], None]


def main() -> None:
    """Prints a line for each way as it is done."""
    options = _options()
    plan = plan_search(SearchSettings(limit=options.limit), None, Silent())
    trials = _trials(plan, options.trials, options.epochs)
    print(f"{len(trials)} trials on {len(plan.chosen)} edits, at most {options.epochs} epochs each")
    first: dict[str, str] = {}
    took: dict[str, float] = {}
    for way in options.ways.split(","):
        kept: list[TrialRecord] = []
        took[way] = _timed(way, plan.workspace, trials, kept.append, random.Random(options.seed))
        found = {one.trial.id: dumps(replace(one, seconds=0.0)) for one in kept}
        first = first or found
        mean = sum(one.seconds for one in kept) / len(kept)
        same = "the same records" if found == first else "OTHER RECORDS"
        print(
            f"{way}: {took[way]:.0f} s ({mean:.1f} s a trial), {len(kept)} records kept, {same}",
            flush=True,
        )
    if {"ray-1", "ray-2"} <= took.keys():
        print(f"two nodes are {took['ray-1'] / took['ray-2']:.2f} times as fast as one (bar: 1.7)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", default=",".join(WAYS))
    for name, value in {"trials": 24, "epochs": 25, "limit": 264, "seed": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def _trials(plan: Plan, count: int, epochs: int) -> list[Trial]:
    """Full trials on S, over layers and parts."""
    fidelity = Fidelity(FULL, len(plan.chosen), epochs)
    layers = plan.loaded.info.layers
    places = [Location.parse(f"L{layer}.{part}") for part in PARTS for layer in range(layers)]
    return [trial_of(plan, TrialRequest(place, 1e-4, fidelity)) for place in places[:count]]


def _timed(
    way: str, workspace: Workspace, trials: Sequence[Trial], keep: Keep, draw: random.Random
) -> float:
    """Seconds of the trials alone."""
    if way == "one":
        workspace.prefix_cache.release()
        began = time.perf_counter()
        run_trials(workspace, way, trials, keep, Silent())
        return time.perf_counter() - began
    with _team(way, workspace, draw) as (team, noticed):
        began = time.perf_counter()

        def kept(record: TrialRecord) -> None:
            keep(record)
            noticed()

        run_in_team(team, workspace, way, trials, kept, Silent(), objective=BALANCED)
        return time.perf_counter() - began


@contextmanager
def _team(
    way: str, workspace: Workspace, draw: random.Random
) -> Iterator[tuple[Team, Callable[[], None]]]:
    """A team of which every member is ready, and what to call after each trial."""
    if way == "processes":
        with _ready(Processes(workspace.loaded, 2), workspace, 2) as team:
            yield team, lambda: None
        return
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": int(way == "ray-1")})
    nodes = [] if way == "ray-1" else [cluster.add_node(num_cpus=1) for _ in range(2)]
    done, killed = [0], [0]

    def kill_sometimes() -> None:
        done[0] += 1
        if way == "killed" and killed[0] < KILLS and done[0] % 4 == draw.randrange(1, 4):
            killed[0] += 1
            cluster.remove_node(nodes.pop(draw.randrange(2)), allow_graceful=False)
            nodes.append(cluster.add_node(num_cpus=1))
            print(f"killed a node after {done[0]} trials", flush=True)

    try:
        team = RayTeam(workspace.loaded, cluster.address)
        with _ready(team, workspace, max(1, len(nodes))) as ready:
            yield ready, kill_sometimes
    finally:
        cluster.shutdown()


@contextmanager
def _ready(team: Processes | RayTeam, workspace: Workspace, count: int) -> Iterator[Team]:
    try:
        team.open(workspace)
        while len(team.layers) < count:
            team.events(wait=True)
        yield team
    finally:
        team.close()


if __name__ == "__main__":
    main()
