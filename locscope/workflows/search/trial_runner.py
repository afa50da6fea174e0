"""Where a search does its trials: known ones from the run folder, new ones run and kept there."""

import time
from collections.abc import Callable, Sequence
from os import PathLike
from typing import final

from locscope.execution.local import Worker, run_trials
from locscope.progress import Progress
from locscope.recommendation.looser_bounds import judged
from locscope.records import Recipe, StageCost, Trial, TrialRecord, default_batch
from locscope.runs.store import iterate, write_record
from locscope.selection.candidates import rounded
from locscope.selection.space import Fidelity, TrialRequest
from locscope.tuning.rates import starting_rate
from locscope.tuning.trial import TrialContext
from locscope.workflows.search.plan import Plan

Listener = Callable[[TrialRecord], None]
Answer = Callable[[str, Sequence[Trial]], tuple[TrialRecord, ...]]
"""From a stage and its trials to their records."""


SHARES = {
    **{"rung 1": 15.0, "rung 2": 8.0, "full": 16.0, "controls": 6.0, "validating on V": 6.0},
    **{"fitting to the edits": 16.0, "deployed": 3.0, "reporting on T": 12.0},
    **{"edit counts": 7.0, "audit": 4.0},
}
"""Per cent of a search's time that a stage takes, about, as seen on the bundled model."""
IN_ROUNDS = ("full", "controls", "fitting to the edits")
"""Stages whose trials are asked for round after round."""


@final
class TrialRunner:
    """Runs the trials of one plan; `costs` are the stages so far, `known` all its records.

    Trials are chosen by `objective`, which may be looser than the one that was asked for and that
    they are written down by. With an `answer` nothing is run: it makes up the records, as a
    rehearsal does. A run that was killed left records but no costs: with `uncounted` theirs are
    added where they are asked for.
    """

    def __init__(
        self,
        plan: Plan,
        folder: PathLike[str],
        progress: Progress,
        heard: Listener | None = None,
        answer: Answer | None = None,
        *,
        uncounted: bool = False,
    ) -> None:
        self.plan, self.folder, self.progress, self.heard = plan, folder, progress, heard
        self.answer = answer
        self.costs: list[StageCost] = []
        self.known = {
            record.trial.id: record for record in iterate(folder, "trial", TrialRecord, progress)
        }
        self.objective = plan.objective
        self._left = dict(SHARES)
        self._uncounted = set(self.known) if uncounted else set[str]()
        workspace = plan.workspace
        self.worker = Worker(
            context=TrialContext(
                plan.loaded, workspace.suite, workspace.prefix_cache, plan.objective
            ),
            before=workspace.before,
            known=self.known.get,
            keep=self._keep,
            progress=progress,
        )

    def trials(
        self, stage: str, trials: Sequence[Trial], worker: Worker | None = None
    ) -> tuple[TrialRecord, ...]:
        """The records of the trials, in their order; what they cost is noted as a stage.

        Another `worker` than the trial runner's own has another evaluation suite.
        """
        if self.answer is not None:
            return self.answer(stage, trials)
        return tuple(judged(one, self.objective) for one in self._run(stage, trials, worker))

    def _run(
        self, stage: str, trials: Sequence[Trial], worker: Worker | None
    ) -> tuple[TrialRecord, ...]:
        began, resumed = time.perf_counter(), sum(trial.id in self.known for trial in trials)
        lost = self._uncounted & {trial.id for trial in trials}
        before = sum(self.known[one].seconds for one in lost)
        self._uncounted -= lost
        records = run_trials(worker or self.worker, stage, trials, self._share(stage))
        seconds = time.perf_counter() - began + before
        self.costs.append(StageCost(stage, seconds, len(trials), resumed))
        return records

    def _share(self, stage: str) -> float:
        """What part of the whole job the trials of a stage are taken to be: of a stage that comes
        in several rounds each is half of what is left of it."""
        left = self._left.get(stage, 0.0)
        now = left / 2 if stage in IN_ROUNDS else left
        self._left[stage] = left - now
        return now

    def asked(self, asks: Sequence[TrialRequest]) -> tuple[TrialRecord, ...]:
        """The records of what a strategy asked for."""
        stage = " and ".join(dict.fromkeys(ask.fidelity.rung for ask in asks))
        return self.trials(stage, [self.trial(ask) for ask in asks])

    def trial(self, ask: TrialRequest) -> Trial:
        """A trial on S."""
        plan, fidelity = self.plan, ask.fidelity
        return Trial(
            location=ask.location,
            recipe=self._recipe(ask.lr, fidelity),
            edits=plan.first_of_s(fidelity.edits),
            split="S",
            rung=fidelity.rung,
            seed=plan.settings.seed,
            model=plan.loaded.info.hash,
            edit_set=plan.edit_set.fingerprint,
            quick=fidelity.quick,
            choosing=True,
        )

    def starting_rate(self, trial: Trial) -> float:
        """Where the trial's rates start, by the gradient; on paper as they are in the trial."""
        if self.answer is not None:
            return trial.recipe.lr
        return rounded(starting_rate(self.worker.context, trial, self.plan.first_step))

    def _recipe(self, lr: float, fidelity: Fidelity) -> Recipe:
        settings = self.plan.settings
        return Recipe(
            lr=lr,
            batch=settings.batch_size or default_batch(fidelity.edits),
            epochs=fidelity.epochs,
            prefixes=settings.prefixes,
            prompt_format=settings.prompt_format,
        )

    def _keep(self, record: TrialRecord) -> None:
        write_record(self.folder, "trial", record.trial.id, record)
        self.known[record.trial.id] = record
        if self.heard is not None:
            self.heard(record)
