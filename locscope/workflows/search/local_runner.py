"""Runs the trials of a search on this machine: known ones from its folder, new ones kept there."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import final

from locscope.evaluation.build_suite import prepare
from locscope.execution.dispatch import run_in_team
from locscope.execution.local import as_searched, run_trials
from locscope.execution.teams import team_for
from locscope.forward.prefix_cache import PrefixCache
from locscope.progress import Progress, stage
from locscope.recommendation.finalists import Finalist
from locscope.recommendation.looser_bounds import judged
from locscope.records import Edit, ProtocolResults, StageCost, Trial, TrialRecord
from locscope.runs.store import iterate, read_record, write_record
from locscope.selection.candidates import rounded
from locscope.tuning.protocols import protocol_suites, run_panel
from locscope.tuning.trial import Tuned, run_trial, starting_rate
from locscope.tuning.workspace import Workspace, trial_threads
from locscope.workflows.provenance import environment, other_environments
from locscope.workflows.search.plan import Plan

Listener = Callable[[TrialRecord], None]
SUITE = "evaluation suite"
"""The stage in which a suite about other edits than the plan's is written."""
SHARES = {
    **{"rung 1": 15.0, "rung 2": 8.0, "full": 16.0, "controls": 6.0, "validating on V": 6.0},
    **{"fitting to the edits": 16.0, "deployed": 3.0, "reporting on T": 12.0},
    **{"edit counts": 7.0, "audit": 4.0},
}
"""Per cent of a search's time that a stage takes, about, as seen on the bundled model."""
IN_ROUNDS = ("full", "controls", "validating on V", "fitting to the edits")
"""Stages whose trials are asked for round after round."""


