"""MLP ablation: what the answer loses when the MLP of one layer is silenced.

What the MLP adds to the residual stream is replaced at all tokens: by zero, by its mean over all
tokens of all requests, or by what it adds on another request (resample, after the causal scrubbing
of Chan et al. 2022). The effect is exact: everything above the MLP is computed again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from locscope.interp.ablation import mlp_effects
from locscope.interp.effects import drops
from locscope.interp.facts import Fact
from locscope.interp.metrics import METRICS
from locscope.interp.silencing import HOW, NOTHING, ablation_of
from locscope.scans.context import Findings, ScanContext


def scan(context: ScanContext) -> Findings:
    """Mean drops per MLP: of the answer's probability, and of its logit less the runner-up's.

    Of the answer the first token counts; the runner-up is the untouched model's next best token.
    Above zero, the MLP is needed.
    """
    model, hooked, most = context.loaded.model, context.hooked, context.tokens_at_once
    silent = ablation_of(
        hooked, context.facts.all, "mlp_out", context.options.ablation, context.seed, most
    )
    settings = (
        f"MLP output {HOW[silent.how]}, at all tokens; answer against the untouched runner-up"
    )
    if not silent.facts:
        return Findings((), 0, settings, (NOTHING, *context.facts.notes))

    def run(facts: Sequence[Fact]) -> Sequence[Tensor]:
        replacements = silent.over(hooked, facts, ("mlp_out",))
        return mlp_effects(model, hooked, replacements, drops(model, facts)).unbind()

    # Sized by the longest prompt that runs: a resampled one may be longer than the fact's own.
    values = torch.stack(context.batched("MLP ablation", silent.facts, run, silent.tokens))
    used = [fact.edit for fact in silent.facts]
    scores = [
        score
        for i, variant in enumerate(METRICS)
        for score in context.scores(variant, "mlp", used, values[..., i])
    ]
    return Findings(tuple(scores), len(used), settings, context.facts.notes)
