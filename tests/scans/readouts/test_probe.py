from dataclasses import replace

import numpy as np
import pytest
import torch
from reference.neurons import plain_state, prompt_of
from scan_worlds import SCAN_FAMILIES, scan_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from worlds import same, snapshot

import locscope.scans.readouts.probe as probe
from locscope.interp.states import last_states
from locscope.progress import Silent
from locscope.records import Edit, Probe
from locscope.scans.readouts.probe import Example, examples, gains, of_classes
from locscope.scans.run import run_scan

SUBJECTS = ("France", "Japan", "gold", "Norway", "Rome", "Brazil")
OTHERS = ("Paris", "Tokyo", "Oslo", "iron", "Fe", "Au")


def edits_of(answers=()):
    """Six edits; every answer is that of three other subjects, too."""
    return tuple(
        Edit(
            f"e{i}",
            f"The capital of {subject} is",
            "old",
            subject=subject,
            rephrases=(f"{subject} has the capital",),
            neighbours=tuple(
                Probe(f"The {word} {other} of number {i} is", answers[i])
                for word, other in (("book", OTHERS[i]), ("old", OTHERS[i]), ("symbol", "1"))
            )
            if answers
            else (),
        )
        for i, subject in enumerate(SUBJECTS)
    )


def probe_context(family, **settings):
    """A context whose neighbours have the answers that the model gives to the edits' prompts."""
    first = scan_context(family, edits_of())
    said = {f.edit: first.suite.text_generator.tokenizer.decode(f.answer) for f in first.facts.all}
    answers = [said.get(f"e{i}", "nothing") for i in range(len(SUBJECTS))]
    return scan_context(family, edits_of(answers), **settings)


def plain_gains(states, kept):
    """Scaled by hand, the folds by sklearn, one probe for each."""
    answers, subjects = ([getattr(one, name) for one in kept] for name in ("answer", "subject"))
    folds = min(5, len(set(subjects)))
    found = [0.0] * len(kept)
    for train, test in GroupKFold(folds).split(states, groups=subjects):
        assert not {subjects[i] for i in train} & {subjects[i] for i in test}
        seen = [answers[i] for i in train]
        mean, spread = states[train].mean(0), states[train].std(0)
        model = LogisticRegression(max_iter=2000).fit((states[train] - mean) / spread, seen)
        commonest = max(sorted(set(seen)), key=seen.count)
        for i in test:
            (said,) = model.predict((states[i : i + 1] - mean) / spread)
            found[i] = float(said == answers[i]) - float(commonest == answers[i])
    return found


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_accuracies_are_those_of_probes_on_the_plain_models_states(family):
    context = probe_context(family)
    model, before = context.loaded.model, snapshot(context.loaded.model)
    result = run_scan("probe", context)
    assert same(model, before)
    kept = of_classes(examples(context))
    texts = [one.ids for one in kept]
    assert result.usable == len({one.edit for one in kept if one.edit}) > 0
    pads = ((0, "left"), (3, "left"), (2, "right"))
    for layer, states in enumerate(last_states(context.hooked, "resid_post", texts, Silent())):
        plain = torch.stack(
            [plain_state(model, prompt_of(ids, *pads[i % 3]), layer) for i, ids in enumerate(texts)]
        )
        scale = plain.abs().max()
        torch.testing.assert_close(states / scale, plain / scale, rtol=0, atol=1e-5)
        wanted = plain_gains(plain.double().numpy(), kept)
        score = next(s for s in result.scores if s.layer == layer)
        assert (score.variant, score.part, score.count) == ("accuracy", "block", result.usable)
        for edit, value in zip(result.edits, score.values, strict=True):
            mine = [v for v, one in zip(wanted, kept, strict=True) if one.edit == edit]
            assert value == pytest.approx(np.mean(mine) if mine else np.nan, nan_ok=True)


def test_the_result_does_not_depend_on_the_batch():
    whole = run_scan("probe", probe_context("gptneox"))
    small = run_scan("probe", probe_context("gptneox", tokens_at_once=30))
    assert [s.score for s in small.scores] == pytest.approx([s.score for s in whole.scores])
    assert [s.values for s in run_scan("probe", probe_context("gptneox")).scores] == [
        s.values for s in whole.scores
    ]


