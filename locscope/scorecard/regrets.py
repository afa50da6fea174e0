"""What one loses by tuning where a scan says: regret of its first locations, in score."""

import numpy as np
from numpy.typing import NDArray

from locscope.scoring.ranks import mean_ranks

Values = NDArray[np.float64]
TOPS = (1, 3, 5)
_ORDERS = 500


def regrets(scores: Values, utility: Values, best: Values, seed: int) -> Values:
    """What the best of a scan's first 1, 3 and 5 locations lacks to the best of all, (draws, 3).

    `scores` and `utility` have a row a draw of edits and a column a location that the scan sees,
    `best` is of all locations. Locations scored alike come in random order: one in each draw, and
    the mean over many in the first row, which is as measured. NaN where no location is worth
    anything.
    """
    rng = np.random.default_rng(seed)
    regret = _lacks(scores, utility, best, rng)
    # The first row is shown as the value, so it must not hang on one draw of ties.
    again, theirs = (np.repeat(values[:1], _ORDERS, 0) for values in (scores, utility))
    regret[0] = _lacks(again, theirs, best[:1], rng).mean(0)
    return regret


def random_regrets(utility: Values, orders: int, seed: int) -> Values:
    """The same of random orders, shape (orders, 3); `utility` is of all locations."""
    rng = np.random.default_rng(seed)
    return _lacks(
        rng.random((orders, len(utility))),
        np.repeat(utility[None], orders, 0),
        np.full(orders, utility.max()),
        rng,
    )


def _lacks(scores: Values, utility: Values, best: Values, rng: np.random.Generator) -> Values:
    # Ranks of different scores are 1 or more apart, so that noise of 0.4 decides ties alone.
    keys = mean_ranks(scores) + 0.4 * rng.random(scores.shape)
    order = np.argsort(-keys, axis=1)[:, : max(TOPS)]
    taken = np.maximum.accumulate(np.take_along_axis(utility, order, 1), axis=1)
    lacks = best[:, None] - taken[:, [min(top, order.shape[1]) - 1 for top in TOPS]]
    lacks[np.isnan(scores).any(1) | ~(best > 0)] = np.nan
    return lacks
