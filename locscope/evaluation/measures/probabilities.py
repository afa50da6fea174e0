"""How likely are the wanted tokens? Teacher-forced: no answer is decoded for these measures."""

from locscope.evaluation.measures import outcomes
from locscope.evaluation.measures.outcomes import edit_measure, mean_measure
from locscope.evaluation.suite import EditAnswers, EditQuestions, Evaluation
from locscope.records import Measure

GEOMETRIC = "teacher-forced, geometric mean over tokens"
ARGMAX = "arg-max at each token of target and stop, given the true tokens before it"
KEPT = "min(1, p/p0) of the untouched tokens that locality compares, geometric mean over them"


def target_probability(now: Evaluation, before: Evaluation) -> Measure:
    """Probability of the new target after the edit's own prompt: mean over edits, in 0..1."""
    value = outcomes.target_probability
    return edit_measure("target_probability", value, GEOMETRIC, now, before)


def rephrase_probability(now: Evaluation, before: Evaluation) -> Measure:
    """The same after the edit's rephrases; NaN where no edit has rephrases."""
    value = outcomes.rephrase_probability
    return edit_measure("rephrase_probability", value, GEOMETRIC, now, before)


def token_accuracy(now: Evaluation, before: Evaluation) -> Measure:
    """Mean share in 0..1 of target tokens that are the arg-max.

    It has a name of its own because it is not reliability: each token is given the true tokens
    before it, so an answer that goes wrong at once still scores on the rest.
    """
    return edit_measure("token_accuracy", _accuracy, ARGMAX, now, before)


def neighbour_kept(now: Evaluation, before: Evaluation) -> Measure:
    """How much of the untouched answers' probability is left at neighbours: mean over edits, in
    0..1; NaN where no edit has neighbours."""
    pairs = zip(now.edits, before.edits, strict=True)
    values = [outcomes.neighbour_kept(answers, untouched) for answers, untouched in pairs]
    untouched = [outcomes.neighbour_kept(answers, answers) for answers in before.edits]
    return mean_measure("neighbour_kept", values, untouched, KEPT, now)


def _accuracy(_: EditQuestions, answers: EditAnswers) -> float:
    return answers.target.token_accuracy
