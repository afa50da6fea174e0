"""Records of trials made by hand: a location, a rate, and what they are worth."""

from dataclasses import replace
from math import isnan

from locscope.locations import Location
from locscope.records import Measure, Recipe, Trial, TrialRecord
from locscope.scoring import objectives
from locscope.scoring.bounds import bound_of, violations
from locscope.scoring.objectives import Objective, quick_score, score

_LIMIT = replace(bound_of("perplexity_ratio<=1.05"), needed=False)
BALANCED = replace(objectives.BALANCED, bounds=(_LIMIT, *objectives.BALANCED.bounds[1:]))
"""With a bound that tests state numbers about, whatever that of a search is by default."""
OBJECTIVES = objectives.OBJECTIVES | {"balanced": BALANCED}


def record(
    location: str,
    lr: float,
    score: float,
    *,
    violated: tuple[str, ...] = (),
    count: int = 10,
    measures: tuple[Measure, ...] = (),
    quick: bool = False,
) -> TrialRecord:
    trial = Trial(
        Location.parse(location), Recipe(lr, 8), ("a",), "S", "sweep", 0, "m", "e", quick=quick
    )
    return TrialRecord(
        trial, "done", score, "s", measures, (), (), (), count, 0.0, 0, 0.0, 0.0, violated
    )


def tuned(
    location: str,
    objective: Objective,
    *,
    lr: float = 1.0,
    count: int = 10,
    quick: bool = False,
    **values: float,
) -> TrialRecord:
    """A record whose score and broken bounds are those of its measures."""
    found = tuple(Measure(name, v, 0 if isnan(v) else 1000, "p") for name, v in values.items())
    utility = (quick_score if quick else score)(found, objective)
    broken = violations(found, objective.bounds)
    return record(location, lr, utility, violated=broken, count=count, measures=found, quick=quick)


def shares(reliability, generalization, locality, ratio, **more):
    names = ("reliability", "generalization", "locality", "perplexity_ratio")
    given = (reliability, generalization, locality, ratio)
    return dict(zip(names, given, strict=True)) | more


def locations(records) -> list[str]:
    return [str(one.trial.location) for one in records]
