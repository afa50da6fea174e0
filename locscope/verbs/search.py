"""`search`: from a model and edits to the layer configuration to use, with the evidence.

Chosen on S: every candidate at its starting rate, then the finalists over a grid of rates. Reported
on R, which nothing was chosen on: the untouched model is tuned afresh on parts of R and measured
there, the runner-up, the depth rule and a random location alike.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import final

import locscope
from locscope.execute.local import Worker, run_trials
from locscope.progress import Progress
from locscope.records import Recipe, RunInfo, ScanResult, StageCost, Trial, TrialRecord
from locscope.report.inputs import ReportInputs
from locscope.runs.folder import open_run, write_info
from locscope.runs.store import iterate, read_record, write_record
from locscope.scans.bench import ScanBench
from locscope.selection.candidates import Candidate, candidates, depth_rule, drawn, named
from locscope.selection.choice import Best, best_per_location, next_rates, on_edge
from locscope.selection.recommend import Confirmed, Context, recommend
from locscope.selection.scorecard import scorecard
from locscope.tuning.orders import default_batch
from locscope.tuning.trial import Bench
from locscope.verbs.plan import Plan
from locscope.verbs.provenance import earlier_costs, run_info
from locscope.verbs.publish import publish
from locscope.verbs.scan import run_scans

SCAN = "weight-gradient"


@dataclass(frozen=True)
class Found:
    """Where the results lie, and what they are."""

    folder: Path
    inputs: ReportInputs


def search(plan: Plan, progress: Progress, *, fresh: bool = False, command: str = "") -> Found:
    """Runs a plan in its folder, or goes on where an earlier run of it ended."""
    started, settings = datetime.now().astimezone().isoformat(timespec="seconds"), plan.settings
    with open_run(plan.folder, plan.frozen, fresh=fresh) as folder:
        for note in (*folder.notes, *plan.session.notes):
            progress.say(note)
        steps = _Steps(plan, folder, progress)
        inputs = steps.run()
        info = info_of(plan, [*earlier_costs(folder), *steps.costs], command, started)
        info = replace(info, notes=(*info.notes, *steps.notes))
        inputs = replace(inputs, run=info, command=command, date=started[:10])
        write_info(folder, info)
        publish(folder.path, inputs, plan.loaded.info, settings.edits)
    return Found(plan.folder, inputs)


def info_of(
    plan: Plan, costs: Sequence[StageCost], command: str = "", started: str = ""
) -> RunInfo:
    """The record of the search as a whole."""
    session = plan.session
    return run_info(
        "search",
        plan.frozen,
        plan.settings.seed,
        plan.loaded,
        plan.edit_set,
        session.notes,
        costs,
        command,
        started,
    )


@final
class _Steps:
    """One run of a plan: its stages in order, each from records and into records."""

    def __init__(self, plan: Plan, folder: PathLike[str], progress: Progress) -> None:
        self.plan, self.folder, self.progress = plan, folder, progress
        self.costs: list[StageCost] = []
        self.notes: list[str] = []
        self.known = {
            record.trial.id: record for record in iterate(folder, "trial", TrialRecord, progress)
        }
        self.worker = Worker(
            bench=Bench(
                plan.loaded, plan.session.exam, plan.session.trunk, plan.settings.objective
            ),
            before=plan.session.before,
            known=self.known.get,
            keep=self._keep,
            progress=progress,
        )

    def run(self) -> ReportInputs:
        plan, settings = self.plan, self.plan.settings
        scans = self.scan()
        everything = candidates(
            plan.loaded.info,
            scans[0],
            [*{one.part for one in plan.loaded.info.grid}],
            settings.first_step,
        )
        tried = [one for one in everything if one.part in settings.parts]
        swept = self.trials("sweep", [self.trial(one.location, one.lr, "sweep") for one in tried])
        graded = self.rates(self.contestants(everything, tried, swept), swept)
        confirmed = self.confirm(best_per_location(graded), self.rules(everything, tried))
        card = scorecard(scans, swept, settings.seed)
        found = recommend(self.context(), confirmed)
        write_record(self.folder, "recommendation", "final", found)
        write_record(self.folder, "scorecard", "final", card)
        return ReportInputs(
            run=info_of(plan, self.costs),
            recommendation=found,
            scans=scans,
            trials=tuple(self.known.values()),
            scorecard=card,
            command="",
            edits=plan.edit_set.edits,
        )

    def scan(self) -> tuple[ScanResult, ...]:
        """The scans of S, each from its record where there is one; the weight gradient first."""
        plan, edits = self.plan, self.plan.edit_set.edits
        bench = ScanBench(
            loaded=plan.loaded,
            exam=plan.session.exam,
            trunk=plan.session.trunk,
            edits=plan.chosen,
            seed=plan.settings.seed,
            progress=self.progress,
            options=plan.settings.scan_options,
            groups=tuple(tuple(edits[i].id for i in group) for group in plan.parts.groups),
        )
        names = tuple(dict.fromkeys((SCAN, *plan.settings.scans)))
        self.costs += run_scans(bench, names, self.folder)
        found = (read_record(self.folder, "scan", name, ScanResult) for name in names)
        return tuple(one for one in found if one is not None)

    def trial(self, location: str, lr: float, rung: str) -> Trial:
        """A trial on S."""
        settings, plan = self.plan.settings, self.plan
        recipe = Recipe(
            lr=lr,
            batch=settings.batch_size or default_batch(len(plan.chosen)),
            epochs=settings.epochs,
            prefixes=settings.prefixes,
            prompt_format=settings.prompt_format,
        )
        return Trial(
            location=location,
            recipe=recipe,
            edits=plan.chosen,
            split="S",
            rung=rung,
            seed=settings.seed,
            model=plan.loaded.info.hash,
            edit_set=plan.edit_set.fingerprint,
        )

    def trials(self, stage: str, trials: Sequence[Trial]) -> tuple[TrialRecord, ...]:
        """The records of the trials; what they cost is noted as a stage."""
        began, resumed = time.perf_counter(), sum(trial.id in self.known for trial in trials)
        records = run_trials(self.worker, stage, trials)
        self.costs.append(StageCost(stage, time.perf_counter() - began, len(trials), resumed))
        return records

    def rules(self, everything: Sequence[Candidate], tried: Sequence[Candidate]) -> dict[str, str]:
        """The locations that a choice has to beat: the depth rule's and a random one."""
        found = {"random": drawn(tried, self.plan.settings.seed).location}
        rule = depth_rule(self.plan.loaded.info)
        return {"depth-rule": rule, **found} if named(everything, rule) else found

    def contestants(
        self,
        everything: Sequence[Candidate],
        tried: Sequence[Candidate],
        swept: Sequence[TrialRecord],
    ) -> tuple[Candidate, ...]:
        """The finalists of the sweep, and the depth rule's and a random location."""
        finalists = [best.location for best in best_per_location(swept)]
        places = [
            *finalists[: self.plan.settings.finalists],
            *self.rules(everything, tried).values(),
        ]
        return tuple(one for one in everything if one.location in places)

    def rates(
        self, places: Sequence[Candidate], swept: Sequence[TrialRecord]
    ) -> tuple[TrialRecord, ...]:
        """All trials of the contestants on S, each over a grid of rates that holds its best."""
        first = {record.trial.location: record.trial for record in swept}
        wanted = [
            first.get(one.location) or self.trial(one.location, one.lr, "sweep") for one in places
        ]
        records = list(self.trials("starting rates", wanted))
        while wanted:
            wanted = [
                self.trial(one.location, rate, "rates")
                for one in places
                for rate in next_rates([r for r in records if r.trial.location == one.location])
            ]
            if wanted:
                records += self.trials("learning rates", wanted)
        self.notes += [
            f"{best.location}: the best learning rate is on the edge of its grid, another beyond "
            "it may be better"
            for best in best_per_location(records)
            if on_edge(best.tried)
        ]
        return tuple(records)

    def confirm(self, ranked: Sequence[Best], rules: dict[str, str]) -> tuple[Confirmed, ...]:
        """Tunes and measures the contenders on parts of R that nothing was chosen on."""
        place = {best.location: best for best in ranked}
        roles = [("recommended", ranked[0])]
        roles += [("runner-up", best) for best in ranked[1:2]]
        roles += [(role, place[location]) for role, location in rules.items()]
        leading = {best.location for _, best in roles[:2]}
        trials = {
            (role, i): replace(
                best.record.trial,
                edits=subset,
                split="R",
                rung=f"confirm-{i + 1}",
                seed=self.plan.settings.seed + i,
                thorough=best.location in leading,
            )
            for role, best in roles
            for i, subset in enumerate(self.plan.subsets)
        }
        once = {trial.id: trial for trial in trials.values()}
        found = dict(zip(once, self.trials("confirming on R", list(once.values())), strict=True))
        return tuple(
            Confirmed(
                role,
                best,
                tuple(found[trials[role, i].id] for i in range(len(self.plan.subsets))),
            )
            for role, best in roles
        )

    def context(self) -> Context:
        """What the recommendation says of where it comes from."""
        plan = self.plan
        ids = [edit.id for edit in plan.edit_set.edits]
        held = set(plan.parts.held)
        groups = [tuple(ids[i] for i in group if i in held) for group in plan.parts.groups]
        return Context(
            objective=plan.settings.objective,
            model=plan.settings.model,
            model_hash=plan.loaded.info.hash,
            edits=plan.settings.edits,
            edits_hash=plan.edit_set.fingerprint,
            seed=plan.settings.seed,
            version=locscope.__version__,
            groups=tuple(group for group in groups if group),
        )

    def _keep(self, record: TrialRecord) -> None:
        write_record(self.folder, "trial", record.trial.id, record)
        self.known[record.trial.id] = record
