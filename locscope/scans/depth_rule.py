"""The paper's proportional depth: how near each layer is to where LocFT-BF tuned another model."""

from locscope.locations import paper_location
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext


def scan(context: ScanContext) -> Findings:
    """1 at the rule's layer, and less by the distance in shares of the model's depth.

    The rule's part is the paper's finding on its models; here all parts of a layer score alike.
    """
    info = context.loaded.info
    rule = paper_location(info.family, info.layers)
    scores = tuple(
        ScanScore("nearness", at.layer, at.part, 1 - abs(at.layer - rule.lowest) / info.layers)
        for at in info.grid
    )
    notes = ("the rule tells layers: all parts of one score alike, so that ranks among them tie",)
    return Findings(scores, len(context.edits), settings=f"{rule}, by relative depth", notes=notes)
