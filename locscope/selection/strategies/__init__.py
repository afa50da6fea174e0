"""How candidates are gone through: a table.

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


def _entry(function: str, title: str, note: str, source: str = "locscope") -> Descriptor:
    """The entry of `module:function`; a strategy has the name of its function, or of the module
    where that is `ask`."""
    module, _, own = function.partition(":")
    name = (module if own == "ask" else own).replace("_", "-")
    return Descriptor(name, title, note, source, f"locscope.selection.strategies.{function}")


STRATEGIES: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        _entry(
            "race:ask",
            "Race",
            "every candidate gets a quick evaluation, survivors more, a few a full run (default)",
            "locscope, after successive halving (arXiv 1603.06560) and F-Race (Birattari 2002)",
        ),
        _entry(
            "baselines:sweep",
            "Sweep",
            "every candidate at every rate, in full",
            "LocFT-BF (arXiv 2509.22072), section 3, with rates",
        ),
        _entry(
            "tree:ask",
            "Tree",
            "coarse to fine, in full: ranges of layers, then parts, then layers of the best",
            "CoFiTune (arXiv 2404.10306)",
        ),
        _entry(
            "tpe:ask",
            "TPE",
            "a tree-structured Parzen estimator over layer, part and rate, in full",
            "Optuna (arXiv 1907.10902)",
        ),
        _entry("baselines:random", "Random", "candidates in a drawn order, in full: a control"),
        _entry(
            "baselines:depth_rule",
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
