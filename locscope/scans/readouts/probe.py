"""Probe: from which layer on can the old answer be read off the state at the prompt's last token?

Linear probes (Alain and Bengio, arXiv 1610.01644), one per layer: logistic regression from the
residual stream behind the layer (standardised) to the answer as a class. Examples are the edits'
prompts and rephrases, with the answer that the model gives to the prompt, and their neighbours
with their stated answers; classes are answers of at least three subjects. Cross-validated so that
no subject is on both sides: a neighbour belongs to the subject of an edit that it names, else
stands for itself.

Variant `accuracy`: accuracy on an edit's prompt and rephrases, less that of always saying the
commonest answer of the training side; neighbours only train.
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
"""An answer of fewer subjects is no class: it could not be learned on some and tried on others."""
FOLDS = 5
COMPONENTS = 128
"""Wider states are reduced to so many principal components of the training side."""
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
    kept = of_classes(every)
    used = list(dict.fromkeys(one.edit for one in kept if one.edit))
    classes = len({one.answer for one in kept})
    note = (
        f"{len(kept)} of {len(every)} examples have one of {classes} answers of at least "
        f"{SUBJECTS} subjects; {len(used)} edits are among them"
    )
    if classes < 2 or not used:
        return Findings((), 0, notes=(*context.facts.notes, f"{note}: too few for a probe"))
    texts = [one.ids for one in kept]
    states = last_states(
        context.hooked, "resid_post", texts, context.progress, context.tokens_at_once
    )
    fits = [gains(layer.double().numpy(), kept) for layer in states]
    values = np.stack([_per_edit(one.values, kept, used) for one in fits], axis=1)
    rough = sum(one.unfinished for one in fits)
    stopped = (f"{rough} fits stopped at {ITERATIONS} iterations",) if rough else ()
    return Findings(
        scores=context.scores("accuracy", "block", used, torch.from_numpy(values)),
        usable=len(used),
        settings=f"logistic regression, C 1, {_folds(kept)} folds by subject, {classes} answers, "
        "last token",
        notes=(*context.facts.notes, note, *stopped),
    )


def examples(context: ScanContext) -> tuple[Example, ...]:
    """All examples of the edits; a neighbour of several edits is one example."""
    facts = {fact.edit: fact for fact in context.facts.all}
    asked = [one for one in context.suite.of(context.edits) if one.edit.id in facts]
    subjects = {one.edit.subject.casefold() for one in context.suite.edits} - {""}
    tokenizer = context.suite.text_generator.tokenizer
    own: list[Example] = []
    others: dict[tuple[int, ...], Example] = {}
    for one in asked:
        edit, fact = one.edit, facts[one.edit.id]
        answer = _class(str(tokenizer.decode(list(fact.answer))))
        subject = edit.subject.casefold() or f"edit {edit.id}"
        prompts = [fact.ids, *(question.prompt for question in one.rephrases)]
        own += [Example(prompt, answer, subject, edit.id) for prompt in prompts]
        for probe, question in zip(edit.neighbours, one.neighbours, strict=True):
            named = _named(probe.prompt, subjects) or f"prompt {probe.prompt}"
            others[question.prompt] = Example(question.prompt, _class(probe.answer), named)
    taken = {one.ids for one in own}
    return (*own, *(one for one in others.values() if one.ids not in taken))


def of_classes(every: Sequence[Example]) -> tuple[Example, ...]:
    """The examples whose answer at least `SUBJECTS` subjects have."""
    subjects: dict[str, set[str]] = defaultdict(set)
    for one in every:
        subjects[one.answer].add(one.subject)
    return tuple(one for one in every if one.answer and len(subjects[one.answer]) >= SUBJECTS)


@dataclass(frozen=True)
class Gains:
    """Per example 1, 0 or -1: right less right by the commonest answer.

    `unfinished` counts fits that ran out of iterations.
    """

    values: Float[np.ndarray, " examples"]
    unfinished: int


def gains(states: Float[np.ndarray, "examples width"], kept: Sequence[Example]) -> Gains:
    """How much better than the commonest answer a probe on these states does."""
    from sklearn.exceptions import ConvergenceWarning

    # Numbers in the order of the alphabet: of answers as common as each other the first is taken.
    answers = np.unique([one.answer for one in kept], return_inverse=True)[1]
    values, unfinished = np.zeros(len(kept)), 0
    for side in _sides(kept):
        train, test = side.train, side.test
        commonest = np.bincount(answers[train]).argmax()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            said = _said(states[train], answers[train], states[test])
        unfinished += any(issubclass(one.category, ConvergenceWarning) for one in caught)
        right, guessed = said == answers[test], commonest == answers[test]
        values[test] = right.astype(float) - guessed
    return Gains(values, unfinished)


@dataclass(frozen=True)
class _Side:
    """Examples that a probe is trained on, and those that it is asked."""

    train: Int[np.ndarray, " trained"]
    test: Int[np.ndarray, " asked"]


def _sides(kept: Sequence[Example]) -> list[_Side]:
    from sklearn.model_selection import GroupKFold

    subjects = [one.subject for one in kept]
    return [_Side(*pair) for pair in GroupKFold(_folds(kept)).split(subjects, groups=subjects)]


def _folds(kept: Sequence[Example]) -> int:
    return min(FOLDS, len({one.subject for one in kept}))


def _said(
    states: Float[np.ndarray, "trained width"],
    answers: Int[np.ndarray, " trained"],
    asked: Float[np.ndarray, "asked width"],
) -> Int[np.ndarray, " asked"]:
    """What a probe trained on some states says to others."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(answers)) == 1:
        return np.repeat(answers[:1], len(asked))
    steps: list[object] = [StandardScaler()]
    if states.shape[1] > COMPONENTS:
        steps.append(PCA(min(COMPONENTS, len(states) - 1), svd_solver="full"))
    probe = make_pipeline(*steps, LogisticRegression(max_iter=ITERATIONS))
    return probe.fit(states, answers).predict(asked)


def _per_edit(
    values: Float[np.ndarray, " examples"], kept: Sequence[Example], used: Sequence[str]
) -> Float[np.ndarray, " used"]:
    edits = np.array([one.edit for one in kept])
    return np.array([values[edits == edit].mean() for edit in used])


def _class(answer: str) -> str:
    return normalise(cut_answer(answer))


def _named(prompt: str, subjects: set[str]) -> str:
    """The longest subject that stands in the prompt; empty where there is none."""
    folded = prompt.casefold()
    return max((one for one in subjects if one in folded), key=lambda s: (len(s), s), default="")
