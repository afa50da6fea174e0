"""When a trial is given up: the model is so far beyond the bounds that it does not come back."""

from collections.abc import Callable
from math import inf, isnan, log

from locscope.evaluation.drift import mean_loss
from locscope.evaluation.suite import QUICK_TEXTS, EvalSuite
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Epoch, Recipe
from locscope.scoring.bounds import ratio_limit
from locscope.scoring.objectives import Objective

FAR = 5.0
"""Times the nats that the bound on the perplexity ratio allows: trials that kept it in the end
never came near (`reports/LOG.md`)."""
SHOWN = 1.3
"""A perplexity ratio below which no trial is given up: up to it the report shows what looser bounds
would give."""
RUINED = 10.0
"""A perplexity ratio at which nothing is kept any more: the limit for an objective that scores what
is kept and has no bound on the ratio."""
CollapseCheck = Callable[[], bool]
"""Whether to give up, asked every few epochs."""


def never() -> bool:
    """Go on to the end."""
    return False


def quick_loss(suite: EvalSuite, prefix_cache: PrefixCache) -> float:
    """Nats a token of the model, as it is now, on some of the neutral texts; NaN without any."""
    # The half for choosing: to give a trial up is a choice, and what is reported on makes none.
    rows = suite.neutral.half(suite.texts_for(choosing=True)).first(QUICK_TEXTS)
    return mean_loss(prefix_cache, rows.texts)


def watch(
    suite: EvalSuite, prefix_cache: PrefixCache, objective: Objective, before: float
) -> CollapseCheck:
    """Gives up where the quick neutral texts show that the model has collapsed.

    `before` is the untouched model's `quick_loss`. It never gives up where there are no texts, or
    where the objective bounds no collapse or trades it for efficacy.
    """
    far = _far(objective)
    if objective.knee or far == inf or isnan(before):
        return never
    # `not <=`, so that a NaN gives up too: no later step makes it a number again.
    return lambda: not quick_loss(suite, prefix_cache) - before <= far


def _far(objective: Objective) -> float:
    """Nats a token above the untouched model beyond which a trial is given up."""
    limit = ratio_limit(objective.bounds)
    if not isnan(limit):
        return max(FAR * log(max(limit, 1.0)), log(SHOWN))
    return log(RUINED) if "perplexity_ratio" in objective.kept else inf


def status_of(recipe: Recipe, epochs: tuple[Epoch, ...]) -> str:
    """`done`, or after how many epochs a trial was given up."""
    ran, whole = len(epochs), recipe.order == "depth-first" or len(epochs) == recipe.epochs
    if whole or epochs[-1].loss < recipe.stop_below:
        return "done"
    return f"given up after {ran} of {recipe.epochs} epochs"
