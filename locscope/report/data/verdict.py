"""What a run's report says at its top: met, tie, missed or nothing; and the margins."""

from dataclasses import dataclass
from math import isnan, nan

from locscope.records import Recommendation
from locscope.report.data import words
from locscope.report.data.inputs import ReportInputs

LOW = 0.5
"""Below this share a term of the score is named beside the verdict."""


@dataclass(frozen=True)
class Verdict:
    """The recommendation in one sentence, and in few words whether it holds.

    Its kind is `missed` where a bound is, `tie` where there is a doubt (the runner-up or a random
    location did as well held out, or a term of the score is low), else `met`; `none` where nothing
    is recommended. A run of scans recommends nothing: its kind is `scans`, and it has no badge.
    """

    kind: str
    badge: str
    sentence: str


def verdict_of(inputs: ReportInputs) -> Verdict:
    """What the top of the page says: met, tie, missed, nothing, or which scans these are."""
    recommendation = inputs.recommendation
    if inputs.only_scans:
        return Verdict("scans", "", scans_sentence(inputs))
    if recommendation is None or not recommendation.contenders:
        sentence = f"No location is recommended (status of the run: {inputs.run.status})."
        return Verdict("none", "No recommendation", sentence)
    if not recommendation.met:
        # A record may say that a bound is missed and not which.
        missed = "; ".join(map(words.in_words, recommendation.missed)) or "not said which"
        said = "; ".join((f"Misses a bound: {missed}", *chance_of(recommendation)))
        return Verdict("missed", said, recommendation.sentence)
    tie = ("a tie with the runner-up, held out",) if recommendation.tie else ()
    doubts = (*weak_terms(recommendation), *tie, *chance_of(recommendation))
    badge = "; ".join((f"Meets all bounds{_on(recommendation)}", *doubts))
    return Verdict("tie" if doubts else "met", badge, recommendation.sentence)


def weak_terms(recommendation: Recommendation) -> tuple[str, ...]:
    """The terms of the score that are below a half on the edits that will be made, with values.

    Bounds are mostly on collapse: they can be met where hardly a rephrase is answered.
    """
    made = recommendation.deployment
    if made is None:
        return ()
    low = [m for m in made.measures if m.name in recommendation.weights and m.value < LOW]
    said = ", ".join(f"{words.title_of(m.name)} {words.number(m.value)}" for m in low)
    return (f"but {said}",) if low else ()


def chance_of(recommendation: Recommendation) -> tuple[str, ...]:
    """What random locations did better on T than the recommended one, in few words; empty where
    none did."""
    count = len(recommendation.randoms)
    mean = next((m.value for m in recommendation.margins if m.over == "random"), nan)
    if count > 1 and mean < 0:
        return (f"the mean of {count} random locations did better, held out",)
    ahead = len(recommendation.ahead)
    return (f"{ahead} of {count} random locations did better, held out",) if ahead else ()


def _on(recommendation: Recommendation) -> str:
    """Which edits the bounds were held against."""
    return f" on {recommendation.deployment.edits:,} edits" if recommendation.deployment else ""


def scans_sentence(inputs: ReportInputs) -> str:
    """What a run of scans is of."""
    run, count = inputs.run, len(inputs.scans)
    scans = f"{count} scan" if count == 1 else f"{count} scans"
    edits = f"{run.edit_count} edit" if run.edit_count == 1 else f"{run.edit_count} edits"
    ended = "" if run.status == "done" else f" (status of the run: {run.status})"
    return f"Scans of {run.model.name} on {run.edits}: {scans}, {edits}{ended}"


def margin_lines(inputs: ReportInputs) -> tuple[str, ...]:
    """Each margin of the recommended location as a line."""
    lines = []
    for m in inputs.recommendation.margins if inputs.recommendation else ():
        # Without an interval no tie is claimed: NaN compares as false.
        bounds = words.interval(m.low, m.high)
        tie = " (the interval holds 0: a tie)" if m.low <= 0 <= m.high else ""
        value = "not measured" if isnan(m.value) else f"{m.value:+.3f} {bounds}"
        lines.append(f"over {m.over} {m.location}: {value}{tie}")
    return tuple(lines)
