"""The verdict on a scan in one sentence: predicts here, does not, cannot tell."""

from dataclasses import dataclass
from math import isnan

from locscope.records.outcome import AS_DEPTH, CANNOT_TELL, DOES_NOT, PREDICTS
from locscope.scoring.statistics import Interval

LEVEL = 0.05
"""P-values after Holm's correction must stay below."""
USEFUL = 0.3
"""A correlation below explains less than a tenth of the order: no help in choosing a location."""
ADDS = 0.02
"""A smaller share of the order beyond depth is nothing to go by."""
FEWEST = 8
"""Locations to compare, below which nothing is said."""
WRONG_WAY = "points the wrong way"


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; p-values are corrected, intervals are over groups of edits.

    `chance` is what random orders stay below, on either side of zero, in 95 % of families of as
    many scans; `outcome_reliability` how well the outcome's order agrees with itself on other
    edits.
    """

    count: int
    within: Interval
    added: Interval
    p_within: float
    p_added: float
    chance: float
    outcome_reliability: float

    @property
    def ceiling(self) -> float:
        """The highest correlation that edits and locations leave possible, noise of the outcome
        out.

        NaN where there is no interval over edits.
        """
        by_edits = (
            self.within.high / self.outcome_reliability if self.outcome_reliability > 0 else 1.0
        )
        if isnan(by_edits):
            return float("nan")
        return min(1.0, max(by_edits, self.within.value + self.chance))


@dataclass(frozen=True)
class Judgement:
    """A verdict, and why."""

    verdict: str
    sentence: str


def judge(found: Evidence) -> Judgement:
    """What the evidence allows to say."""
    if found.count < FEWEST:
        return _unknown(f"only {found.count} of its locations can be compared within their part")
    if isnan(found.outcome_reliability):
        return _unknown(
            "too few groups of edits, or tuning showed no differences between locations"
        )
    if isnan(found.within.value):
        return Judgement(DOES_NOT, f"{DOES_NOT}: within a part it scores all locations alike")
    if found.p_within < LEVEL and found.within.low > 0:
        return _positive(found)
    if found.ceiling < USEFUL or _opposed(found):
        return Judgement(DOES_NOT, f"{DOES_NOT}: {_negative(found)}")
    return _unknown(_doubt(found))


def claims(verdict: str, sentence: str) -> bool:
    """Whether it is said that a scan has to do with the outcome, in either direction."""
    return verdict in (PREDICTS, AS_DEPTH) or WRONG_WAY in sentence


def _positive(found: Evidence) -> Judgement:
    order = f"{_within(found)} within a part"
    if found.p_added < LEVEL and found.added.low > 0 and found.added.value >= ADDS:
        beyond = f"{_share(found.added)} of that order is beyond depth"
        return Judgement(PREDICTS, f"{PREDICTS}: {order}, and {beyond}")
    if isnan(found.added.value):
        return Judgement(AS_DEPTH, f"{AS_DEPTH}: {order}, and its order is that of depth itself")
    beyond = f"beyond depth {_share(found.added)}, nothing to go by"
    return Judgement(AS_DEPTH, f"{AS_DEPTH}: {order}, {beyond}")


def _opposed(found: Evidence) -> bool:
    return found.p_within < LEVEL and found.within.high < 0


def _negative(found: Evidence) -> str:
    if _opposed(found):
        return f"{_within(found)} within a part, it {WRONG_WAY}"
    return f"{_within(found)} within a part, at most {found.ceiling:.2f} with all doubt in favour"


def _doubt(found: Evidence) -> str:
    if found.outcome_reliability < USEFUL:
        return f"the outcome agrees only {found.outcome_reliability:.2f} with itself on other edits"
    if found.p_within < LEVEL:
        return f"{_within(found)} within a part, which does not hold on other edits"
    so_far = f"the best of so many random scans may reach {found.chance:.2f}"
    return f"{_within(found)} within a part, and on {found.count} locations {so_far}"


def _unknown(why: str) -> Judgement:
    return Judgement(CANNOT_TELL, f"{CANNOT_TELL}: {why}")


def _within(found: Evidence) -> str:
    return f"orders locations with {_share(found.within)}"


def _share(one: Interval) -> str:
    bounds = "" if isnan(one.low) else f" [{one.low:.2f}, {one.high:.2f}]"
    return f"{one.value:.2f}{bounds}"