@final
class LocalTrialRunner:
    """Tunes and measures; `costs` are the stages so far, `known` all records of the folder, `notes`
    tell whether they were made in another environment.

    A run that was killed left records but no costs: with `uncounted` theirs are added where their
    trials are asked for.
    """

    def __init__(
        self,
        plan: Plan,
        folder: PathLike[str],
        progress: Progress,
        heard: Listener | None = None,
        *,
        uncounted: bool = False,
    ) -> None:
        self.plan, self.folder, self.progress, self.heard = plan, folder, progress, heard
        self.objective = plan.objective
        self.costs: list[StageCost] = []
        self.known = {
            record.trial.id: record for record in iterate(folder, "trial", TrialRecord, progress)
        }
        self._environment = environment(plan.loaded)
        self.notes = other_environments(self.known.values(), self._environment)
        for note in self.notes:
            progress.say(note)
        self._left = dict(SHARES)
        self._uncounted = set(self.known) if uncounted else set[str]()
        self._counted = not uncounted
        self._other: tuple[tuple[Edit, ...], Workspace] | None = None
        self._team = team_for(plan.workspace, plan.settings, progress, Path(os.fspath(folder)))

    def __enter__(self) -> "LocalTrialRunner":
        return self

    def __exit__(self, *_: object) -> None:
        if self._team is not None:
            self._team.close()

    @property
    def workers(self) -> int:
        """Trials that run side by side."""
        return 1 if self._team is None else self._team.workers

    def start(self) -> None:
        """Begins what takes its time before trials can run side by side, where they will be."""
        if self._team is not None:
            self._team.start()

    def trials(
        self, stage: str, trials: Sequence[Trial], edits: Sequence[Edit] | None = None
    ) -> tuple[TrialRecord, ...]:
        """The records of the trials; what they cost is noted as a stage."""
        once = {trial.id: trial for trial in trials}
        missing = [trial for key, trial in once.items() if key not in self.known]
        resumed = sum(trial.id in self.known for trial in trials)
        # Before the clock starts: writing another suite is a stage of its own.
        workspace = self._about(edits if missing else None)
        began, earlier = time.perf_counter(), self._uncounted_seconds(once)
        run = partial(run_in_team, self._team) if self._team and missing else run_trials
        run(
            workspace,
            stage,
            missing,
            self._keep,
            self.progress,
            objective=self.plan.objective,
            share=self._share(stage),
            # By what is asked for, not by what is missing: a search that goes on runs it alike.
            alone=len(once) == 1,
        )
        seconds = time.perf_counter() - began + earlier
        self._count(StageCost(stage, seconds, len(trials), resumed))
        return tuple(judged(self.known[trial.id], self.objective) for trial in trials)

    def protocols(self, stage: str, wanted: Sequence[Finalist]) -> tuple[ProtocolResults, ...]:
        """Results under other protocols, from records where they are.

        Each is tuned as in its first trial on T, so the weights are those that were measured there.
        """
        began, panels = time.perf_counter(), {one.role: self.known_panel(one) for one in wanted}
        missing = [one for one in wanted if panels[one.role] is None]
        if missing:
            panels |= {panel.role: panel for panel in self._run_panels(stage, missing)}
        seconds, resumed = time.perf_counter() - began, len(wanted) - len(missing)
        self._count(StageCost(stage, seconds, len(wanted), resumed))
        return tuple(panel for panel in panels.values() if panel is not None)

    def known_panel(self, wanted: Finalist) -> ProtocolResults | None:
        """The stored panel; one of another trial (the roles were swapped, say) does not count."""
        panel = read_record(self.folder, "panel", wanted.role, ProtocolResults, self.progress)
        return panel if panel is not None and panel.trial == wanted.on_t[0].trial.id else None

    def starting_rate(self, trial: Trial) -> float:
        """Where the trial's rates start, by the gradient."""
        with trial_threads(self.plan.loaded.model.device):
            return rounded(starting_rate(self._about(None), trial, self.plan.first_step))

    @property
    def workspace(self) -> Workspace:
        """The plan's: its suite is about the edits as they are used."""
        return self.plan.workspace

    def tuned(self, trial: Trial, edits: Sequence[Edit]) -> Tuned:
        """A trial that ran alone once more, with the weights that it ends with."""
        about = self._about(edits)
        with as_searched(about, trial, alone=True):
            return run_trial(about, trial, self.plan.objective, keep=True)

    def _about(self, edits: Sequence[Edit] | None) -> Workspace:
        """One whose evaluation suite is about these edits, on the texts of the search."""
        # The hidden states of two suites would not fit the budget: one of them goes first.
        if edits is None or tuple(edits) == self.plan.edit_set.edits:
            self._other = None
            return self.workspace
        self.workspace.prefix_cache.release()
        if self._other is None or self._other[0] != tuple(edits):
            self._other = None
            self._other = (tuple(edits), self._with_suite(edits))
        return self._other[1]

    def _with_suite(self, edits: Sequence[Edit]) -> Workspace:
        own, began = self.workspace, time.perf_counter()
        cache = own.prefix_cache
        with stage(self.progress, SUITE, 1):
            suite = prepare(
                own.suite.text_generator,
                edits,
                own.eval_texts,
                own.suite.prompt_format,
                cache.budget,
            )
            cache = PrefixCache(own.loaded.model, suite.packed, cache.budget, cache.tokens_at_once)
            other = replace(own, suite=suite, prefix_cache=cache)
            with trial_threads(own.loaded.model.device, alone=True):
                _ = other.before  # Asked now, while the model is untouched.
        self.costs.append(StageCost(SUITE, time.perf_counter() - began, 1, 0))
        return other

    def _run_panels(self, name: str, missing: Sequence[Finalist]) -> list[ProtocolResults]:
        workspace, panels = self._about(None), list[ProtocolResults]()
        with stage(self.progress, name, len(missing) + 1, share=3):
            # All of them are tuned on the same first subset of T.
            suites = protocol_suites(workspace, missing[0].on_t[0].trial.edits)
            self.progress.advance("the evaluation suites are written")
            for wanted in missing:
                record = wanted.on_t[0]
                rows = run_panel(workspace, record.trial, suites)
                panel = ProtocolResults(
                    role=wanted.role,
                    location=wanted.location,
                    recipe=record.trial.recipe,
                    trial=record.trial.id,
                    edits=len(record.trial.edits),
                    score=record.score,
                    rows=rows,
                )
                write_record(self.folder, "panel", wanted.role, panel)
                panels.append(panel)
                self.progress.advance(f"{wanted.role} {wanted.location}")
        return panels

    def _count(self, cost: StageCost) -> None:
        """Notes a stage, unless an earlier run noted it and nothing is added to it."""
        if cost.tasks > cost.resumed or not self._counted:
            self.costs.append(cost)

    def _uncounted_seconds(self, trials: dict[str, Trial]) -> float:
        lost = self._uncounted & trials.keys()
        self._uncounted -= lost
        return sum(self.known[key].seconds for key in lost)

    def _share(self, name: str) -> float:
        """What part of the whole job the trials of a stage are taken to be: of a stage that comes
        in several rounds each is half of what is left of it."""
        left = self._left.get(name, 0.0)
        now = left / 2 if name in IN_ROUNDS else left
        self._left[name] = left - now
        return now

    def _keep(self, record: TrialRecord) -> None:
        record = replace(record, environment=self._environment)
        write_record(self.folder, "trial", record.trial.id, record)
        self.known[record.trial.id] = record
        if self.heard is not None:
            self.heard(record)
