"""Probe: how well the old answer can be read off the state at the prompt's last token.

Linear probes (Alain and Bengio, arXiv 1610.01644), one per layer: logistic regression from the
standardised residual stream behind the layer to the answer as a class. Examples are the edits'
prompts and rephrases, with the answer that the model gives to the prompt, and their neighbours with
their stated answers; classes are answers of at least three subjects. Folds of cross-validation do
not share subjects: a neighbour belongs to the subject of an edit that it names, otherwise it is a
subject of its own.

Variant `accuracy`: accuracy on an edit's prompt and rephrases, less that of always predicting the
commonest answer of the training examples; neighbours only train.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from locscope.interp.states import last_states
from locscope.scans.context import Findings, ScanContext
from locscope.scoring.text import cut_answer, normalise

SUBJECTS = 3
"""An answer of fewer subjects is no class: it could not be both learned and tested."""
FOLDS = 5
COMPONENTS = 128
"""Wider states are reduced to so many principal components of the training examples."""
ITERATIONS = 2000


@dataclass(frozen=True)
class Example:
    """A prompt with its answer; `edit` is empty for neighbours, which are not scored."""

    ids: tuple[int, ...]
    answer: str
    subject: str
    edit: str = ""


def scan(context: ScanContext) -> Findings:
    """Scores of the blocks; edits whose answer is no class cannot be used."""
    every = examples(context)
    classed = of_classes(every)
    used = list(dict.fromkeys(example.edit for example in classed if example.edit))
    classes = len({example.answer for example in classed})
    note = (
        f"{len(classed)} of {len(every)} examples have one of {classes} answers of at least "
        f"{SUBJECTS} subjects; {len(used)} edits are among them"
    )
    if classes < 2 or not used:
        return Findings((), 0, notes=(*context.facts.notes, f"{note}: too few for a probe"))
    texts = [example.ids for example in classed]
    states = last_states(
        context.hooked, "resid_post", texts, context.progress, context.tokens_at_once
    )
    values, unfinished = zip(
        *(gains(layer.double().numpy(), classed) for layer in states), strict=True
    )
    table = np.stack([_per_edit(layer, classed, used) for layer in values], axis=1)
    rough = sum(unfinished)
    stopped = (f"{rough} fits stopped at {ITERATIONS} iterations",) if rough else ()
    return Findings(
        scores=context.scores("accuracy", "block", used, torch.from_numpy(table)),
        usable=len(used),
        settings=f"logistic regression, C 1, {_folds(classed)} folds by subject, "
        f"{classes} answers, last token",
        notes=(*context.facts.notes, note, *stopped),
    )


def examples(context: ScanContext) -> tuple[Example, ...]:
    """All examples of the edits; a neighbour of several edits is one example."""
    facts = {fact.edit: fact for fact in context.facts.all}
    subjects = {questions.edit.subject.casefold() for questions in context.suite.edits} - {""}
    tokenizer = context.suite.text_generator.tokenizer
    own: list[Example] = []
    others: dict[tuple[int, ...], Example] = {}
    for questions in context.suite.of(context.edits):
        edit = questions.edit
        if edit.id not in facts:
            continue
        answer = _class(str(tokenizer.decode(list(facts[edit.id].answer))))
        subject = edit.subject.casefold() or f"edit {edit.id}"
        prompts = [facts[edit.id].ids, *(question.prompt for question in questions.rephrases)]
        own += [Example(prompt, answer, subject, edit.id) for prompt in prompts]
        for probe, question in zip(edit.neighbours, questions.neighbours, strict=True):
            named = _named(probe.prompt, subjects) or f"prompt {probe.prompt}"
            others[question.prompt] = Example(question.prompt, _class(probe.answer), named)
    # A neighbour that is an edit's own prompt must not be on both sides of a fold.
    taken = {example.ids for example in own}
    return (*own, *(example for example in others.values() if example.ids not in taken))


def of_classes(every: Sequence[Example]) -> tuple[Example, ...]:
    """The examples whose answer at least `SUBJECTS` subjects have."""
    subjects: dict[str, set[str]] = defaultdict(set)
    for example in every:
        subjects[example.answer].add(example.subject)
    return tuple(
        example for example in every if example.answer and len(subjects[example.answer]) >= SUBJECTS
    )


def gains(
    states: Float[np.ndarray, "examples width"], examples: Sequence[Example]
) -> tuple[Float[np.ndarray, " examples"], int]:
    """How much better a probe on these states does than the commonest answer.

    Per example 1, 0 or -1, right less right by the commonest answer; and how many fits ran out of
    iterations.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GroupKFold

    # `unique` sorts: of equally common answers the first in the alphabet is the commonest.
    answers = np.unique([example.answer for example in examples], return_inverse=True)[1]
    subjects = [example.subject for example in examples]
    values, unfinished = np.zeros(len(examples)), 0
    for train, test in GroupKFold(_folds(examples)).split(subjects, groups=subjects):
        commonest = np.bincount(answers[train]).argmax()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            predicted = _predicted(states[train], answers[train], states[test])
        unfinished += any(issubclass(w.category, ConvergenceWarning) for w in caught)
        # Less what the commonest answer gets right, which alone may be most of the accuracy.
        right, guessed = predicted == answers[test], commonest == answers[test]
        values[test] = right.astype(float) - guessed
    return values, unfinished


def _folds(examples: Sequence[Example]) -> int:
    return min(FOLDS, len({example.subject for example in examples}))


def _predicted(
    states: Float[np.ndarray, "trained width"],
    answers: Int[np.ndarray, " trained"],
    others: Float[np.ndarray, "tested width"],
) -> Int[np.ndarray, " tested"]:
    """The answers that a probe trained on states predicts from other states."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Logistic regression refuses a single class.
    if len(np.unique(answers)) == 1:
        return np.repeat(answers[:1], len(others))
    steps: list[object] = [StandardScaler()]
    if states.shape[1] > COMPONENTS:
        # The full solver is deterministic; for large data scikit-learn would take a randomised one.
        steps.append(PCA(min(COMPONENTS, len(states) - 1), svd_solver="full"))
    probe = make_pipeline(*steps, LogisticRegression(max_iter=ITERATIONS))
    return probe.fit(states, answers).predict(others)


def _per_edit(
    values: Float[np.ndarray, " examples"], examples: Sequence[Example], used: Sequence[str]
) -> Float[np.ndarray, " used"]:
    edits = np.array([example.edit for example in examples])
    return np.array([values[edits == edit].mean() for edit in used])


def _class(answer: str) -> str:
    return normalise(cut_answer(answer))


def _named(prompt: str, subjects: set[str]) -> str:
    """The longest subject that the prompt names; empty where there is none."""
    folded = prompt.casefold()
    named = (subject for subject in subjects if subject in folded)
    # The name breaks ties: a set has no order of its own.
    return max(named, key=lambda subject: (len(subject), subject), default="")
