"""Ships: how far the distribution of the answer moves when one head is ablated.

Zhou et al. (arXiv 2410.13708): a head's importance for a query is KL(untouched ||
ablated) at the prompt's last token. `undifferentiated`: the head attends evenly to its whole causal
past, as its query is set to zero. `scaling`: the head's output is scaled down to almost nothing.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from locscope.forward.prompts import prompts_of
from locscope.interp.ablation import (
    HEAD_KINDS,
    LayerActivations,
    attending_evenly,
    head_effects,
    visits,
)
from locscope.interp.effects import divergence
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel
from locscope.scans.context import Findings, ScanContext

VARIANTS = ("undifferentiated", "scaling")
SCALE = 1e-5
"""The paper's epsilon, by which a head's output is multiplied."""


def scan(context: ScanContext) -> Findings:
    """Mean KL over requests, in nats; an attention's score (head -1) is the mean of its heads'.

    One head is ablated at a time.
    """
    model, hooked, facts = context.loaded.model, context.hooked, context.facts.all
    settings = f"queries zero; outputs times {SCALE:g}; at all tokens"
    if not facts:
        return Findings((), 0, settings, ("no request has an answer", *context.facts.notes))

    def run(batch: Sequence[Fact]) -> Sequence[Tensor]:
        effects, most = divergence(model, batch), context.tokens_at_once
        return head_effects(model, hooked, _ablations(hooked, batch), effects, most).unbind()

    # Every head of a layer has rows of its own.
    heads = context.loaded.info.heads
    size = lambda fact: heads * len(fact.ids)  # noqa: E731
    values = torch.stack(context.batched("ships", facts, run, size))
    used = [fact.edit for fact in facts]
    scores = [
        score
        for i, variant in enumerate(VARIANTS)
        for shifts in (values[..., i], values[..., i].mean(-1))
        for score in context.scores(variant, "attn", used, shifts)
    ]
    return Findings(tuple(scores), len(used), settings, context.facts.notes)


def _ablations(
    hooked: HookedModel, facts: Sequence[Fact]
) -> Iterator[tuple[LayerActivations, list[Tensor]]]:
    """For every layer: the visit of the prompts, and z of its heads in the order of `VARIANTS`."""
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    for here in visits(hooked, prompts, HEAD_KINDS):
        yield here, [attending_evenly(hooked, here), SCALE * here.seen["z"]]
