"""How candidates are gone through: a table, one file each.

A strategy is a pure function from what can be tried and the trials so far to the trials wanted
next; none wanted ends it. So a search that was killed goes on from its records, and two that saw
the same trials go the same way.
"""

from collections.abc import Callable, Sequence

from locscope.errors import unknown
from locscope.plugins import function_of
from locscope.records import Descriptor, TrialRecord
from locscope.selection.space import Space, TrialRequest

Strategy = Callable[[Space, Sequence[TrialRecord]], tuple[TrialRequest, ...]]


def _entry(name: str, title: str, note: str, source: str = "locscope") -> Descriptor:
    module = name.replace("-", "_")
    return Descriptor(name, title, note, source, f"locscope.selection.strategies.{module}:ask")


STRATEGIES: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        _entry(
            "race",
            "Race",
            "every candidate gets a quick evaluation, survivors more, a few a full run (default)",
            "locscope, after successive halving (arXiv 1603.06560) and F-Race (Birattari 2002)",
        ),
        _entry(
            "sweep",
            "Sweep",
            "every candidate at every rate, in full",
            "LocFT-BF (arXiv 2509.22072), section 3, with rates",
        ),
        _entry(
            "tree",
            "Tree",
            "coarse to fine, in full: ranges of layers, then parts, then layers of the best",
            "CoFiTune (arXiv 2404.10306)",
        ),
        _entry(
            "tpe",
            "TPE",
            "a tree-structured Parzen estimator over layer, part and rate, in full",
            "Optuna (arXiv 1907.10902)",
        ),
        _entry("random", "Random", "candidates in a drawn order, in full: a control"),
        _entry(
            "depth-rule",
            "Depth rule",
            "only the paper's location by relative depth, over its rates: a control",
            "LocFT-BF (arXiv 2509.22072), proportional transfer",
        ),
    )
}


def strategy(name: str) -> Strategy:
    """The function of that entry, imported now."""
    if name not in STRATEGIES:
        raise unknown("strategy", name, STRATEGIES)
    return function_of(STRATEGIES[name].function)
