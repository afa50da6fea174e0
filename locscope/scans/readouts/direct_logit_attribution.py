"""Direct logit attribution: what each component itself writes towards the answer.

The residual stream at the prompt's last token is the sum of what the embedding, every attention and
every MLP wrote. With the final norm's scale frozen (and, for heads, that of a norm behind
attention) each summand has its share of the logit difference between the answer and the untouched
model's next best token, before any soft-capping; the shares and the biases sum to the whole. After
Elhage et al. 2021. Parts are `attn` (the layer's, and its heads), `mlp`, and `block`, their sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.forward.blocks import run_blocks
from locscope.forward.prompts import at_last, prompts_of
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel, hook_name, recording
from locscope.interp.linear import (
    final_norm,
    frozen_norm,
    head_outputs,
    norm_after_attention,
    norm_bias,
)
from locscope.interp.metrics import answers_of, runners_up
from locscope.models.parts import logit_scale, residual_scale
from locscope.records import ScanTotal
from locscope.scans.context import Findings, ScanContext

VARIANT = "logit-diff"
TOTALS = {"logit difference": "whole", "embedding": "embedding", "biases": "biases"}


@dataclass(frozen=True)
class Shares:
    """One fact's logit difference as a sum: `embedding` + `attn` + `mlp` + `biases` = `whole`.

    `heads` sum to `attn`, without the bias of the attention's output (and its norm's).
    """

    embedding: float
    attn: Float[Tensor, " layers"]
    mlp: Float[Tensor, " layers"]
    heads: Float[Tensor, "layers heads"]
    biases: float
    whole: float


def scan(context: ScanContext) -> Findings:
    """Mean shares with intervals, in logits; `count` is in facts."""
    facts = context.facts.all
    if not facts:
        return Findings((), 0, notes=("the model answers no edit's prompt", *context.facts.notes))
    distractors = runners_up(context.hooked, facts, context.tokens_at_once)
    shares = context.batched(
        "direct logit attribution",
        facts,
        lambda batch: shares_of(context, batch, distractors),
        size=lambda fact: len(fact.ids),
    )
    used = [fact.edit for fact in facts]
    attn = torch.stack([of_fact.attn for of_fact in shares])
    mlp = torch.stack([of_fact.mlp for of_fact in shares])
    heads = torch.stack([of_fact.heads for of_fact in shares])
    totals = tuple(
        context.total(name, used, [getattr(of_fact, field) for of_fact in shares])
        for name, field in TOTALS.items()
    )
    return Findings(
        (
            *context.scores(VARIANT, "block", used, attn + mlp),
            *context.scores(VARIANT, "attn", used, attn),
            *context.scores(VARIANT, "mlp", used, mlp),
            *context.scores(VARIANT, "attn", used, heads),
        ),
        len(facts),
        settings="answer against the next best token, scale of the final norm held",
        notes=(_note(totals), *_capped(context), *context.facts.notes),
        totals=totals,
    )


@torch.no_grad()
def shares_of(
    context: ScanContext, facts: Sequence[Fact], distractors: Mapping[str, int]
) -> list[Shares]:
    """Decomposes the logit difference of every fact, at its prompt's last token."""
    hooked, layers = context.hooked, range(context.hooked.layers)
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    rivals = [distractors[fact.edit] for fact in facts]
    kinds = ("attn_out", "mlp_out", "heads_out", "z")
    names = [hook_name(kind, layer) for kind in kinds for layer in layers]
    ends = [hook_name("resid_pre", 0), hook_name("resid_post", hooked.layers - 1)]
    with recording(hooked, *names, *ends) as seen:
        run_blocks(hooked.bridged, prompts.ids)
    last = {name: at_last(value, prompts.last) for name, value in seen.items()}
    stream, norm = last[ends[1]], final_norm(hooked.bridged)
    part = frozen_norm(norm, stream)
    # In float32: shares of opposite sign cancel, and their sum must still be the whole.
    device = hooked.bridged.device
    towards, bias = _direction(
        hooked, answers_of(facts, device), torch.tensor(rivals, device=device)
    )

    def share(value: Tensor) -> Tensor:
        """The logits (rows, parts) that parts (rows, parts, width) of the stream write."""
        return torch.einsum("rpw,rw->rp", part(value.float()), towards).cpu()

    attn, mlp = (
        share(torch.stack([last[hook_name(kind, n)] for n in layers], dim=1)) for kind in kinds[:2]
    )
    heads = torch.stack([share(_heads(context, last, layer)) for layer in layers], dim=1)
    embedding = share(last[ends[0]][:, None])[:, 0]
    biases = (towards @ norm_bias(norm, stream) + bias).cpu()
    whole = (part(stream.float()) * towards).sum(-1).cpu() + biases
    return [
        Shares(float(embedding[i]), attn[i], mlp[i], heads[i], float(biases[i]), float(whole[i]))
        for i in range(len(facts))
    ]


def _direction(
    hooked: HookedModel, answers: Int[Tensor, " rows"], distractors: Int[Tensor, " rows"]
) -> tuple[Float[Tensor, "rows width"], Float[Tensor, " rows"]]:
    """The unembedding of the answer less that of the distractor, and the same of its bias, in
    logits: times what the model multiplies its logits with."""
    head: Any = hooked.bridged.get_output_embeddings()
    factor, _ = logit_scale(hooked.bridged)
    towards = head.weight[answers].float() - head.weight[distractors].float()
    towards = factor * towards
    # Few families have one; without it the attribute of nn.Linear is None.
    bias = getattr(head, "bias", None)
    if bias is None:
        return towards, torch.zeros_like(towards[:, 0])
    bias = bias[answers].float() - bias[distractors].float()
    return towards, factor * bias


def _heads(
    context: ScanContext, last: dict[str, Tensor], layer: int
) -> Float[Tensor, "rows heads width"]:
    """What each head adds to the stream: through the norm behind attention, where there is one,
    and as scaled on its way."""
    z = last[hook_name("z", layer)][:, None].float()
    out = head_outputs(context.loaded.model, layer, z)[:, 0]
    norm = norm_after_attention(context.loaded.model, layer)
    if norm is not None:
        out = frozen_norm(norm, last[hook_name("heads_out", layer)])(out)
    return residual_scale(context.loaded.model) * out


def _capped(context: ScanContext) -> tuple[str, ...]:
    _, cap = logit_scale(context.loaded.model)
    return (
        () if cap is None else (f"logits are those before the model softly caps them at {cap:g}",)
    )


def _note(totals: Sequence[ScanTotal]) -> str:
    whole, *rest = (f"{total.name} {total.value:.3f}" for total in totals)
    return f"mean {whole} logits, of which {', '.join(rest)}"
