from dataclasses import replace

import pytest
import torch
from reference.neurons import plain_head_scales
from scan_worlds import SCAN_EDITS, SCAN_FAMILIES, scan_context
from worlds import same, snapshot

from locscope.records import Edit
from locscope.scans.gradients.lofit_heads import learned_scales
from locscope.scans.run import run_scan

MORE = tuple(
    Edit(f"m{i}", f"The {word} of the country is", word, subject=word)
    for i, word in enumerate(["book", "symbol", "old answer"])
)
EDITS = (*SCAN_EDITS, *MORE)
"""Ten edits: two batches of eight an epoch, the second smaller."""


def rows_of(context):
    return [question.target.row for question in context.suite.of(context.edits)]


def drawn(context, rows, heads, width, epochs=5):
    """The start and the order of every epoch, as the seed gives them."""
    generator = torch.Generator().manual_seed(context.seed)
    start = 1e-3 * torch.randn(context.hooked.layers, heads, width, generator=generator)
    orders = [torch.randperm(len(rows), generator=generator).tolist() for _ in range(epochs)]
    return start, orders


def head_width(model):
    config = model.config
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


@pytest.mark.parametrize("family", SCAN_FAMILIES)
def test_norms_are_those_of_scales_learned_on_the_plain_model(family):
    context = scan_context(family, EDITS)
    model, before = context.loaded.model, snapshot(context.loaded.model)
    result = run_scan("lofit-heads", context)
    assert same(model, before)
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    rows = rows_of(context)
    start, orders = drawn(context, rows, 4, head_width(model))
    scales = plain_head_scales(model, rows, start, orders, 8, 5e-3, 1e-3)
    assert len(result.scores) == context.hooked.layers * 5
    for score in result.scores:
        assert (score.variant, score.part, score.count) == ("norm", "attn", len(EDITS))
        one = scales[score.layer] if score.head < 0 else scales[score.layer, score.head]
        assert score.score == pytest.approx(float(one.norm()), abs=1e-5), score
        assert score.low != score.low
        assert score.values == ()
    assert any(note.startswith("10 steps of Adam") for note in result.notes)
    # Ten steps of about a rate each: far from the start, which the scores would else repeat.
    assert min(s.score for s in result.scores) > 5 * float(start.norm(dim=2).max())


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_the_result_does_not_depend_on_the_batch(family):
    whole = run_scan("lofit-heads", scan_context(family, EDITS))
    small = run_scan("lofit-heads", scan_context(family, EDITS, tokens_at_once=30))
    for one, other in zip(whole.scores, small.scores, strict=True):
        assert other == replace(one, score=other.score, low=other.low, high=other.high)
        assert other.score == pytest.approx(one.score, abs=1e-5)
    again = run_scan("lofit-heads", scan_context(family, EDITS))
    assert [s.score for s in again.scores] == [s.score for s in whole.scores]


def test_the_seed_draws_start_and_order():
    one, other = (
        learned_scales(scan_context("llama", EDITS, seed=seed), range(3)) for seed in (0, 1)
    )
    assert float((one - other).abs().max()) > 1e-4


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    """Nothing of the batch that failed counts."""
    import locscope.scans.gradients.lofit_heads as scan

    whole = run_scan("lofit-heads", scan_context("llama", EDITS))
    own = scan.answer_losses

    def tight(prefix_cache, batch):
        if len(batch.ids) > 2:
            raise MemoryError
        return own(prefix_cache, batch)

    monkeypatch.setattr(scan, "answer_losses", tight)
    halved = run_scan("lofit-heads", scan_context("llama", EDITS))
    assert [s.score for s in halved.scores] == pytest.approx(
        [s.score for s in whole.scores], abs=1e-5
    )
