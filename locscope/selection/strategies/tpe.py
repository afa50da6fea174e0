"""TPE: Optuna's tree-structured Parzen estimator over layers, part and rate, in full.

The study lives in memory and is told the trials so far each time; the sampler is seeded from the
search's seed and their number, so what it asks for next is a function of them alone.
"""

from collections.abc import Sequence
from typing import Any

from locscope.errors import UsageError
from locscope.records import TrialRecord
from locscope.selection.candidates import Candidate
from locscope.selection.choice import ranked
from locscope.selection.rates import drawing, rates_within
from locscope.selection.space import FULL, Space, TrialRequest, at_rung

UNLIMITED = 30
"""Trials where no budget is set."""
RETRIES = 50
"""Draws until one that was not tried yet; then the search ends."""


def ask(space: Space, records: Sequence[TrialRecord]) -> tuple[TrialRequest, ...]:
    """The sampler's next trial, until a quarter of the budget is left for the rates of the best."""
    done = at_rung(records, FULL)
    goes_on = len(done) < UNLIMITED if space.budget is None else drawing(space, done)
    wanted = _sampled(space, done) if goes_on else None
    return rates_within(space, done) if wanted is None else (wanted,)


def _sampled(space: Space, done: Sequence[TrialRecord]) -> TrialRequest | None:
    """What the sampler wants that was not tried yet; None where it draws known ones only."""
    tried = {(record.trial.location, record.trial.recipe.lr) for record in done}
    study = _study(space, done)
    for _ in range(RETRIES):
        drawn = study.ask(_axes(space))
        candidate = _nearest(space, drawn.params["kind"], drawn.params["depth"])
        rate = sorted(candidate.rates)[drawn.params["step"]]
        if (candidate.location, rate) not in tried:
            return TrialRequest(candidate.location, rate, space.full)
    return None


def _study(space: Space, done: Sequence[TrialRecord]) -> Any:
    """A study that has seen the trials.

    Values are locations in the ranking: they hold for every objective, bounds included, and the
    sampler goes by their order alone.
    """
    optuna = _optuna()
    sampler = optuna.samplers.TPESampler(seed=space.seed * 100_003 + len(done), multivariate=True)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    order = {record.trial.id: i for i, record in enumerate(ranked(done, space.objective))}
    for record in done:
        candidate = space.of(record.trial.location)
        # A rate that was added to a grid is on no axis of the study.
        if record.trial.recipe.lr in candidate.rates:
            seen = {
                "kind": _kind(candidate),
                "depth": _depth(candidate),
                "step": sorted(candidate.rates).index(record.trial.recipe.lr),
            }
            value = float(order[record.trial.id])
            made = optuna.trial.create_trial(params=seen, distributions=_axes(space), value=value)
            study.add_trial(made)
    return study


def _axes(space: Space) -> dict[str, Any]:
    found = _optuna().distributions
    depths = [_depth(candidate) for candidate in space.candidates]
    return {
        "kind": found.CategoricalDistribution(
            sorted({_kind(candidate) for candidate in space.candidates})
        ),
        "depth": found.FloatDistribution(min(depths), max(depths)),
        "step": found.IntDistribution(0, 2),
    }


def _nearest(space: Space, kind: str, depth: float) -> Candidate:
    some = [candidate for candidate in space.candidates if _kind(candidate) == kind]
    return min(some, key=lambda candidate: (abs(_depth(candidate) - depth), candidate.location))


def _depth(candidate: Candidate) -> float:
    """The middle layer of its sites."""
    sites = candidate.location.sites
    return sum(site.first + site.last for site in sites) / (2 * len(sites))


def _kind(candidate: Candidate) -> str:
    """Its part, and of how many layers; of heads, and of what is joined, each is a kind alone."""
    sites = candidate.location.sites
    if len(sites) != 1 or sites[0].head is not None:
        return str(candidate.location)
    return f"{candidate.part} of {sum(site.last - site.first + 1 for site in sites)}"


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UsageError("strategy tpe needs Optuna: pip install 'locscope[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
