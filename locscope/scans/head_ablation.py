"""Head ablation: what does the answer lose when one attention head is silenced?

A head's output z is replaced at all tokens: by zero, by its mean over all tokens of all requests,
or by that of the same head on another request (resample, after the causal scrubbing of Chan et al.
2022). The result is exact: everything above the head is computed again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from locscope.interp.ablation import HEAD_KINDS, head_effects
from locscope.interp.effects import drops
from locscope.interp.facts import Fact
from locscope.interp.metrics import METRICS
from locscope.interp.silencing import HOW, NOTHING, ablation_of
from locscope.scans.bench import Findings, ScanBench


def scan(bench: ScanBench) -> Findings:
    """Mean drops per head: of the probability of the answer's first token, and of its logit less
    that of the token which the untouched model likes best beside it; above zero, the head is
    needed. An attention's score (head -1) is the mean of the sum over its heads of absolute drops.
    """
    model, lens, most = bench.loaded.model, bench.lens, bench.tokens_at_once
    silent = ablation_of(lens, bench.facts.all, "z", bench.options.ablation, bench.seed, most)
    settings = f"z {HOW[silent.how]}, at all tokens; answer against the untouched runner-up"
    if not silent.facts:
        return Findings((), 0, settings, (NOTHING, *bench.facts.notes))

    def run(facts: Sequence[Fact]) -> Sequence[Tensor]:
        ways = ((here, [z]) for here, z in silent.over(lens, facts, HEAD_KINDS))
        return head_effects(model, lens, facts, ways, drops, most).unbind()

    heads = bench.loaded.info.heads
    size = lambda fact: heads * silent.tokens(fact)  # noqa: E731
    values = torch.stack(bench.batched("head ablation", silent.facts, run, size))
    used = [fact.edit for fact in silent.facts]
    scores = [
        score
        for i, variant in enumerate(METRICS)
        for one in (values[..., i], values[..., i].abs().sum(-1))
        for score in bench.scores(variant, "attn", used, one)
    ]
    return Findings(tuple(scores), len(used), settings, bench.facts.notes)
