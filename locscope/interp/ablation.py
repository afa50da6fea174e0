"""Exact ablation: the model's final states when one head, or one MLP, is silenced at all tokens.

The heads of a layer differ only in what they write, so a layer's attention runs once for all of
them. From there one copy of the prompts per head goes on, with the sum of the heads changed by what
the silenced one wrote. The copies are the rows of one batch, and nothing below the layer is
computed again. Only the residual stream that enters the present layer is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.forward.batching import in_batches
from locscope.forward.blocks import run_blocks
from locscope.forward.prefix_cache import Batch
from locscope.forward.prompts import at_last
from locscope.forward.resume import resumed
from locscope.interp.effects import EffectFn, effects_of
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, recording, with_hooks
from locscope.interp.linear import head_matrices

HEAD_KINDS = ("z", "heads_out")
"""Activations that a visit must record for heads to be silenced."""


@dataclass(frozen=True)
class LayerActivations:
    """The residual stream before and after a block, and activations within it, for some prompts.

    `before` is None at layer 0, where ids are embedded; `seen` goes by the names of
    `hooked_model.ACTIVATIONS`.
    """

    prompts: Batch
    layer: int
    before: Float[Tensor, "prompts seq width"] | None
    after: Float[Tensor, "prompts seq width"]
    seen: Mapping[str, Tensor]


@torch.no_grad()
def visit(
    hooked: HookedModel,
    prompts: Batch,
    layer: int,
    before: Float[Tensor, "prompts seq width"] | None,
    kinds: Sequence[str],
    edits: Mapping[str, HookFn] | None = None,
) -> LayerActivations:
    """Runs one block, with its activations edited, and records those of the given kinds."""
    names = {kind: hook_name(kind, layer) for kind in (*kinds, "resid_post")}
    stop = layer + 1 if layer + 1 < hooked.layers else None
    with with_hooks(hooked, edits or {}), recording(hooked, *names.values()) as seen:
        run_blocks(hooked.bridged, prompts.ids, layer, before, stop)
    recorded = {kind: seen[name] for kind, name in names.items()}
    return LayerActivations(prompts, layer, before, recorded.pop("resid_post"), recorded)


def visits(hooked: HookedModel, prompts: Batch, kinds: Sequence[str]) -> Iterator[LayerActivations]:
    """Visits the untouched blocks, one after another."""
    before = None
    for layer in range(hooked.layers):
        here = visit(hooked, prompts, layer, before, kinds)
        before = here.after
        yield here


@torch.no_grad()
def without_each_head(
    model: PreTrainedModel,
    hooked: HookedModel,
    here: LayerActivations,
    instead: Float[Tensor, "prompts seq heads head_width"],
    tokens_at_once: int,
    edits: Mapping[str, HookFn] | None = None,
) -> Float[Tensor, "heads prompts width"]:
    """Final states of the last tokens when `instead` replaces each head's z in turn.

    `here` has recorded `HEAD_KINDS`. `edits` hold in the layers above too: then the hooked model
    runs them, otherwise the plain model, which is faster.
    """
    change = instead - here.seen["z"]
    heads, tokens = change.shape[2], here.prompts.ids.numel()
    matrices = head_matrices(model, here.layer, heads)

    def run(silenced: Sequence[int]) -> list[Float[Tensor, "prompts width"]]:
        # The output matrix is linear: only what the silenced head writes is computed anew.
        written = torch.einsum("bshd,hdw->hbsw", change[:, :, silenced], matrices[silenced])
        out = (here.seen["heads_out"] + written).flatten(0, 1)
        final = _onwards(model, hooked, here, out, edits)
        return list(final.unflatten(0, (len(silenced), -1)))

    return torch.stack(
        in_batches(range(heads), run, size=lambda _: tokens, tokens_at_once=tokens_at_once)
    )


def _onwards(
    model: PreTrainedModel,
    hooked: HookedModel,
    here: LayerActivations,
    out: Float[Tensor, "rows seq width"],
    edits: Mapping[str, HookFn] | None,
) -> Float[Tensor, "rows width"]:
    """Final states of copies of the prompts, from the sum of a block's heads on."""
    copies = len(out) // len(here.prompts.ids)
    ids, last = here.prompts.ids.repeat(copies, 1), here.prompts.last.repeat(copies)
    before = None if here.before is None else here.before.repeat(copies, 1, 1)
    if not edits:
        return resumed(model, ids, last, here.layer, before, out)
    with with_hooks(hooked, {**edits, hook_name("heads_out", here.layer): lambda _: out}):
        return at_last(run_blocks(hooked.bridged, ids, here.layer, before), last)


@torch.no_grad()
def without_mlp(
    hooked: HookedModel, here: LayerActivations, instead: Float[Tensor, "prompts seq width"]
) -> Float[Tensor, "prompts width"]:
    """Final states of the last tokens when the layer's MLP writes `instead`."""
    with with_hooks(hooked, {hook_name("mlp_out", here.layer): lambda _: instead}):
        final = run_blocks(hooked.bridged, here.prompts.ids, here.layer, here.before)
    return at_last(final, here.prompts.last)


@torch.no_grad()
def attending_evenly(
    hooked: HookedModel, here: LayerActivations
) -> Float[Tensor, "prompts seq heads head_width"]:
    """z of every head if it attended evenly to all tokens that its mask allows."""
    # A query of zero makes all scores equal. A small factor would not do: the norms of queries in
    # Qwen 3 and Gemma 3 undo it, but leave zero as it is.
    even: dict[str, HookFn] = {hook_name("q", here.layer): torch.zeros_like}
    return visit(hooked, here.prompts, here.layer, here.before, ("z",), even).seen["z"]


@torch.no_grad()
def head_effects(
    model: PreTrainedModel,
    hooked: HookedModel,
    replacements: Iterable[tuple[LayerActivations, Sequence[Tensor]]],
    effects: EffectFn,
    tokens_at_once: int,
) -> Float[Tensor, "facts layers heads effects"]:
    """What silencing each head does to each fact, on the CPU.

    `replacements` has every layer's visit with the z that replace those of its heads, one after
    another; the effects of the first replacement come first.
    """
    layers: list[Tensor] = []
    for here, alternatives in replacements:
        values = [
            effects_of(model, without_each_head(model, hooked, here, z, tokens_at_once), effects)
            for z in alternatives
        ]
        layers.append(torch.cat(values, dim=-1))
    return torch.stack(layers, dim=1)


@torch.no_grad()
def mlp_effects(
    model: PreTrainedModel,
    hooked: HookedModel,
    replacements: Iterable[tuple[LayerActivations, Tensor]],
    effects: EffectFn,
) -> Float[Tensor, "facts layers effects"]:
    """What silencing each MLP does to each fact, on the CPU."""
    layers = [
        effects_of(model, without_mlp(hooked, here, instead)[None], effects)
        for here, instead in replacements
    ]
    return torch.cat(layers, dim=1)
