"""What the residual stream says through final norm and unembedding, slow and obvious: the plain
model, one prompt and one component at a time, norms written out."""

import torch
from reference.attribution import Prompt, activation, run
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.parts import blocks, body, family_of


def final_norm(model: PreTrainedModel):
    names = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}
    return getattr(body(model), names.get(model.config.model_type, "norm"))


def level(model: PreTrainedModel, prompt: Prompt, state: Tensor, answer: int) -> float:
    """The answer's log-probability if this were the last state."""
    with torch.no_grad():
        logits = model.get_output_embeddings()(final_norm(model)(state)).float()
        cap = getattr(model.config, "final_logit_softcapping", None)
        if cap is not None:
            logits = cap * torch.tanh(logits / cap)
        return float(logits.log_softmax(-1)[answer])


def states(model: PreTrainedModel, prompt: Prompt) -> list[Tensor]:
    """Of the last token: the embedding, then what leaves every block."""
    layers = range(len(blocks(model)))
    behind = [activation(model, prompt, "resid_post", layer)[-1] for layer in layers]
    return [activation(model, prompt, "resid_pre", 0)[-1], *behind]


def normed(norm, part: Tensor, whole: Tensor) -> Tensor:
    """What a part of `whole` becomes, the scale being that of `whole`; no bias."""
    if isinstance(norm, torch.nn.LayerNorm):
        return (part - part.mean()) / torch.sqrt(whole.var(correction=0) + norm.eps) * norm.weight
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    gain = 1 + norm.weight if type(norm).__name__.startswith("Gemma") else norm.weight
    return part / torch.sqrt(whole.square().mean() + eps) * gain


def share(
    model: PreTrainedModel, part: Tensor, whole: Tensor, answer: int, distractor: int
) -> float:
    """What a part of the last state writes to the logit difference, before any capping."""
    weight = model.get_output_embeddings().weight
    return float(normed(final_norm(model), part, whole) @ (weight[answer] - weight[distractor]))


def difference(model: PreTrainedModel, prompt: Prompt, answer: int, distractor: int) -> float:
    """The model's own logit difference at the last token, its capping undone."""
    with torch.no_grad():
        logits = run(model, prompt).logits[0, prompt.tokens][-1].double()
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap is not None:
        logits = cap * torch.atanh(logits / cap)
    return float(logits[answer] - logits[distractor])


def head_part(model: PreTrainedModel, prompt: Prompt, layer: int, head: int) -> Tensor:
    """What a head adds to the stream at the last token."""
    z = activation(model, prompt, "z", layer)[-1]
    block, family = blocks(model)[layer], family_of(model)
    project = block.get_submodule(family.leaves["attn.o"])
    alone = torch.zeros_like(z)
    alone[head] = z[head]
    with torch.no_grad():
        nothing = project(torch.zeros_like(z).flatten()[None])[0]
        part = project(alone.flatten()[None])[0] - nothing
        whole = project(z.flatten()[None])[0]
    if not model.config.model_type.startswith(("gemma2", "gemma3")):
        return part
    return normed(block.post_attention_layernorm, part, whole)
