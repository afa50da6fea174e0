"""The edit-count curve: does the location that was chosen hold with fewer edits, and with more?

S, V and T together, for how many edits are tuned is the point, not which: these numbers are
compared with each other, never with those on T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class EditCountSchedule:
    """Counts of edits, rising, and the edits; of their ids in drawn `order` each takes the first.

    These are not always the edits of the search: some may be added from its file, and prompts that
    are tuned here no longer serve as neighbours.
    """

    edits: tuple[Edit, ...]
    order: tuple[str, ...]
    counts: tuple[int, ...]

    def first(self, count: int) -> tuple[str, ...]:
        """Ids of the first so many edits, in the order of the edits."""
        wanted = set(self.order[:count])
        return tuple(edit.id for edit in self.edits if edit.id in wanted)


def edit_counts(runner: TrialRunner, evidence: Evidence) -> Evidence:
    """The stage of the curve; not asked for, nothing is run.

    Its records are ordinary trials of split `all`; those that are there are not run again.
    """
    if runner.plan.settings.thorough:
        count_curve(runner, on_curve(evidence.finalists, evidence.controls))
    return evidence


def count_curve(runner: TrialRunner, locations: Sequence[Best]) -> None:
    """Tunes locations on more and more edits, each as it did best on S."""
    schedule = edit_count_schedule(runner.plan)
    trials = [
        _trial(runner.plan, schedule, best.record.trial, count)
        for count in schedule.counts
        for best in locations
    ]
    runner.trials(STAGE, trials, schedule.edits)


def on_curve(finalists: Sequence[Finalist], controls: Mapping[str, Best]) -> tuple[Best, ...]:
    """Whose curves are drawn: recommended, runner-up and the depth rule's location."""
    first = tuple(finalist.best for finalist in finalists[:2])
    rule = controls[DEPTH_RULE]
    return (*first, *(() if rule.location in {best.location for best in first} else (rule,)))


def edit_count_schedule(plan: Plan) -> EditCountSchedule:
    """The edits of the search in a drawn order of groups, and a quarter, half and all of them.

    Where the search was limited to some edits of its file others follow, as many as wanted.
    """
    mine, others = plan.edit_set.edits, _others(plan)
    # Lent prompts are tuned here, and what a neighbour should say is then no longer known.
    edits = drop_edited_neighbours((*mine, *others)).edits
    # Groups stay together and the order is drawn once, so that more edits hold the fewer.
    first = drawn_order(range(len(mine)), plan.parts.groups, plan.settings.seed)
    return EditCountSchedule(
        edits=edits,
        order=(*(mine[i].id for i in first), *(edit.id for edit in others)),
        counts=counts(len(mine), len(edits)),
    )


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
    rest = list(resolve_conflicts(rest, settings.conflicts or "drop").edits)
    order = drawn_order(range(len(rest)), groups(rest), settings.seed)
    return tuple(rest[i] for i in order[:wanted])


def _trial(plan: Plan, schedule: EditCountSchedule, trial: Trial, count: int) -> Trial:
    """The trial at its own recipe on the first so many edits."""
    same = schedule.edits == plan.edit_set.edits
    return replace(
        trial,
        edits=schedule.first(count),
        split=ALL,
        rung=f"{COUNT_RUNG}{count}",
        choosing=False,
        edit_set=plan.edit_set.fingerprint if same else fingerprint(schedule.edits),
    )
