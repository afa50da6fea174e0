"""Confirming on R: the untouched model is tuned afresh on edits that nothing was chosen on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import locscope
from locscope.records import Trial, TrialRecord
from locscope.selection.choice import Best
from locscope.selection.recommend import Confirmed, Context
from locscope.verbs.desk import Desk
from locscope.verbs.plan import Plan


def confirm(desk: Desk, ranked: Sequence[Best], rules: Mapping[str, Best]) -> tuple[Confirmed, ...]:
    """Recommended, runner-up and the rules' locations, each on every part of R."""
    roles = [("recommended", ranked[0])]
    roles += [("runner-up", best) for best in ranked[1:2]]
    leading = {best.location: best for _, best in roles}
    # A rule that names what was chosen is the choice, at the rate that was chosen.
    roles += [(role, leading.get(rule.location, rule)) for role, rule in rules.items()]
    count = len(desk.plan.subsets)
    trials = {
        (role, i): on_r(desk.plan, best.record, i, thorough=best.location in leading)
        for role, best in roles
        for i in range(count)
    }
    once = {trial.id: trial for trial in trials.values()}
    found = dict(zip(once, desk.trials("confirming on R", list(once.values())), strict=True))
    return tuple(
        Confirmed(role, best, tuple(found[trials[role, i].id] for i in range(count)))
        for role, best in roles
    )


def on_r(plan: Plan, chosen: TrialRecord, repetition: int, *, thorough: bool = False) -> Trial:
    """What was chosen on S as a trial on a part of R."""
    return replace(
        chosen.trial,
        edits=plan.subsets[repetition],
        split="R",
        rung=f"confirm-{repetition + 1}",
        seed=plan.settings.seed + repetition,
        thorough=thorough,
    )


def context(plan: Plan) -> Context:
    """What the recommendation says of where it comes from."""
    return Context(
        objective=plan.aim,
        model=plan.settings.model,
        model_hash=plan.loaded.info.hash,
        edits=plan.settings.edits,
        edits_hash=plan.edit_set.fingerprint,
        seed=plan.settings.seed,
        version=locscope.__version__,
        groups=plan.groups_of(plan.parts.held),
    )
