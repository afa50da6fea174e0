"""Attribution patching, slow and obvious: the plain model, one activation of one layer at a time.

Plain torch hooks and autograd; a whole forward and backward for every activation, every dropped
layer and every patched query or key. Rows are single prompts with padding on either side.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from locscope.models.families import INTERLEAVED, STACKED
from locscope.models.parts import blocks, family_of

Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Prompt:
    """One prompt, what is added to its embeddings (tokens, width), and how it is padded."""

    ids: Sequence[int]
    noise: Tensor | float = 0.0
    side: str = "right"
    padding: int = 0

    @property
    def tokens(self) -> slice:
        start = self.padding if self.side == "left" else 0
        return slice(start, start + len(self.ids))


@dataclass(frozen=True)
class Case:
    """The clean and the corrupted prompt, and the metric."""

    clean: Prompt
    corrupted: Prompt
    answer: int
    distractor: int
    metric: str = "logit-diff"


def run(model: PreTrainedModel, prompt: Prompt, attentions: bool = False):
    """The model's own output; logits (tokens, vocabulary) of the real tokens."""
    ids = torch.full((1, len(prompt.ids) + prompt.padding), 5)
    ids[0, prompt.tokens] = torch.tensor(list(prompt.ids))
    mask = torch.zeros_like(ids)
    mask[0, prompt.tokens] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)

    def add(module, args, out):
        out = out.clone()
        out[:, prompt.tokens] += prompt.noise
        return out

    handle = model.get_input_embeddings().register_forward_hook(add)
    try:
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            output_attentions=attentions,
        )
    finally:
        handle.remove()
    return out


def score(case: Case, prompt: Prompt, out) -> Tensor:
    logits = out.logits[0, prompt.tokens][-1].float()
    if case.metric == "logit-diff":
        return logits[case.answer] - logits[case.distractor]
    return logits.softmax(-1)[case.answer]


def value(model: PreTrainedModel, case: Case, prompt: Prompt) -> float:
    with torch.no_grad():
        return float(score(case, prompt, run(model, prompt)))


def _module(model, kind, layer):
    block, family = blocks(model)[layer], family_of(model)
    gemma = model.config.model_type.startswith(("gemma2", "gemma3"))
    paths = {
        "resid_pre": "",
        "resid_post": "",
        "attn_out": "post_attention_layernorm" if gemma else family.attention,
        "mlp_out": "post_feedforward_layernorm" if gemma else family.mlp,
        "z": family.leaves["attn.o"],
        **{name: family.leaves[f"attn.{name}"] for name in "qkv"},
    }
    return block.get_submodule(paths[kind])


def _heads(model, kind):
    config = model.config.get_text_config()
    shared = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return {"q": config.num_attention_heads, "z": config.num_attention_heads}.get(kind, shared)


def _changed(model, kind, whole, change):
    """`whole` with the part that is the activation changed; it comes as (1, tokens, features) or
    (1, tokens, heads, features)."""
    if kind in ("resid_pre", "resid_post", "attn_out", "mlp_out"):
        return change(whole)
    heads = _heads(model, kind)
    layout = family_of(model).layout("attn.q") if kind in "qkv" else ""
    if layout == STACKED:
        pieces = list(whole.chunk(3, -1))
        pieces["qkv".index(kind)] = change(pieces["qkv".index(kind)].unflatten(-1, (heads, -1)))
        return torch.cat([p.flatten(2) if p.dim() == 4 else p for p in pieces], -1)
    if layout == INTERLEAVED:
        pieces = list(whole.unflatten(-1, (heads, 3, -1)).unbind(3))
        pieces["qkv".index(kind)] = change(pieces["qkv".index(kind)])
        return torch.stack(pieces, 3).flatten(2)
    return change(whole.unflatten(-1, (heads, -1))).flatten(2)


@contextmanager
def changed(model: PreTrainedModel, kind: str, layer: int, change: Change):
    """The model with an activation replaced by `change` of it."""
    module = _module(model, kind, layer)

    def before(module, args, kwargs):
        if args:
            return (_changed(model, kind, args[0], change), *args[1:]), kwargs
        hidden = _changed(model, kind, kwargs["hidden_states"], change)
        return args, {**kwargs, "hidden_states": hidden}

    def after(module, args, out):
        if isinstance(out, tuple):
            return (_changed(model, kind, out[0], change), *out[1:])
        return _changed(model, kind, out, change)

    if kind in ("resid_pre", "z"):
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def activation(model: PreTrainedModel, prompt: Prompt, kind: str, layer: int) -> Tensor:
    """(tokens, features) or (tokens, heads, features)."""
    seen = []

    def keep(whole):
        seen.append(whole.detach().clone())
        return whole

    with torch.no_grad(), changed(model, kind, layer, keep):
        run(model, prompt)
    return seen[0][0, prompt.tokens]


