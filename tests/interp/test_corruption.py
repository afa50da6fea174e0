"""Swapped subjects: of as many tokens, and with another answer."""

import numpy as np
import pytest
import torch
from scan_worlds import SCAN_EDITS, scan_bench

from locscope.forward.prompts import top_tokens
from locscope.interp.corruption import _partners, embedding_deviation, noised, swapped
from locscope.records import ScanOptions


@pytest.mark.parametrize("family", ["llama", "qwen2", "gptneox"])
def test_a_swap_keeps_the_length_and_changes_the_answer(family):
    bench = scan_bench(family)
    pairs = swapped(bench.lens, bench.facts.with_subject, 0)
    assert pairs
    subjects = {edit.id: edit.subject for edit in SCAN_EDITS}
    for pair in pairs:
        first, stop = pair.fact.span
        assert len(pair.ids) == len(pair.fact.ids)
        assert pair.ids[:first] == pair.fact.ids[:first]
        assert pair.ids[stop:] == pair.fact.ids[stop:]
        text = bench.loaded.tokenizer.decode(pair.ids[first:stop]).strip()
        assert text in set(subjects.values()) - {subjects[pair.fact.edit]}
        with torch.no_grad():
            logits = bench.loaded.model(torch.tensor([pair.ids])).logits[0, -1]
        assert pair.foil == int(logits.argmax()) != pair.fact.answer[0]


def test_a_subject_behind_a_space_is_swapped_for_one_behind_a_space():
    bench = scan_bench("llama")
    spaced = {tokenizer_text(bench, fact): fact.spaced for fact in bench.facts.with_subject}
    assert not all(spaced.values())
    assert any(spaced.values())
    facts = bench.facts.with_subject
    for fact in facts:
        for ids in _partners(fact, facts, 0):
            first, stop = fact.span
            other = bench.loaded.tokenizer.decode(ids[first:stop])
            assert spaced[other] == fact.spaced


def tokenizer_text(bench, fact):
    return bench.loaded.tokenizer.decode(fact.ids[slice(*fact.span)])


def test_noise_is_measured_over_more_subjects_than_the_model_has_positions():
    bench = scan_bench("gpt2", max_position_embeddings=64)
    facts = bench.facts.with_subject * 20
    tokens = [t for f in facts for t in f.ids[slice(*f.span)]]
    assert len(tokens) > 64
    embedded = bench.loaded.model.get_input_embeddings().weight[tokens]
    found = embedding_deviation(bench.lens, [f.ids[slice(*f.span)] for f in facts])
    assert found == pytest.approx(float(embedded.std()), rel=1e-5)


def test_the_seed_alone_decides_the_partner():
    bench = scan_bench("llama")
    facts = bench.facts.with_subject
    whole, single = (swapped(bench.lens, facts, 3, tokens_at_once=n) for n in (16384, 1))
    assert whole
    assert [(one.ids, one.foil) for one in whole] == [(one.ids, one.foil) for one in single]


def test_noise_is_drawn_anew_and_the_same_and_never_kept():
    bench = scan_bench("llama", options=ScanOptions(samples=3))
    facts = bench.facts.with_subject
    foils = {fact.edit: 1 for fact in facts}
    some = noised(bench.lens, facts, foils, bench.options, 5, ())
    for one in some:
        first, stop = one.fact.span
        drawn = np.random.RandomState([5, *one.fact.ids]).randn(3, stop - first, 32)
        found = one.drawn(32)
        assert np.allclose(found, one.noise.scale * drawn, atol=1e-6)
        assert torch.equal(found, one.drawn(32))
        assert not any(isinstance(value, torch.Tensor) for value in vars(one.noise).values())


def test_top_tokens_do_not_see_the_padding():
    bench = scan_bench("gpt2")
    prompts = [fact.ids for fact in bench.facts.all]
    with torch.no_grad():
        alone = [int(bench.loaded.model(torch.tensor([p])).logits[0, -1].argmax()) for p in prompts]
    assert top_tokens(bench.lens.twin, prompts) == alone
