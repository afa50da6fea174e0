"""Swapped subjects: of as many tokens, and with another answer."""

import numpy as np
import pytest
import torch
from scan_worlds import SCAN_EDITS, scan_context

from locscope.forward.prompts import top_tokens
from locscope.interp.corruption import _partners, embedding_deviation, noised, swapped
from locscope.records import ScanOptions


@pytest.mark.parametrize("family", ["llama", "qwen2", "gptneox"])
def test_a_swap_keeps_the_length_and_changes_the_answer(family):
    context = scan_context(family)
    pairs = swapped(context.hooked, context.facts.with_subject, 0)
    assert pairs
    subjects = {edit.id: edit.subject for edit in SCAN_EDITS}
    for pair in pairs:
        first, stop = pair.fact.span
        assert len(pair.ids) == len(pair.fact.ids)
        assert pair.ids[:first] == pair.fact.ids[:first]
        assert pair.ids[stop:] == pair.fact.ids[stop:]
        text = context.loaded.tokenizer.decode(pair.ids[first:stop]).strip()
        assert text in set(subjects.values()) - {subjects[pair.fact.edit]}
        with torch.no_grad():
            logits = context.loaded.model(torch.tensor([pair.ids])).logits[0, -1]
        assert pair.distractor == int(logits.argmax()) != pair.fact.answer[0]


def test_a_subject_behind_a_space_is_swapped_for_one_behind_a_space():
    context = scan_context("llama")
    spaced = {tokenizer_text(context, fact): fact.spaced for fact in context.facts.with_subject}
    assert not all(spaced.values())
    assert any(spaced.values())
    facts = context.facts.with_subject
    for fact in facts:
        for ids in _partners(fact, facts, 0):
            first, stop = fact.span
            other = context.loaded.tokenizer.decode(ids[first:stop])
            assert spaced[other] == fact.spaced


def tokenizer_text(context, fact):
    return context.loaded.tokenizer.decode(fact.ids[slice(*fact.span)])


def test_noise_is_measured_over_more_subjects_than_the_model_has_positions():
    context = scan_context("gpt2", max_position_embeddings=64)
    facts = context.facts.with_subject * 20
    tokens = [t for f in facts for t in f.ids[slice(*f.span)]]
    assert len(tokens) > 64
    embedded = context.loaded.model.get_input_embeddings().weight[tokens]
    found = embedding_deviation(context.hooked, [f.ids[slice(*f.span)] for f in facts])
    assert found == pytest.approx(float(embedded.std()), rel=1e-5)


def test_the_seed_alone_decides_the_partner():
    context = scan_context("llama")
    facts = context.facts.with_subject
    whole, single = (swapped(context.hooked, facts, 3, tokens_at_once=n) for n in (16384, 1))
    assert whole
    assert [(one.ids, one.distractor) for one in whole] == [
        (one.ids, one.distractor) for one in single
    ]


def test_noise_is_drawn_anew_and_the_same_and_never_kept():
    context = scan_context("llama", options=ScanOptions(samples=3))
    facts = context.facts.with_subject
    distractors = {fact.edit: 1 for fact in facts}
    some = noised(context.hooked, facts, distractors, context.options, 5, ())
    for one in some:
        first, stop = one.fact.span
        drawn = np.random.RandomState([5, *one.fact.ids]).randn(3, stop - first, 32)
        found = one.noise(32)
        assert np.allclose(found, one.scale * drawn, atol=1e-6)
        assert torch.equal(found, one.noise(32))
        assert not any(isinstance(value, torch.Tensor) for value in vars(one).values())


def test_top_tokens_do_not_see_the_padding():
    context = scan_context("gpt2")
    prompts = [fact.ids for fact in context.facts.all]
    with torch.no_grad():
        alone = [
            int(context.loaded.model(torch.tensor([p])).logits[0, -1].argmax()) for p in prompts
        ]
    assert top_tokens(context.hooked.bridged, prompts) == alone
