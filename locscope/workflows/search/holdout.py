"""Trials on edits that S lacks: on V the finalists are chosen among, on T they are reported on.

The untouched model is tuned afresh for each.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from locscope.locations import Location
from locscope.recommendation.finalists import RANDOM, Finalist, ranked_finalists, too_close
from locscope.recommendation.margins import Context
from locscope.records import Trial, TrialRecord
from locscope.runs.private import without_home
from locscope.selection.choice import Best
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.select import DEPTH_RULE, ranking
from locscope.workflows.search.stages import Evidence, TrialRunner

VALIDATING, REPORTING = "validating on V", "reporting on T"


def validate(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage on V: tunes the finalists of S afresh there, and puts them in the order of S and V
    together, the chosen one first. Those too close to tell are tuned on other subsets of V too."""
    settings, plan, strict = runner.plan.settings, runner.plan, runner.objective.strict
    first = ranking(evidence.space, evidence.selected)[: settings.finalists]
    finalists, close = tuple(map(Finalist, first)), first
    for subsets in (plan.on_v[: settings.validations], plan.on_v[settings.validations :]):
        trials = {best.location: [on_v(plan, best, subset) for subset in subsets] for best in close}
        asked = [trial for some in trials.values() for trial in some]
        records = runner.trials(VALIDATING, asked) if asked else ()
        finalists = tuple(_with(finalist, records) for finalist in finalists)
        close = [finalist.best for finalist in too_close(finalists, strict)]
    ordered = ranked_finalists(
        finalists,
        strict,
        settings.non_inferiority,
        plan.groups_of(plan.parts.choosing),
        settings.seed,
    )
    return replace(evidence, finalists=ordered)


def _with(finalist: Finalist, records: Sequence[TrialRecord]) -> Finalist:
    """The finalist with its own among these trials on V added."""
    own = (record for record in records if record.trial.location == finalist.location)
    return replace(finalist, on_v=(*finalist.on_v, *own))


def on_v(plan: Plan, best: Best, subset: tuple[str, ...]) -> Trial:
    """What did best on S as a trial on one of the plan's subsets of V."""
    rung = f"validate-{plan.on_v.index(subset) + 1}"
    return replace(best.record.trial, edits=subset, split="V", rung=rung)


def report_on_t(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """Recommended, runner-up and the depth rule's location on every subset of T; each random
    location on one of them, in turn."""
    controls, finalists = evidence.controls, evidence.finalists
    roles = dict(zip(("recommended", "runner-up"), finalists, strict=False))
    validated = {finalist.location: finalist for finalist in roles.values()}
    # A control at a location that was validated is that one, at the rate that was chosen.
    rule = controls[DEPTH_RULE]
    reported = [*roles.items(), (DEPTH_RULE, validated.get(rule.location, Finalist(rule)))]
    randoms = [best for role, best in controls.items() if role != DEPTH_RULE]
    count = len(runner.plan.on_t)
    trials: dict[tuple[str | Location, int], Trial] = {
        (role, i): on_t(
            runner.plan, finalist.best.record, i, thorough=finalist.location in validated
        )
        for role, finalist in reported
        for i in range(count)
    }
    trials |= {
        (best.location, 0): on_t(
            runner.plan, best.record, n % count, thorough=best.location in validated
        )
        for n, best in enumerate(randoms)
    }
    once = {trial.id: trial for trial in trials.values()}
    records = dict(zip(once, runner.trials(REPORTING, list(once.values())), strict=True))

    def of(role: str | Location, times: int) -> tuple[TrialRecord, ...]:
        return tuple(records[trials[role, i].id] for i in range(times))

    return replace(
        evidence,
        held_out=(
            *(replace(one, role=role, on_t=of(role, count)) for role, one in reported),
            *(Finalist(best, role=RANDOM, on_t=of(best.location, 1)) for best in randoms),
        ),
    )


def on_t(plan: Plan, chosen: TrialRecord, subset: int, *, thorough: bool = False) -> Trial:
    """What was chosen as a trial on a subset of T."""
    return replace(
        chosen.trial,
        edits=plan.on_t[subset],
        split="T",
        rung=f"report-{subset + 1}",
        seed=plan.settings.seed + subset,
        thorough=thorough,
        choosing=False,
    )


def context(plan: Plan) -> Context:
    """What the recommendation says of where it comes from."""
    every: Sequence[int] = range(len(plan.edit_set.edits))
    return Context(
        objective=plan.objective,
        model=without_home(plan.settings.model),
        model_hash=plan.loaded.info.hash,
        edits=without_home(plan.settings.edits),
        edits_hash=plan.edit_set.fingerprint,
        seed=plan.settings.seed,
        version=version("locscope"),
        groups=plan.groups_of(plan.parts.report),
        all_groups=plan.groups_of(every),
        non_inferiority=plan.settings.non_inferiority,
    )
