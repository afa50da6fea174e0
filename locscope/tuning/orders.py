"""The orders in which edits can be tuned: a table, one file each."""

from collections.abc import Callable

from locscope.errors import unknown
from locscope.forward.prefix_cache import PrefixCache
from locscope.records import Epoch, Recipe
from locscope.tuning import breadth_first, depth_first
from locscope.tuning.collapse import CollapseCheck
from locscope.tuning.master_weights import MasterWeights

Tune = Callable[
    [PrefixCache, MasterWeights, tuple[int, ...], Recipe, int, CollapseCheck], tuple[Epoch, ...]
]

ORDERS: dict[str, Tune] = {
    "breadth-first": breadth_first.tune,
    "depth-first": depth_first.tune,
}


def order_of(recipe: Recipe) -> Tune:
    """The tuner of a recipe."""
    if recipe.order not in ORDERS:
        raise unknown("order", recipe.order, ORDERS)
    return ORDERS[recipe.order]
