"""Head gradient: what silencing each head costs the answer, to first order.

A score is (z - z silenced) . d metric / d z, summed over all tokens of the prompt; z is the head's
output before the output matrix. It estimates what the metric loses when z is set to zero (to its
mean, to that of another prompt), as `head-ablation` does exactly. Variants: `probability` of the
answer, and `logit-diff` of the answer against the untouched model's next best token. After Michel
et al. (arXiv 1905.10650), but with sign.

An attention's score (head -1) is the mean over requests of the sum of its heads' absolute values.
With sign they cancel, and entirely so where a norm follows attention (Gemma 2 and 3): it undoes a
scale that all heads share.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.batching import tokens_worth
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.prompts import at_last, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import hook_name, probing
from locscope.interp.metrics import METRICS, answers_of, runners_up, value_of
from locscope.interp.silencing import HOW, Ablation, ablation_of
from locscope.scans.context import Findings, ScanContext

WORTH = partial(tokens_worth, states=9, backward=True)
"""Of z: a zero that requires a gradient, its change and the gradients of two metrics in float32,
and these gradients before their conversion."""


def scan(context: ScanContext) -> Findings:
    """Mean losses with intervals; `count` is in facts, the unit that of the metric."""
    hooked, most = context.hooked, context.tokens_at_once
    silent = ablation_of(
        hooked, context.facts.all, "z", context.options.ablation, context.seed, most
    )
    settings = f"z {HOW[silent.how]}, at all tokens; to first order"
    if not silent.facts:
        return Findings((), 0, settings, ("no prompt to ablate in", *context.facts.notes))
    distractors = runners_up(hooked, silent.facts, most)
    losses = context.batched(
        "head gradient",
        silent.facts,
        lambda batch: _losses(context, silent, batch, distractors),
        size=lambda fact: WORTH(context.loaded.model, silent.tokens(fact)),
    )
    used = [fact.edit for fact in silent.facts]
    scores = [
        score
        for variant, of_heads in zip(METRICS, torch.stack(losses, dim=1), strict=True)
        for values in (of_heads, of_heads.abs().sum(2))
        for score in context.scores(variant, "attn", used, values)
    ]
    return Findings(tuple(scores), len(used), settings, context.facts.notes)


def _losses(
    context: ScanContext, silent: Ablation, facts: Sequence[Fact], distractors: Mapping[str, int]
) -> list[Float[Tensor, "variants layers heads"]]:
    """What every fact's metrics lose, to first order."""
    changes = _changes(context, silent, facts)
    # The mean or another prompt replaces padding too; there the gradient is zero.
    losses = [
        torch.stack([(changes[i] * slope).sum((1, 3)) for i, slope in enumerate(slopes)], dim=1)
        for slopes in _slopes(context, facts, distractors)
    ]
    return list(torch.stack(losses, dim=1).cpu())


@torch.no_grad()
def _changes(
    context: ScanContext, silent: Ablation, facts: Sequence[Fact]
) -> list[Float[Tensor, "rows seq heads head_width"]]:
    """z less what replaces it, for every layer."""
    visited = silent.over(context.hooked, facts, ("z",))
    return [here.seen["z"].float() - instead.float() for here, instead in visited]


def _slopes(
    context: ScanContext, facts: Sequence[Fact], distractors: Mapping[str, int]
) -> list[list[Float[Tensor, "rows seq heads head_width"]]]:
    """The gradients of every metric with respect to z, for every layer."""
    hooked = context.hooked
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    device = hooked.bridged.device
    rivals = torch.tensor([distractors[fact.edit] for fact in facts], device=device)
    answers = answers_of(facts, device)
    names = [hook_name("z", layer) for layer in range(hooked.layers)]
    with torch.enable_grad(), probing(hooked, *names) as zeros:
        final = at_last(run_blocks(hooked.bridged, prompts.ids), prompts.last)
        scored = logits(hooked.bridged, final)
        values = [value_of(metric, scored, answers, rivals).sum() for metric in METRICS]
    wanted = [zeros[name] for name in names]
    return [
        [slope.float() for slope in torch.autograd.grad(value, wanted, retain_graph=True)]
        for value in values
    ]
