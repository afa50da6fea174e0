"""When a trial is given up: the model has left the bounds so far behind that it will not return."""

from collections.abc import Callable
from math import inf, isnan, log

from locscope.evaluation.drift import mean_loss
from locscope.evaluation.suite import GLANCE_TEXTS, Exam
from locscope.forward.prefix_cache import Trunk
from locscope.records import Epoch, Recipe
from locscope.scoring.bounds import ratio_limit
from locscope.scoring.objectives import Objective

FAR = 5.0
"""Times what the bound on the perplexity ratio allows, in nats: trials that kept it in the end
never were near (`reports/LOG.md`)."""
SHOWN = 1.3
"""A perplexity ratio below which no trial is given up: so far the report says what looser bounds
would give."""
RUINED = 10.0
"""A perplexity ratio that nothing was kept at, for an objective that has no bound on it but goes by
what is kept."""
Lost = Callable[[], bool]
"""Whether to give up, asked every few epochs."""


def never() -> bool:
    """Go on to the end."""
    return False


def glance_loss(exam: Exam, trunk: Trunk) -> float:
    """Nats a token of the model, as it is now, on some of the neutral texts; NaN without any."""
    rows = exam.neutral.half(exam.texts_for(choosing=True)).first(GLANCE_TEXTS)
    return mean_loss(trunk, rows.texts)


def watch(exam: Exam, trunk: Trunk, aim: Objective, before: float) -> Lost:
    """Gives up where some of the neutral texts show that the model has plainly collapsed.

    `before` is the untouched model's `glance_loss`. Never where there are no texts, or the
    objective bounds no collapse or trades it for efficacy: there it is wanted.
    """
    far = _far(aim)
    if aim.knee or far == inf or isnan(before):
        return never
    # A loss that is no number is none to return from.
    return lambda: not glance_loss(exam, trunk) - before <= far


def _far(aim: Objective) -> float:
    """Nats a token above the untouched model from which none returns."""
    limit = ratio_limit(aim.bounds)
    if not isnan(limit):
        return max(FAR * log(max(limit, 1.0)), log(SHOWN))
    return log(RUINED) if "perplexity_ratio" in aim.kept else inf


def status_of(recipe: Recipe, epochs: tuple[Epoch, ...]) -> str:
    """`done`, or after how many epochs a trial was given up."""
    ran, whole = len(epochs), recipe.order == "depth-first" or len(epochs) == recipe.epochs
    if whole or epochs[-1].loss < recipe.stop_below:
        return "done"
    return f"given up after {ran} of {recipe.epochs} epochs"
