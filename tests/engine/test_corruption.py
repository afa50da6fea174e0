"""Swapped subjects: of as many tokens, and with another answer."""

import pytest
import torch
from scan_worlds import SCAN_EDITS, scan_bench

from locscope.engine.corruption import swapped
from locscope.engine.prompts import top_tokens


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


def test_the_seed_alone_decides_the_partner():
    bench = scan_bench("llama")
    facts = bench.facts.with_subject
    whole, single = (swapped(bench.lens, facts, 3, tokens_at_once=n) for n in (16384, 1))
    assert whole
    assert [(one.ids, one.foil) for one in whole] == [(one.ids, one.foil) for one in single]


def test_top_tokens_do_not_see_the_padding():
    bench = scan_bench("gpt2")
    prompts = [fact.ids for fact in bench.facts.all]
    with torch.no_grad():
        alone = [int(bench.loaded.model(torch.tensor([p])).logits[0, -1].argmax()) for p in prompts]
    assert top_tokens(bench.lens.twin, prompts) == alone
