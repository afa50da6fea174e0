"""Scans that every other scan must beat: a rule of depth alone, and random numbers."""

from random import Random

from locscope.locations import paper_location
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext


def depth_rule(context: ScanContext) -> Findings:
    """The nearness of every layer to the depth at which LocFT-BF (arXiv 2509.22072) tuned.

    1 at the rule's layer, and less by the distance in shares of the model's depth. The paper names
    a part of the layer for its own models only, so here all parts of a layer score alike.
    """
    info = context.loaded.info
    rule = paper_location(info.family, info.layers)
    scores = tuple(
        ScanScore("nearness", at.layer, at.part, 1 - abs(at.layer - rule.lowest) / info.layers)
        for at in info.grid
    )
    notes = ("the rule tells layers: all parts of one score alike, so that ranks among them tie",)
    return Findings(scores, len(context.edits), settings=f"{rule}, by relative depth", notes=notes)


def random(context: ScanContext) -> Findings:
    """A number drawn uniformly from 0 to 1 for every location, from the seed and its name."""
    # One generator per location: a number does not depend on which other locations there are.
    scores = tuple(
        ScanScore("uniform", at.layer, at.part, Random(f"{context.seed} {at.location}").random())
        for at in context.loaded.info.grid
    )
    return Findings(scores, len(context.edits), settings="no look at the model")
