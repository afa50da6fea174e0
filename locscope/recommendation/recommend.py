"""The recommendation: what was chosen on S and V, as it is at the count of edits that will be made,
and as it showed on T against what it has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from locscope.recommendation.finalists import gathered
from locscope.recommendation.fitting import Fitted
from locscope.recommendation.looser_bounds import Relaxed
from locscope.recommendation.margins import (
    Context,
    OnT,
    is_tie,
    margin,
    margin_over_randoms,
    pooled,
    pooled_measure,
    score_of,
)
from locscope.recommendation.sentence import explanations, sentence
from locscope.records import (
    BoundPoint,
    Contender,
    Deployment,
    FitPoint,
    Recommendation,
    TrialRecord,
)
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import nothing_learned, score
from locscope.scoring.repetitions import repeated
from locscope.scoring.tradeoffs import front_points


@dataclass(frozen=True)
class Deployed:
    """The chosen location's trial on all edits to be made, out of `given` ones, the trials by which
    recipes were fitted to them, of all finalists, and what other bounds would have given there,
    where that one costs much."""

    record: TrialRecord
    fitted: tuple[Fitted, ...]
    given: int
    points: tuple[BoundPoint, ...] = ()


def recommend(
    context: Context,
    held_out: Sequence[OnT],
    randoms: Sequence[OnT],
    deployed: Deployed,
    reason: str,
    tried: Sequence[TrialRecord] = (),
    looser: Relaxed | None = None,
) -> Recommendation:
    """What to recommend, and how it compares on T with the others.

    The first of `held_out` is what was chosen; nothing that T shows moves it. `tried` are the
    trials on S that the front of efficacy against collapse is drawn of: of one rung, in full.
    `looser` is the bound that it was chosen within where the one asked for leaves nothing useful.
    """
    objective = context.objective
    shown = [*held_out, *randoms]
    singles = tuple(_contender(context, one) for one in shown)
    contenders = (*singles[: len(held_out)], *_mean_of(singles[len(held_out) :]))
    margins = [margin(context, held_out[0], other) for other in held_out[1:]]
    if randoms:
        margins.append(margin_over_randoms(context, held_out[0], randoms))
    deployment = _deployment(context, deployed)
    missed = (*deployment.violated, *nothing_learned(deployment.measures, objective))
    runner_up = next((one for one in margins if one.over == "runner-up"), None)
    relaxed = looser.bound if looser else ""
    points = looser.points if looser and looser.points else deployed.points
    return Recommendation(
        # On the texts that report, the bound asked for may be kept after all.
        sentence=sentence(deployment, contenders, runner_up, missed, relaxed if missed else ""),
        score_name=score(deployment.measures, objective).name,
        objective=objective.name,
        contenders=contenders,
        margins=tuple(margins),
        tie=runner_up is not None and is_tie(runner_up),
        met=not missed,
        missed=missed,
        model=context.model,
        model_hash=context.model_hash,
        edits=context.edits,
        edits_hash=context.edits_hash,
        seed=context.seed,
        version=context.version,
        weights={term.measure: term.weight for term in objective.terms},
        bounds=tuple(map(str, objective.bounds)),
        bound_margin=objective.bound_margin,
        front=front_points(tried, objective),
        deployment=deployment,
        reason=reason,
        non_inferiority=context.non_inferiority,
        notes=explanations(deployment, contenders, runner_up, looser, points),
        randoms=singles[len(held_out) :],
        relaxed=relaxed,
        looser=points,
    )


def _contender(context: Context, one: OnT) -> Contender:
    measures, objective = pooled(one.records), context.objective
    found = score_of(context.groups, one.records, objective, context.seed)
    return Contender(
        role=one.role,
        location=one.best.location,
        recipe=one.best.record.trial.recipe,
        parameters=one.best.record.parameters,
        parameter_count=one.best.record.parameter_count,
        score_s=one.best.record.score,
        score=found.value,
        low=found.low,
        high=found.high,
        repetitions=tuple(record.score for record in one.records),
        measures=measures,
        violated=violations(measures, objective.bounds),
        score_v=score(gathered(one.on_v), objective).value if one.on_v else nan,
        edits=len(one.records[0].trial.edits),
    )


def _mean_of(randoms: Sequence[Contender]) -> tuple[Contender, ...]:
    """The random locations as one contender, whose interval is that of the mean over them."""
    if not randoms:
        return ()
    found = repeated([one.score for one in randoms])
    first = randoms[0]
    names = [measure.name for measure in first.measures]
    return (
        replace(
            first,
            location=f"{len(randoms)} random" if len(randoms) > 1 else first.location,
            recipe=replace(first.recipe, lr=nan) if len(randoms) > 1 else first.recipe,
            parameters=(),
            parameter_count=round(float(np.mean([one.parameter_count for one in randoms]))),
            score_s=_mean([one.score_s for one in randoms]),
            score=found.value,
            low=max(0.0, found.low) if found.count > 1 else nan,
            high=min(1.0, found.high) if found.count > 1 else nan,
            repetitions=tuple(one.score for one in randoms),
            measures=tuple(
                pooled_measure([m for one in randoms for m in one.measures if m.name == name])
                for name in names
            ),
            violated=(),
        ),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not isnan(value)]
    return float(np.mean(known)) if known else nan


def _deployment(context: Context, deployed: Deployed) -> Deployment:
    record, objective = deployed.record, context.objective
    found = score_of(context.all_groups, (record,), objective, context.seed)
    return Deployment(
        location=record.trial.location,
        recipe=record.trial.recipe,
        parameters=record.parameters,
        parameter_count=record.parameter_count,
        edits=len(record.trial.edits),
        given=deployed.given,
        score=record.score,
        low=found.low,
        high=found.high,
        measures=record.measures,
        violated=record.violated,
        trial=record.trial.id,
        fits=tuple(_fit_point(one) for fitted in deployed.fitted for one in fitted.tried),
    )


def _fit_point(record: TrialRecord) -> FitPoint:
    recipe = record.trial.recipe
    return FitPoint(
        location=record.trial.location,
        lr=recipe.lr,
        batch=recipe.batch,
        score=record.score,
        perplexity_ratio=record.measure("perplexity_ratio").value,
        violated=record.violated,
    )
