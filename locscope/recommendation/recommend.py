"""The recommendation: what was chosen on S and V, as it is at the count of edits that will be made,
and as it showed on T against what it has to beat."""

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan

import numpy as np

from locscope.recommendation.chance import on_chance, randoms_ahead
from locscope.recommendation.finalists import RANDOM, Finalist, gathered
from locscope.recommendation.looser_bounds import Relaxed
from locscope.recommendation.margins import (
    Context,
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
    Margin,
    Recommendation,
    TrialRecord,
)
from locscope.scoring.bounds import violations
from locscope.scoring.objectives import nothing_learned, score, score_name
from locscope.scoring.repetitions import repeated
from locscope.scoring.tradeoffs import front_points


def recommend(
    context: Context,
    held_out: Sequence[Finalist],
    deployment: Deployment,
    tried: Sequence[TrialRecord] = (),
    looser: Relaxed | None = None,
    *,
    reason: str = "",
    points: tuple[BoundPoint, ...] = (),
) -> Recommendation:
    """What to recommend, and how it compares on T with the others.

    The first that is `held_out`, measured on T, is what was chosen; nothing that T shows moves it.
    `deployment` is that location on the edits to be made, and `reason` why. Of `tried`, trials on S
    of one rung, in full, the front is drawn. `looser` is the bound that recipes were fitted within
    where that asked for leaves nothing useful, `points` are what each bound would have given.
    """
    objective = context.objective
    contenders = tuple(_contender(context, finalist) for finalist in held_out)
    randoms = tuple(contender for contender in contenders if contender.role == RANDOM)
    contenders = (*(c for c in contenders if c.role != RANDOM), *_mean_of(randoms))
    margins = _margins(context, held_out)
    missed = (*deployment.violated, *nothing_learned(deployment.measures, objective))
    over = {margin.over: margin for margin in margins}
    runner_up = over.get("runner-up")
    drawn = [finalist for finalist in held_out if finalist.role == RANDOM]
    ahead = randoms_ahead(held_out[0], drawn, objective)
    chance = on_chance(held_out[0], ahead, len(drawn), over.get(RANDOM))
    relaxed = looser.bound if looser else ""
    return Recommendation(
        # On the texts that report, the bound asked for may be kept after all.
        sentence=sentence(
            deployment, contenders, runner_up, missed, relaxed if missed else "", chance
        ),
        score_name=score_name(deployment.measures, objective),
        objective=objective.name,
        contenders=contenders,
        margins=margins,
        tie=runner_up is not None and is_tie(runner_up),
        met=not missed,
        missed=missed,
        model=context.model,
        model_hash=context.model_hash,
        edits=context.edits,
        edits_hash=context.edits_hash,
        seed=context.seed,
        version=context.version,
        weights=dict(objective.weights),
        bounds=tuple(map(str, objective.bounds)),
        bound_margin=objective.bound_margin,
        front=front_points(tried, objective),
        deployment=deployment,
        reason=reason,
        non_inferiority=context.non_inferiority,
        notes=explanations(deployment, contenders, runner_up, looser, points),
        randoms=randoms,
        relaxed=relaxed,
        looser=points,
        ahead=tuple(finalist.location for finalist in ahead),
    )


def _margins(context: Context, held_out: Sequence[Finalist]) -> tuple[Margin, ...]:
    """Of the first over each of the others, and over all random locations at once."""
    first, *others = held_out
    randoms = [other for other in others if other.role == RANDOM]
    margins = [margin(context, first, other) for other in others if other.role != RANDOM]
    if randoms:
        margins.append(margin_over_randoms(context, first, randoms))
    return tuple(margins)


def _contender(context: Context, finalist: Finalist) -> Contender:
    record, on_t, on_v = finalist.best.record, finalist.on_t, finalist.on_v
    measures, objective = pooled(on_t), context.objective
    interval = score_of(context.groups, on_t, objective, context.seed)
    return Contender(
        role=finalist.role,
        location=finalist.location,
        recipe=record.trial.recipe,
        parameters=record.parameters,
        parameter_count=record.parameter_count,
        score_s=record.score,
        score=interval.value,
        low=interval.low,
        high=interval.high,
        repetitions=tuple(record.score for record in on_t),
        measures=measures,
        violated=violations(measures, objective.bounds),
        score_v=score(gathered(on_v), objective) if on_v else nan,
        edits=len(on_t[0].trial.edits),
    )


def _mean_of(randoms: Sequence[Contender]) -> tuple[Contender, ...]:
    """The random locations as one contender, whose interval is that of the mean over them."""
    if not randoms:
        return ()
    interval = repeated([each.score for each in randoms])
    first = randoms[0]
    names = [measure.name for measure in first.measures]
    return (
        replace(
            first,
            location=f"{len(randoms)} random" if len(randoms) > 1 else first.location,
            # Each has its own rate, and a mean of them was never tried.
            recipe=replace(first.recipe, lr=nan) if len(randoms) > 1 else first.recipe,
            parameters=(),
            parameter_count=round(float(np.mean([each.parameter_count for each in randoms]))),
            score_s=_mean([each.score_s for each in randoms]),
            score=interval.value,
            # Student's t knows no limits, but a score is a share.
            low=max(0.0, interval.low) if interval.count > 1 else nan,
            high=min(1.0, interval.high) if interval.count > 1 else nan,
            repetitions=tuple(each.score for each in randoms),
            measures=tuple(
                pooled_measure([m for each in randoms for m in each.measures if m.name == name])
                for name in names
            ),
            # A bound is kept by one location, not by a mean over several.
            violated=(),
        ),
    )


def _mean(values: Sequence[float]) -> float:
    measured = [value for value in values if not isnan(value)]
    return float(np.mean(measured)) if measured else nan


def deployment_of(
    context: Context, record: TrialRecord, fitted: Sequence[TrialRecord], given: int
) -> Deployment:
    """The trial of the location to use on the edits to be made, which are some of `given` ones.

    `fitted` are the trials, of all finalists, by which recipes were fitted to these edits.
    """
    interval = score_of(context.all_groups, (record,), context.objective, context.seed)
    return Deployment(
        location=record.trial.location,
        recipe=record.trial.recipe,
        parameters=record.parameters,
        parameter_count=record.parameter_count,
        edits=len(record.trial.edits),
        given=given,
        score=record.score,
        low=interval.low,
        high=interval.high,
        measures=record.measures,
        violated=record.violated,
        trial=record.trial.id,
        fits=tuple(map(_fit_point, fitted)),
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
