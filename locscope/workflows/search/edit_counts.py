"""The edit-count curve: does the location that was chosen hold with fewer edits, and with more?

S, V and T together, for how many edits are tuned is the point, not which: these numbers are
compared with each other, never with those on T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from locscope.edits import read_edits
from locscope.edits.checks import drop_edited_neighbours, resolve_conflicts
from locscope.edits.splits import drawn_order, groups
from locscope.edits.texts import key
from locscope.recommendation.finalists import Finalist
from locscope.records import COUNT_RUNG, Edit, Trial
from locscope.records.codec import fingerprint
from locscope.selection.choice import Best
from locscope.workflows.search.estimate import counts
from locscope.workflows.search.fit import ALL
from locscope.workflows.search.plan import Plan
from locscope.workflows.search.select import DEPTH_RULE
from locscope.workflows.search.stages import Evidence, TrialRunner

STAGE = "edit counts"


def edit_counts(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the curve; not asked for, nothing is run.

    Its records are ordinary trials of split `all`; those that are there are not run again.
    """
    if runner.plan.settings.thorough:
        count_curve(runner, on_curve(evidence.finalists, evidence.controls))
    return evidence


def count_curve(runner: TrialRunner, locations: Sequence[Best]) -> None:
    """Tunes locations on a quarter, half and all of the edits of the search, and on those that its
    limit left out besides, each as it did best on S."""
    plan = runner.plan
    order = drawn_edits(plan)
    edits = edits_on_curve(order, plan)
    trials = [
        _trial(plan, edits, first_of(edits, order, count), best.record.trial)
        for count in counts(len(plan.edit_set.edits), len(edits))
        for best in locations
    ]
    runner.trials(STAGE, trials, edits)


def on_curve(finalists: Sequence[Finalist], controls: Mapping[str, Best]) -> tuple[Best, ...]:
    """Whose curves are drawn: recommended, runner-up and the depth rule's location."""
    first = tuple(finalist.best for finalist in finalists[:2])
    rule = controls[DEPTH_RULE]
    return (*first, *(() if rule.location in {best.location for best in first} else (rule,)))


def drawn_edits(plan: Plan) -> tuple[Edit, ...]:
    """The edits of the search in a drawn order of groups.

    Where the search was limited to some edits of its file others follow, as many as wanted.
    """
    mine = plan.edit_set.edits
    # Groups stay together and the order is drawn once, so that more edits hold the fewer.
    first = drawn_order(range(len(mine)), plan.parts.groups, plan.settings.seed)
    return (*(mine[i] for i in first), *_others(plan))


def edits_on_curve(drawn: Sequence[Edit], plan: Plan) -> tuple[Edit, ...]:
    """All drawn edits, those of the search as it has them, without neighbours that are tuned here:
    lent prompts are, and what a neighbour should say is then no longer known."""
    mine = plan.edit_set.edits
    return drop_edited_neighbours((*mine, *drawn[len(mine) :]))


def first_of(edits: Sequence[Edit], drawn: Sequence[Edit], count: int) -> tuple[str, ...]:
    """Ids of the first so many that were drawn, in the order of the edits."""
    wanted = {edit.id for edit in drawn[:count]}
    return tuple(edit.id for edit in edits if edit.id in wanted)


def _others(plan: Plan) -> tuple[Edit, ...]:
    """Edits of the file that the search left out by its limit, in a drawn order of groups.

    Conflicts among them are dropped where nothing else is wished, and what contradicts or repeats
    an edit of the search gives way to it.
    """
    settings, mine = plan.settings, plan.edit_set.edits
    wanted = settings.most_on_curve(len(mine)) - len(mine)
    if settings.limit is None or not wanted:
        return ()
    there, prompts = {edit.id for edit in mine}, {key(edit.prompt) for edit in mine}
    file = read_edits(settings.edits, seed=settings.seed).edits
    rest = [e for e in file if e.id not in there and key(e.prompt) not in prompts]
    if not rest:
        return ()
    rest = list(resolve_conflicts(rest, settings.conflicts or "drop"))
    order = drawn_order(range(len(rest)), groups(rest), settings.seed)
    return tuple(rest[i] for i in order[:wanted])


def _trial(plan: Plan, edits: tuple[Edit, ...], tuned: tuple[str, ...], trial: Trial) -> Trial:
    """The trial at its own recipe, with some of the edits of the curve tuned."""
    same = edits == plan.edit_set.edits
    return replace(
        trial,
        edits=tuned,
        split=ALL,
        rung=f"{COUNT_RUNG}{len(tuned)}",
        choosing=False,
        edit_set=plan.edit_set.fingerprint if same else fingerprint(edits),
    )
