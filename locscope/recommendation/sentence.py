"""The recommendation in a sentence or two, and why numbers that seem to contradict do not."""

from collections.abc import Iterator, Sequence
from math import isnan

from locscope.recommendation.looser_bounds import Relaxed
from locscope.records import BoundPoint, Contender, Deployment, FitPoint, Margin, Measure
from locscope.scoring.bounds import named
from locscope.scoring.objectives import EFFICACY
from locscope.scoring.statistics import Interval, overlaps_zero

APART = 0.03
"""Scores at two counts of edits that differ by more than this get a word why."""


def sentence(
    deployed: Deployment,
    contenders: Sequence[Contender],
    runner_up: Margin | None,
    missed: Sequence[str],
    relaxed: str = "",
    chance: str = "",
) -> str:
    """Where to tune and how, what that gave on the edits to be made, then the held-out evidence,
    and what it misses. `relaxed` is the bound it was chosen within where that asked for leaves
    nothing useful; `chance` says that random locations did better, where they did."""
    best, parts = contenders[0], list[str]()
    if relaxed:
        parts.append(f"Nothing useful keeps the bound on perplexity; chosen within {relaxed}")
    parts += [f"Tune {_location(deployed)}: on {_edits(deployed)} {_result(deployed.measures)}"]
    parts.append(f"Held out: {_held_out(best)}{_beside(contenders, runner_up)}")
    if chance:
        parts.append(chance)
    if missed:
        parts.append(f"It misses: {'; '.join(missed)}")
    return ". ".join(parts) + "."


def explanations(
    deployed: Deployment,
    contenders: Sequence[Contender],
    runner_up: Margin | None,
    looser: Relaxed | None = None,
    points: Sequence[BoundPoint] = (),
) -> tuple[str, ...]:
    """Why the numbers at the count to be made and those on T differ, where they do, and what became
    of the bounds."""
    # A looser bound in force says what the bound costs better than this can.
    cost = () if looser and looser.bound else _cost_of_bound(deployed, points)
    return (*_on_bounds(deployed, looser), *cost, *_explanations(deployed, contenders, runner_up))


def _on_bounds(deployed: Deployment, looser: Relaxed | None) -> Iterator[str]:
    if looser is not None and not looser.bound:
        yield (
            "nothing useful keeps the margin below the bounds, so that the choice went up to them: "
            "they may be missed on other edits and texts"
        )
    if looser is not None and looser.bound and not deployed.violated:
        yield (
            f"on the texts that choose nothing useful keeps the bound on perplexity, so the choice "
            f"was made within {looser.bound}; on the texts that report it is kept all the same"
        )
    fit = next((point for point in deployed.fits if _is_of(point, deployed)), None)
    if deployed.violated and fit is not None and not fit.violated:
        yield (
            f"the recipe kept its bounds on the texts that choose (perplexity x "
            f"{fit.perplexity_ratio:.3f}); those that report are others"
        )


def _cost_of_bound(deployed: Deployment, points: Sequence[BoundPoint]) -> Iterator[str]:
    """What the bound on perplexity keeps from being learned, by the most beyond it."""
    # Where no trial kept a bound there is no reliability, and nothing is greater than a NaN.
    there = [point for point in points if point.location is not None]
    best = max(there, key=lambda point: (point.reliability, -point.limit), default=None)
    if best is None:
        return
    reliability = named(deployed.measures, "reliability")
    # `cost_of_bound` gives points only where reliability was measured.
    assert reliability is not None
    yield (
        f"the bound on perplexity holds reliability at {reliability.value:.2f}: within "
        f"{best.limit:g} {best.location} had {best.reliability:.2f} of the edits of S and V"
    )


def _is_of(fit: FitPoint, deployed: Deployment) -> bool:
    mine = (deployed.location, deployed.recipe.lr, deployed.recipe.batch)
    return (fit.location, fit.lr, fit.batch) == mine


