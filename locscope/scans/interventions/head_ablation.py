"""Head ablation: what the answer loses when one attention head is silenced.

A head's output z is replaced at all tokens: by zero, by its mean over all tokens of all requests,
or by that of the same head on another request (resample, after the causal scrubbing of Chan et al.
2022). The effect is exact: everything above the head is computed again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from locscope.interp.ablation import HEAD_KINDS, head_effects
from locscope.interp.effects import drops
from locscope.interp.facts import Fact
from locscope.interp.metrics import METRICS
from locscope.interp.silencing import HOW, NOTHING, ablation_of
from locscope.scans.context import Findings, ScanContext


def scan(context: ScanContext) -> Findings:
    """Mean drops per head: of the answer's probability, and of its logit less the runner-up's.

    Of the answer the first token counts; the runner-up is the untouched model's next best token.
    Above zero, the head is needed. An attention's score (head -1) is the mean over requests of the
    sum of its heads' absolute drops.
    """
    model, hooked, most = context.loaded.model, context.hooked, context.tokens_at_once
    silent = ablation_of(
        hooked, context.facts.all, "z", context.options.ablation, context.seed, most
    )
    settings = f"z {HOW[silent.how]}, at all tokens; answer against the untouched runner-up"
    if not silent.facts:
        return Findings((), 0, settings, (NOTHING, *context.facts.notes))

    def run(facts: Sequence[Fact]) -> Sequence[Tensor]:
        replacements = ((here, [z]) for here, z in silent.over(hooked, facts, HEAD_KINDS))
        return head_effects(model, hooked, replacements, drops(model, facts), most).unbind()

    # Every head of a layer has rows of its own.
    heads = context.loaded.info.heads
    size = lambda fact: heads * silent.tokens(fact)  # noqa: E731
    values = torch.stack(context.batched("head ablation", silent.facts, run, size))
    used = [fact.edit for fact in silent.facts]
    scores = [
        score
        for i, variant in enumerate(METRICS)
        # Absolute: heads that need each other's opposite would cancel in a sum.
        for effects in (values[..., i], values[..., i].abs().sum(-1))
        for score in context.scores(variant, "attn", used, effects)
    ]
    return Findings(tuple(scores), len(used), settings, context.facts.notes)
