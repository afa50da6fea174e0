"""How far integrated gradients miss what they take apart.

Integrated along the whole way, attributions sum up to the change from one end of it to the other
(completeness; Sundararajan, Taly and Yan, arXiv 1703.01365, section 3). With a few steps they need
not: five may miss half of it. Both are measured, and the gap between them is part of the result.
"""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
from jaxtyping import Float
from torch import Tensor

from locscope.records import ScanTotal
from locscope.scans.context import ScanContext
from locscope.scoring.statistics import Interval, ratio_interval

NAME = "completeness gap"
LARGE = 0.1
"""A gap above asks for more steps."""


def completeness_gap(
    context: ScanContext,
    used: Sequence[str],
    sums: Float[Tensor, "used ways"],
    effects: Float[Tensor, "used ways"],
) -> ScanTotal:
    """|sum of attributions - true effect| over |true effect|, of all requests and ways together.

    Both in the unit of the scan's metric; a request may be taken apart in several ways (layer by
    layer), each of which has a gap. Values are those of the single requests.
    """
    missed = (sums - effects).abs().double().sum(1).cpu().numpy()
    size = effects.abs().double().sum(1).cpu().numpy()
    each = np.divide(missed, size, out=np.full(len(size), nan), where=size > 0)
    found = dict(zip(used, each.tolist(), strict=True))
    one = _over_groups(context, used, missed, size)
    values = tuple(found.get(edit, nan) for edit in context.edits)
    return ScanTotal(NAME, one.value, one.low, one.high, len(used), values)


def _over_groups(
    context: ScanContext, used: Sequence[str], missed: np.ndarray, size: np.ndarray
) -> Interval:
    """The ratio of totals with a bootstrap interval over groups of edits."""
    if not size.any():
        return Interval(nan, nan, nan, len(used))
    group = {edit: members[0] for members in context.groups for edit in members}
    names, index = np.unique([group.get(edit, edit) for edit in used], return_inverse=True)
    totals = [np.bincount(index, column, len(names)) for column in (missed, size)]
    return ratio_interval(*totals, seed=context.seed)


def told(gap: ScanTotal, steps: int, what: str) -> str:
    """The gap in words: `what` is taken apart."""
    if isnan(gap.value):
        return f"{NAME} not measured: {what} has no effect"
    bounds = "" if isnan(gap.low) else f" ({gap.low:.1%} to {gap.high:.1%})"
    more = f"; try --steps {4 * steps}" if gap.value > LARGE else ""
    return (
        f"{NAME} {gap.value:.1%}{bounds}: by so much of the true effect of {what} do attributions "
        f"of {steps} steps miss it, over {gap.count} facts{more}"
    )