@contextmanager
def dropped(model: PreTrainedModel, layer: int | None):
    """Attention and MLP of a layer let no gradient through."""
    with ExitStack() as stack:
        for kind in ("attn_out", "mlp_out") if layer is not None else ():
            stack.enter_context(changed(model, kind, layer, torch.Tensor.detach))
        yield


def gradient(
    model: PreTrainedModel,
    case: Case,
    prompt: Prompt,
    kind: str,
    layer: int,
    drop: int | None = None,
) -> Tensor:
    """Of the metric on a prompt, with respect to an activation of a layer."""
    zeros = torch.zeros_like(activation(model, prompt, kind, layer)).requires_grad_(True)

    def add(whole):
        whole = whole.clone()
        whole[0, prompt.tokens] += zeros
        return whole

    # Hooks run in the order of their making: the zeros come before what is dropped.
    with changed(model, kind, layer, add), dropped(model, drop):
        metric = score(case, prompt, run(model, prompt))
    if not metric.requires_grad:
        return torch.zeros_like(zeros)
    (found,) = torch.autograd.grad(metric, zeros, allow_unused=True)
    return torch.zeros_like(zeros) if found is None else found


def attribution(
    model: PreTrainedModel, case: Case, kind: str, layer: int, drop: int | None = None
) -> Tensor:
    """(clean - corrupted) . gradient at the corrupted run: (tokens) or (tokens, heads)."""
    change = activation(model, case.clean, kind, layer)
    change = change - activation(model, case.corrupted, kind, layer)
    return (change * gradient(model, case, case.corrupted, kind, layer, drop)).sum(-1)


def integrated(
    model: PreTrainedModel, case: Case, kind: str, layer: int, way: Tensor, steps: int
) -> Tensor:
    """The same with the gradient's mean at the middles of `steps` stretches; `way` (tokens, width)
    leads from the corrupted embeddings to the clean ones."""
    change = activation(model, case.clean, kind, layer)
    change = change - activation(model, case.corrupted, kind, layer)
    total = torch.zeros_like(change)
    for step in range(steps):
        moved = case.corrupted.noise + (step + 0.5) / steps * way
        at = replace(case.corrupted, noise=moved)
        total += gradient(model, case, at, kind, layer) / steps
    return (change * total).sum(-1)


def pattern(
    model: PreTrainedModel, prompt: Prompt, layer: int, kind: str, head: int, token: int, new
) -> Tensor:
    """Attention (heads, tokens, tokens) with one query or key replaced; of an eager model."""

    def put(whole):
        whole = whole.clone()
        whole[0, prompt.tokens.start + token, head] = new
        return whole

    with torch.no_grad(), changed(model, kind, layer, put):
        out = run(model, prompt, attentions=True)
    return out.attentions[layer][0][:, prompt.tokens, prompt.tokens]


def pattern_gradient(model: PreTrainedModel, case: Case, layer: int, drop: int) -> Tensor:
    """Of the metric, with respect to the attention pattern of a layer of an eager model."""
    prompt = case.corrupted

    def ask(whole):
        return whole + torch.zeros_like(whole).requires_grad_(True)

    with changed(model, "resid_pre", 0, ask), dropped(model, drop):
        out = run(model, prompt, attentions=True)
    weights = out.attentions[layer]
    (found,) = torch.autograd.grad(score(case, prompt, out), weights, allow_unused=True)
    found = torch.zeros_like(weights) if found is None else found
    return found[0][:, prompt.tokens, prompt.tokens]


def atp_star(model: PreTrainedModel, case: Case, kind: str, layer: int) -> Tensor:
    """The mean of |attribution| over passes with one layer dropped, times layers / (layers - 1);
    queries and keys one by one, linear from the pattern on (an eager model)."""
    layers = len(blocks(model))
    if kind not in ("q", "k"):
        passes = [attribution(model, case, kind, layer, drop) for drop in range(layers)]
        mean = torch.stack(passes).abs().mean(0)
        return mean if kind == "resid_post" else mean * layers / (layers - 1)
    clean, own = (activation(model, p, kind, layer) for p in (case.clean, case.corrupted))
    slopes = [pattern_gradient(model, case, layer, drop) for drop in range(layers)]
    before = pattern(model, case.corrupted, layer, kind, 0, 0, own[0, 0])
    found = torch.zeros(own.shape[:2])
    for token in range(own.shape[0]):
        for head in range(own.shape[1]):
            after = pattern(model, case.corrupted, layer, kind, head, token, clean[token, head])
            effects = [float(((after - before) * slope).sum()) for slope in slopes]
            found[token, head] = sum(map(abs, effects)) / (layers - 1)
    return found
