"""Are the neighbours of the edits answered as by the untouched model?"""

from locscope.evaluation.measures.outcomes import edit_measure, local, mean, mean_measure
from locscope.evaluation.questions import Answer
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure

SAME_TOKENS = (
    "greedy tokens equal to the untouched model's over the length of the stated answer; without "
    "one, up to the untouched model's first stop token, newline or punctuation mark, at most 10 "
    "tokens"
)
SAME_TEXT = (
    "greedy output up to its first stop token, newline or full stop, at most 10 tokens, "
    "same text as the untouched model's"
)
SAME_ARGMAX = (
    "share of the tokens of the neighbours' stated answers at which the arg-max, given the stated "
    "tokens before, is the untouched model's"
)
LEAKED = "neighbours where the untouched model went on after its answer and the tuned one stops"


def locality(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of neighbours answered as before; NaN where no edit has neighbours."""
    return edit_measure("locality", local, SAME_TOKENS, now, before)


def locality_span(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of neighbours whose free continuation is the same; NaN without any.

    It says little of a pretrained model that only completes texts: there the tenth token is seldom
    the same after any tuning (SmolLM2-135M: 0.0 to 0.08).
    """
    return edit_measure("locality_span", _unchanged, SAME_TEXT, now, before)


def locality_tokens(now: Evaluation, before: Evaluation) -> Measure:
    """Teacher-forced locality, as EasyEdit's `locality` acc: mean share in 0..1.

    NaN where no neighbour states an answer, and for trials that do not read the stated answers.
    """
    pairs = zip(now.edits, before.edits, strict=True)
    values = [_agreement(answers, untouched) for answers, untouched in pairs]
    untouched = [_agreement(answers, answers) for answers in before.edits]
    return mean_measure("locality_tokens", values, untouched, SAME_ARGMAX, now)


def format_leakage(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of neighbours that now stop where the untouched model went on.

    A model tuned on targets that stop at once may stop everywhere. NaN without such neighbours.
    """
    return edit_measure("format_leakage", _leaked, LEAKED, now, before)


def _unchanged(questions: EditQuestions, answers: EditAnswers) -> float:
    pairs = zip(answers.neighbours, questions.neighbours, strict=True)
    return mean(float(answer.text == question.wanted) for answer, question in pairs)


def _agreement(answers: EditAnswers, untouched: EditAnswers) -> float:
    # Only thorough trials read stated answers; the untouched model's are always there.
    pairs = zip(answers.recited, untouched.recited if answers.recited else (), strict=True)
    return mean(_share(*pair) for pair in pairs)


def _share(now: Answer, before: Answer) -> float:
    return mean(float(a == b) for a, b in zip(now.argmaxes, before.argmaxes, strict=True))


def _leaked(questions: EditQuestions, answers: EditAnswers) -> float:
    pairs = zip(questions.spoke_on, answers.neighbours, strict=True)
    return mean(float(answer.ending == "stop") for spoke_on, answer in pairs if spoke_on)
