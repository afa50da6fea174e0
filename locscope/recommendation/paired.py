"""Two locations tuned and judged on the same edits: how far their scores are apart."""

from collections.abc import Collection, Sequence
from math import isnan, nan

import numpy as np

from locscope.records import TrialRecord
from locscope.scoring.objectives import Objective
from locscope.scoring.repetitions import repeated, shared_edits
from locscope.scoring.statistics import Interval, paired_margin

Groups = tuple[tuple[str, ...], ...]
"""Ids of edits that belong together."""


def paired(
    first: Sequence[TrialRecord],
    other: Sequence[TrialRecord],
    objective: Objective,
    groups: Groups,
    seed: int = 0,
) -> Interval:
    """How much more the first trials score than the others, each pair on the same edits.

    Paired by edit where the score is a mean over edits; else by trial, of which there are few, so
    that the interval is wide. `groups` hold all edits of the trials.
    """
    if objective.kept:
        # Both were tuned on the same subset in turn: its luck cancels.
        pairs = zip(first, other, strict=True)
        return repeated([mine.score - its.score for mine, its in pairs], shared_by(first))
    return paired_margin(
        per_edit(groups, first, objective.weights),
        per_edit(groups, other, objective.weights),
        rows(groups),
        tuple(objective.weights.values()),
        seed=seed,
    )


def shared_by(records: Sequence[TrialRecord]) -> float:
    """The share of edits that two of the trials have in common."""
    return shared_edits([record.trial.edits for record in records])


def per_edit(groups: Groups, records: Sequence[TrialRecord], terms: Collection[str]) -> np.ndarray:
    """Means over the trials, shape (edits, terms); NaN for edits and terms not measured."""
    # Groups lie together, so that `rows` can name them by ranges.
    row = {edit: i for i, edit in enumerate(edit for group in groups for edit in group)}
    sums, counts = np.zeros((len(row), len(terms))), np.zeros((len(row), len(terms)))
    for outcome in (outcome for record in records for outcome in record.outcomes):
        for column, term in enumerate(terms):
            value = getattr(outcome, term)
            if not isnan(value):
                sums[row[outcome.edit], column] += value
                counts[row[outcome.edit], column] += 1
    return np.divide(sums, counts, out=np.full_like(sums, nan), where=counts > 0)


def rows(groups: Groups) -> list[range]:
    """Rows of `per_edit` that belong together."""
    ends = np.cumsum([len(group) for group in groups])
    return [range(int(end) - len(group), int(end)) for end, group in zip(ends, groups, strict=True)]
