"""Scans that every other scan must beat: a rule of depth alone, and random numbers."""

from collections.abc import Callable
from random import Random

from locscope.locations import paper_location
from locscope.records import LayerPart, ScanScore
from locscope.scans.context import Findings, ScanContext


def depth_rule(context: ScanContext) -> Findings:
    """The nearness of every layer to the depth at which LocFT-BF (arXiv 2509.22072) tuned.

    1 at the rule's layer, and less by the distance in shares of the model's depth.
    """
    info = context.loaded.info
    rule = paper_location(info.family, info.layers)

    def nearness(part: LayerPart) -> float:
        return 1 - abs(part.layer - rule.lowest) / info.layers

    # The paper names a part of the layer, too, but found it on its own models only.
    notes = ("the rule tells layers: all parts of one score alike, so that ranks among them tie",)
    scores = _scores(context, "nearness", nearness)
    return Findings(scores, len(context.edits), settings=f"{rule}, by relative depth", notes=notes)


def random(context: ScanContext) -> Findings:
    """A number drawn uniformly from 0 to 1 for every location, from the seed and its name."""

    def number(part: LayerPart) -> float:
        # One generator per location: no number depends on which other locations there are.
        return Random(f"{context.seed} {part.location}").random()

    scores = _scores(context, "uniform", number)
    return Findings(scores, len(context.edits), settings="no look at the model")


def _scores(
    context: ScanContext, variant: str, score: Callable[[LayerPart], float]
) -> tuple[ScanScore, ...]:
    grid = context.loaded.info.grid
    return tuple(ScanScore(variant, part.layer, part.part, score(part)) for part in grid)