def _explanations(
    deployed: Deployment, contenders: Sequence[Contender], runner_up: Margin | None
) -> Iterator[str]:
    best = contenders[0]
    if deployed.edits < deployed.given:
        yield (
            f"the recipe is fitted to {deployed.edits:,} of {deployed.given:,} edits: more at once "
            f"learn and lose other amounts; give --deploy {deployed.given} to fit it to all"
        )
    if _is_locality_lent(deployed, best):
        yield (
            "held out, the score holds locality too, by prompts of edits that are not tuned there: "
            f"the {deployed.edits:,} edits have no neighbours of their own to judge it by"
        )
    elif abs(deployed.score - best.score) > APART:
        yield (
            f"score {deployed.score:.3f} on {deployed.edits:,} edits and {best.score:.3f} held "
            f"out, on {best.edits} at a time: how many edits are tuned at once changes what a "
            f"location holds{_other_recipe(deployed, best)}"
        )
    if best.violated and not deployed.violated:
        yield (
            f"held out, {best.edits} edits at a time, it misses {'; '.join(best.violated)}: the "
            f"recipe for {deployed.edits:,} edits was fitted within the bounds, that for the "
            "smaller count was chosen on S"
        )
    if deployed.violated and not best.violated:
        yield (
            f"held out, {best.edits} edits at a time, it keeps all bounds: more is lost with "
            f"{deployed.edits:,} edits"
        )
    if runner_up is not None and runner_up.high < 0:
        yield (
            f"{runner_up.location} is ahead on T by {-runner_up.value:.3f}: the choice rests on S "
            "and V, and what is reported on never chooses"
        )


def _is_locality_lent(deployed: Deployment, best: Contender) -> bool:
    """Whether locality was measured held out alone, where other edits lend their prompts."""
    here, there = (named(shown.measures, "locality") for shown in (deployed, best))
    return not (here is None or there is None) and isnan(here.value) and not isnan(there.value)


def _other_recipe(deployed: Deployment, best: Contender) -> str:
    fitted, chosen = deployed.recipe, best.recipe
    if (fitted.lr, fitted.batch) == (chosen.lr, chosen.batch):
        return ""
    return (
        f"; recipes differ too (learning rate {fitted.lr:g} and {chosen.lr:g}, batch "
        f"{fitted.batch} and {chosen.batch})"
    )


def _location(deployed: Deployment) -> str:
    recipe = deployed.recipe
    how = f"batch {recipe.batch}, at most {recipe.epochs} epochs"
    return f"{deployed.location} at learning rate {recipe.lr:g} ({how})"


def _edits(deployed: Deployment) -> str:
    all_of_them = deployed.edits == deployed.given
    if all_of_them:
        return f"all {deployed.edits:,} edits"
    return f"{deployed.edits:,} of {deployed.given:,} edits"


def _result(measures: Sequence[Measure]) -> str:
    names = [*EFFICACY, "retention"]
    measured = [(name, named(measures, name)) for name in names]
    shares = [f"{n} {m.value:.1%}" for n, m in measured if m is not None and not isnan(m.value)]
    ratio = named(measures, "perplexity_ratio")
    if ratio is not None and not isnan(ratio.value):
        shares.append(f"perplexity x {ratio.value:.3f}")
    return ", ".join(shares) or "nothing measured"


def _held_out(best: Contender) -> str:
    score = "not measured" if isnan(best.score) else f"{best.score:.3f}"
    interval = "" if isnan(best.low) else f" (95 % {best.low:.3f} to {best.high:.3f})"
    return f"score {score}{interval} on {best.edits} edits at a time"


def _beside(contenders: Sequence[Contender], margin: Margin | None) -> str:
    if margin is None:
        return ""
    best = contenders[0]
    second = next((contender for contender in contenders if contender.role == margin.over), None)
    bounds = f", 95 % {margin.low:+.3f} to {margin.high:+.3f}"
    value = f"{margin.value:+.3f}{', no interval' if isnan(margin.low) else bounds}"
    # Where both miss a bound, the runner-up's miss tells nothing apart.
    misses = second.violated if second is not None and not best.violated else ()
    beyond = f", which misses a bound ({'; '.join(misses)})" if misses else ""
    return f", {_against(margin)} the runner-up {margin.location} ({value}){beyond}"


def _against(margin: Margin) -> str:
    if isnan(margin.low):
        return "not told apart from"
    if overlaps_zero(Interval(margin.value, margin.low, margin.high, 0)):
        return "a tie with"
    return "ahead of" if margin.value > 0 else "behind"
