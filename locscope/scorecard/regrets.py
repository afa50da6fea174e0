"""What one loses by tuning where a scan says: regret of its first places, in score."""

import numpy as np
from numpy.typing import NDArray

from locscope.scoring.ranks import mean_ranks

Values = NDArray[np.float64]
TOPS = (1, 3, 5)
_ORDERS = 500


def regrets(scores: Values, worth: Values, best: Values, seed: int) -> Values:
    """What the best of a scan's first 1, 3 and 5 places lacks to the best of all, (draws, 3).

    `scores` and `worth` have a row a draw of edits and a column a place that the scan sees, `best`
    is of all places. Places scored alike come in random order: one in each draw, and the mean over
    many in the first row, which is as measured. NaN where no place is worth anything.
    """
    rng = np.random.default_rng(seed)
    found = _lacks(scores, worth, best, rng)
    again, theirs = (np.repeat(values[:1], _ORDERS, 0) for values in (scores, worth))
    found[0] = _lacks(again, theirs, best[:1], rng).mean(0)
    return found


def random_regrets(worth: Values, orders: int, seed: int) -> Values:
    """The same of random orders, shape (orders, 3); `worth` is of all places."""
    rng = np.random.default_rng(seed)
    return _lacks(
        rng.random((orders, len(worth))),
        np.repeat(worth[None], orders, 0),
        np.full(orders, worth.max()),
        rng,
    )


def _lacks(scores: Values, worth: Values, best: Values, rng: np.random.Generator) -> Values:
    keys = mean_ranks(scores) + 0.4 * rng.random(scores.shape)
    order = np.argsort(-keys, axis=1)[:, : max(TOPS)]
    taken = np.maximum.accumulate(np.take_along_axis(worth, order, 1), axis=1)
    found = best[:, None] - taken[:, [min(top, order.shape[1]) - 1 for top in TOPS]]
    found[np.isnan(scores).any(1) | ~(best > 0)] = np.nan
    return found
