"""Logit lens: what the model would answer if it stopped after each layer.

The residual stream behind every block, at the prompt's last token, goes through the model's own
final norm and unembedding (nostalgebraist 2020; TransformerLens logit_lens). Variants: `logprob`,
the answer's log-probability in nats, and `gain` over the layer before (the embedding before layer
0), both for the part `block`.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.prompts import at_last, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import hook_name, recording
from locscope.interp.linear import final_norm
from locscope.interp.metrics import log_probability
from locscope.scans.context import Findings, ScanContext


def scan(context: ScanContext) -> Findings:
    """Means with intervals, in nats; `count` is in facts."""
    facts = context.facts.all
    if not facts:
        return Findings((), 0, notes=("the model answers no edit's prompt", *context.facts.notes))

    def run(batch: Sequence[Fact]) -> list[Tensor]:
        return list(logprobs_by_layer(context, batch))

    logprobs = context.batched("logit lens", facts, run, size=lambda fact: len(fact.ids))
    values, used = torch.stack(logprobs), [fact.edit for fact in facts]
    return Findings(
        (
            *context.scores("gain", "block", used, values.diff(dim=1)),
            *context.scores("logprob", "block", used, values[:, 1:]),
        ),
        len(facts),
        settings="the answer's first token, at the prompt's last token",
        notes=context.facts.notes,
    )


@torch.no_grad()
def logprobs_by_layer(context: ScanContext, facts: Sequence[Fact]) -> Float[Tensor, "facts states"]:
    """The answer's log-probability read off the embedding, then off the state behind each block."""
    hooked = context.hooked
    names = [hook_name("resid_pre", 0), *(hook_name("resid_post", n) for n in range(hooked.layers))]
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    answer = torch.tensor([fact.answer[0] for fact in facts], device=prompts.ids.device)
    with recording(hooked, *names) as seen:
        run_blocks(hooked.bridged, prompts.ids)
    norm, values = final_norm(hooked.bridged), []
    # State after state: logits of all of them at once would not fit.
    for name in names:
        scored = logits(hooked.bridged, norm(at_last(seen[name], prompts.last)))
        values.append(log_probability(scored, answer))
    return torch.stack(values, dim=1).cpu()
