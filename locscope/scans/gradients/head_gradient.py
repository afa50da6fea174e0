"""Head gradient: what silencing each head costs the answer, to first order.

A score is (z - z silenced) . d metric / d z, summed over all tokens of the prompt, z being the
head's output before the output matrix: what the metric loses when z is set to zero (to its mean, to
that of another prompt), as `head-ablation` does exactly. Variants: `probability` of the answer, and
`logit-diff` of the answer against the untouched model's next best token. After Michel et al.
(arXiv 1905.10650), heads with sign.

An attention's score (head -1) is the mean of the sum over its heads of absolute values: with sign
they cancel, wholly so where a norm follows attention, which does not feel all heads shrink together
(Gemma 2 and 3).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.batching import Holds
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.prompts import at_last, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import hook_name, probing
from locscope.interp.metrics import METRICS, Rivalry, rivalries, token_pair_of, value_of
from locscope.interp.silencing import HOW, Ablation, ablation_of
from locscope.scans.context import Findings, ScanContext

HOLDS = Holds(states=9, backward=True)
"""Of z: a zero to ask for gradients, in float32 what it changes by and two metrics' gradients, and
these again before they are in float32."""


def scan(context: ScanContext) -> Findings:
    """Mean losses with intervals; `count` is in facts, the unit that of the metric."""
    hooked, most = context.hooked, context.tokens_at_once
    silent = ablation_of(
        hooked, context.facts.all, "z", context.options.ablation, context.seed, most
    )
    settings = f"z {HOW[silent.how]}, at all tokens; to first order"
    if not silent.facts:
        return Findings((), 0, settings, ("no prompt to ablate in", *context.facts.notes))
    found = context.batched(
        "head gradient",
        rivalries(hooked, silent.facts, most),
        lambda some: _losses(context, silent, some),
        size=lambda one: HOLDS.tokens(context.loaded.model, silent.tokens(one.fact)),
    )
    used = [fact.edit for fact in silent.facts]
    scores = [
        score
        for variant, of_heads in zip(METRICS, torch.stack(found, dim=1), strict=True)
        for each in (of_heads, of_heads.abs().sum(2))
        for score in context.scores(variant, "attn", used, each)
    ]
    return Findings(tuple(scores), len(used), settings, context.facts.notes)


def _losses(context: ScanContext, silent: Ablation, some: Sequence[Rivalry]) -> list[Tensor]:
    """For every fact (variants, layers, heads)."""
    changes = _changes(context, silent, [one.fact for one in some])
    # To the head's mean or to another prompt, padding changes too; its gradient is zero.
    found = [
        torch.stack([(changes[i] * slope).sum((1, 3)) for i, slope in enumerate(slopes)], dim=1)
        for slopes in _slopes(context, some)
    ]
    return list(torch.stack(found, dim=1).cpu())


@torch.no_grad()
def _changes(
    context: ScanContext, silent: Ablation, facts: Sequence[Fact]
) -> list[Float[Tensor, "rows seq heads head_width"]]:
    """z less what it becomes, for every layer."""
    visited = silent.over(context.hooked, facts, ("z",))
    return [here.seen["z"].float() - instead.float() for here, instead in visited]


def _slopes(
    context: ScanContext, some: Sequence[Rivalry]
) -> list[list[Float[Tensor, "rows seq heads head_width"]]]:
    """The gradients of every metric with respect to z, for every layer."""
    hooked = context.hooked
    facts = [one.fact for one in some]
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    token_pair = token_pair_of(facts, [one.distractor for one in some], hooked.bridged.device)
    names = [hook_name("z", layer) for layer in range(hooked.layers)]
    with torch.enable_grad(), probing(hooked, *names) as zeros:
        final = at_last(run_blocks(hooked.bridged, prompts.ids), prompts.last)
        scored = logits(hooked.bridged, final)
        values = [value_of(metric, scored, token_pair).sum() for metric in METRICS]
    wanted = [zeros[name] for name in names]
    return [
        [slope.float() for slope in torch.autograd.grad(value, wanted, retain_graph=True)]
        for value in values
    ]