def test_examples_carry_the_models_answer_and_the_subject_they_name():
    edits = [
        Edit(
            "a",
            "The capital of France is",
            "x",
            subject="France",
            rephrases=("France's capital is",),
            neighbours=(
                Probe("The capital of Japan is", "The Tokyo."),
                Probe("The language of France is", "French"),
                Probe("Who wrote the book?", "I"),
                Probe("The symbol of gold is"),
            ),
        ),
        Edit("b", "The country is", "y", neighbours=(Probe("Who wrote the book?", "I"),)),
        Edit("c", "The old capital of Japan is", "z", subject="Japan"),
    ]
    context = scan_context("llama", edits)
    found = examples(context)
    said = [
        context.suite.text_generator.tokenizer.decode(fact.answer) for fact in context.facts.all
    ]
    own = [one for one in found if one.edit]
    assert [(one.edit, one.subject) for one in own] == [
        ("a", "france"),
        ("a", "france"),
        ("b", "edit b"),
        ("c", "japan"),
    ]
    assert own[0].ids == context.facts.all[0].ids
    assert own[0].answer == own[1].answer == probe._class(said[0])
    assert [(one.answer, one.subject) for one in found if not one.edit] == [
        ("tokyo", "japan"),
        ("french", "france"),
        ("i", "prompt Who wrote the book?"),
        ("", "prompt The symbol of gold is"),
    ]


def many(answers, subjects):
    return [
        Example((i,), answer, subject, f"e{i}")
        for i, (answer, subject) in enumerate(zip(answers, subjects, strict=True))
    ]


def test_classes_are_answers_of_three_subjects():
    kept = many("aaabbbcccc", ["s1", "s2", "s3", "s4", "s5", "s5", "s6", "s7", "s8", "s8"])
    assert {one.answer for one in of_classes(kept)} == {"a", "c"}
    assert of_classes(many(["", "", ""], "xyz")) == ()


def test_what_can_be_read_is_read_and_what_belongs_to_the_subject_alone_is_not():
    drawn = np.random.default_rng(0)
    answers = drawn.permuted(["a", "b", "b", "c"] * 15)
    subjects = [f"s{i // 2}" for i in range(60)]
    told = np.array([[a == letter for letter in "abc"] for a in answers], dtype=float)
    noisy = told + 0.1 * drawn.normal(size=told.shape)
    readable, unfinished = gains(noisy, many(answers, subjects))
    assert unfinished == 0
    # Every example is told right; the commonest answer is right for half of them.
    assert readable.mean() == pytest.approx(0.5)
    # Each subject has an answer and a state of its own, drawn apart from each other.
    own = np.repeat(drawn.normal(size=(30, 40)), 2, axis=0)
    paired = np.repeat(drawn.permuted(["a", "b", "c"] * 10), 2)
    assert abs(gains(own, many(paired, subjects))[0].mean()) < 0.2
    assert gains(own, many(paired, [f"p{i}" for i in range(60)]))[0].mean() > 0.35


def test_the_commonest_answer_of_the_training_side_is_no_gain():
    kept = many(["a"] * 9 + ["b"] * 3, [f"s{i}" for i in range(12)])
    assert (gains(np.ones((12, 2)), kept)[0] == 0).all()


def test_one_answer_on_the_training_side_is_all_that_is_said():
    kept = many("aaabbb", ["s1", "s2", "s3", "s4", "s4", "s4"])
    values, _ = gains(np.eye(6), kept)
    assert (values[3:] == 0).all()


def test_wide_states_are_reduced_and_fits_that_do_not_end_are_counted(monkeypatch):
    drawn = np.random.default_rng(0)
    kept = many(["a", "b"] * 20, [f"s{i}" for i in range(40)])
    wide = drawn.normal(size=(40, 300))
    wide[::2] += 1.0
    assert gains(wide, kept)[0].mean() > 0.4
    monkeypatch.setattr(probe, "ITERATIONS", 1)
    assert gains(wide, kept)[1] == 5


def test_too_few_answers_are_counted_and_give_no_score():
    context = scan_context("llama", edits_of()[:2])
    result = run_scan("probe", context)
    assert (result.scores, result.usable) == ((), 0)
    assert any(note.startswith("0 of 4 examples") for note in result.notes)


def test_an_edit_whose_answer_is_no_class_has_no_value():
    context = probe_context("qwen2")
    edits = [question.edit for question in context.suite.edits]
    fewer = [replace(edits[0], neighbours=()), *edits[1:]]
    result = run_scan("probe", scan_context("qwen2", fewer))
    assert result.usable == 5
    assert all(s.values[0] != s.values[0] and s.values[1] == s.values[1] for s in result.scores)
