"""Recommended and runner-up under other protocols: tuned once more on T, asked in every way."""

import time
from collections.abc import Sequence

from locscope.progress import stage
from locscope.recommendation.margins import OnT
from locscope.records import StageCost
from locscope.records.panel import ProtocolResults
from locscope.runs.store import read_record, write_record
from locscope.tuning.protocols import run_panel, sittings
from locscope.workflows.search.trial_runner import TrialRunner

ROLES = ("recommended", "runner-up")
STAGE = "other protocols"


def panels(runner: TrialRunner, held_out: Sequence[OnT]) -> tuple[ProtocolResults, ...]:
    """What recommended and runner-up answer under every protocol, from records where they are.

    Each is tuned as in its first trial on T, so the weights are those that were measured there.
    """
    wanted = [one for one in held_out if one.role in ROLES]
    began, known = time.perf_counter(), {one.role: _known(runner, one) for one in wanted}
    missing = [one for one in wanted if known[one.role] is None]
    if missing:
        known |= {panel.role: panel for panel in _run(runner, missing)}
    seconds, resumed = time.perf_counter() - began, len(wanted) - len(missing)
    runner.costs.append(StageCost(STAGE, seconds, len(wanted), resumed))
    return tuple(panel for panel in known.values() if panel is not None)


def known_panels(runner: TrialRunner, held_out: Sequence[OnT]) -> tuple[ProtocolResults, ...]:
    """Those that an earlier run left."""
    found = (_known(runner, one) for one in held_out if one.role in ROLES)
    return tuple(panel for panel in found if panel is not None)


def _known(runner: TrialRunner, one: OnT) -> ProtocolResults | None:
    """The stored panel; one of another trial (the roles were swapped, say) does not count."""
    found = read_record(runner.folder, "panel", one.role, ProtocolResults, runner.progress)
    return found if found is not None and found.trial == one.records[0].trial.id else None


def _run(runner: TrialRunner, missing: Sequence[OnT]) -> list[ProtocolResults]:
    context, found = runner.worker.context, list[ProtocolResults]()
    with stage(runner.progress, STAGE, len(missing) + 1, share=3):
        # All of them are tuned on the same first subset of T.
        suites = sittings(context, missing[0].records[0].trial.edits)
        runner.progress.advance("the evaluation suites are written")
        for one in missing:
            record = one.records[0]
            panel = ProtocolResults(
                role=one.role,
                location=one.best.location,
                recipe=record.trial.recipe,
                trial=record.trial.id,
                edits=len(record.trial.edits),
                score=record.score,
                rows=run_panel(context, record.trial, suites),
            )
            write_record(runner.folder, "panel", one.role, panel)
            found.append(panel)
            runner.progress.advance(f"{one.role} {one.best.location}")
    return found
