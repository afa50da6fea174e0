"""Teacher-forced locality, as EasyEdit has it (its `locality` acc)."""

from locscope.evaluation.measures.outcomes import mean, mean_measure
from locscope.evaluation.questions import Answer
from locscope.evaluation.suite import EditAnswers, Evaluation
from locscope.records import Measure

PROTOCOL = (
    "share of the tokens of the neighbours' stated answers at which the arg-max, given the stated "
    "tokens before, is the untouched model's"
)


def measure(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1; NaN where no neighbour states an answer, and for trials that do not read
    these."""
    pairs = zip(now.edits, before.edits, strict=True)
    values = [_agreement(said, untouched) for said, untouched in pairs]
    untouched = [_agreement(said, said) for said in before.edits]
    return mean_measure("locality_tokens", values, untouched, PROTOCOL, now)


def _agreement(said: EditAnswers, untouched: EditAnswers) -> float:
    pairs = zip(said.recited, untouched.recited if said.recited else (), strict=True)
    return mean(_share(*pair) for pair in pairs)


def _share(now: Answer, before: Answer) -> float:
    return mean(float(a == b) for a, b in zip(now.argmaxes, before.argmaxes, strict=True))
