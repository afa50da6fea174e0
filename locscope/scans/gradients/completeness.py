"""Completeness gap: how far integrated gradients miss the effect that they attribute.

Integrated over the whole path, attributions sum to the change between its ends (completeness;
Sundararajan, Taly and Yan, arXiv 1703.01365, section 3). With a few steps they need not: five may
miss half of it. Both are measured, and the gap between them is part of the result.
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
"""Above this gap the note advises more steps."""


def completeness_gap(
    context: ScanContext,
    used: Sequence[str],
    sums: Float[Tensor, "used paths"],
    effects: Float[Tensor, "used paths"],
) -> ScanTotal:
    """|sum of attributions - true effect| over |true effect|, of all requests and paths together.

    Both are in the unit of the scan's metric. A request may have several paths (one per layer).
    Values are those of the single requests.
    """
    missed = (sums - effects).abs().double().sum(1).cpu().numpy()
    size = effects.abs().double().sum(1).cpu().numpy()
    each = np.divide(missed, size, out=np.full(len(size), nan), where=size > 0)
    by_edit = dict(zip(used, each.tolist(), strict=True))
    gap = _over_groups(context, used, missed, size)
    values = tuple(by_edit.get(edit, nan) for edit in context.edits)
    return ScanTotal(NAME, gap.value, gap.low, gap.high, len(used), values)


def _over_groups(
    context: ScanContext, used: Sequence[str], missed: np.ndarray, size: np.ndarray
) -> Interval:
    """The ratio of totals with a bootstrap interval over groups of edits."""
    if not size.any():
        return Interval(nan, nan, nan, len(used))
    # Resampled are groups, as edits of one group depend on each other; an edit of none is its own.
    group = {edit: members[0] for members in context.groups for edit in members}
    names, index = np.unique([group.get(edit, edit) for edit in used], return_inverse=True)
    totals = [np.bincount(index, column, len(names)) for column in (missed, size)]
    return ratio_interval(*totals, seed=context.seed)


def gap_note(gap: ScanTotal, steps: int, what: str) -> str:
    """The gap in words; attributed is the effect of `what`."""
    if isnan(gap.value):
        return f"{NAME} not measured: {what} has no effect"
    bounds = "" if isnan(gap.low) else f" ({gap.low:.1%} to {gap.high:.1%})"
    more = f"; try --steps {4 * steps}" if gap.value > LARGE else ""
    return (
        f"{NAME} {gap.value:.1%}{bounds}: by so much of the true effect of {what} do attributions "
        f"of {steps} steps miss it, over {gap.count} facts{more}"
    )
