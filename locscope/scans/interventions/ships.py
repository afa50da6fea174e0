"""Ships: how far does the distribution of the answer move when one head is disturbed?

Zhou et al. (arXiv 2410.13708): a head's importance for a query is KL(untouched ||
disturbed) at the prompt's last token. `undifferentiated`: the head attends evenly to its whole
causal past, as its query is set to zero. `scaling`: the head's output is all but removed.
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
"""What is left of a head's output: the paper's epsilon."""


def scan(context: ScanContext) -> Findings:
    """Mean shifts over requests, in nats; an attention's score (head -1) is the mean of its heads'.

    In each of them all other heads are as they were.
    """
    model, hooked, facts = context.loaded.model, context.hooked, context.facts.all
    settings = f"queries zero; outputs times {SCALE:g}; at all tokens"
    if not facts:
        return Findings((), 0, settings, ("no request has an answer", *context.facts.notes))

    def run(some: Sequence[Fact]) -> Sequence[Tensor]:
        ways = _ways(hooked, some)
        most = context.tokens_at_once
        return head_effects(model, hooked, some, ways, divergence, most).unbind()

    heads = context.loaded.info.heads
    size = lambda fact: heads * len(fact.ids)  # noqa: E731
    values = torch.stack(context.batched("ships", facts, run, size))
    used = [fact.edit for fact in facts]
    scores = [
        score
        for i, variant in enumerate(VARIANTS)
        for one in (values[..., i], values[..., i].mean(-1))
        for score in context.scores(variant, "attn", used, one)
    ]
    return Findings(tuple(scores), len(used), settings, context.facts.notes)


def _ways(
    hooked: HookedModel, facts: Sequence[Fact]
) -> Iterator[tuple[LayerActivations, list[Tensor]]]:
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    for here in visits(hooked, prompts, HEAD_KINDS):
        yield here, [attending_evenly(hooked, here), SCALE * here.seen["z"]]
