"""Activations and a metric's gradients at points between corrupted and clean embeddings."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.prefix_cache import Batch
from locscope.forward.prompts import at_last, prompts_of
from locscope.interp.corruption import CorruptedPair, with_noise
from locscope.interp.hooked_model import (
    HookedModel,
    HookFn,
    hook_name,
    probing,
    recording,
    with_hooks,
)
from locscope.interp.metrics import answers_of, value_of

Activations = dict[str, Tensor]
"""By the name of the hook."""


@dataclass(frozen=True)
class Endpoints:
    """The corrupted and the clean embeddings of every row, between which gradients are taken.

    Rows are all samples of the first fact, then of the next. `prompts` are the corrupted ones.
    Answers and distractors are first tokens.
    """

    prompts: Batch
    answers: Int[Tensor, " rows"]
    distractors: Int[Tensor, " rows"]
    corrupted: Float[Tensor, "rows seq width"]
    clean: Float[Tensor, "rows seq width"]

    def at(self, share: float) -> Float[Tensor, "rows seq width"]:
        """The embeddings at a share of the way from corrupted (0) to clean (1)."""
        # Exact at both ends in half precision too, which start + share * (end - start) is not.
        return torch.lerp(self.corrupted, self.clean, share)


def ends_of(hooked: HookedModel, corrupted_pairs: Sequence[CorruptedPair]) -> Endpoints:
    """The endpoints of facts with equally many samples."""
    samples = corrupted_pairs[0].samples
    rows = [pair for pair in corrupted_pairs for _ in range(samples)]
    facts = [pair.fact for pair in rows]
    prompts = prompts_of(hooked.bridged, [pair.ids for pair in rows])
    clean = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    device = hooked.bridged.device
    return Endpoints(
        prompts,
        answers_of(facts, device),
        torch.tensor([pair.distractor for pair in rows], device=device),
        corrupted=with_noise(_embedded(hooked, prompts), corrupted_pairs),
        clean=_embedded(hooked, clean),
    )


def at_all_layers(hooked: HookedModel, *kinds: str) -> list[str]:
    """The hooks of activations at all layers."""
    return [hook_name(kind, layer) for kind in kinds for layer in range(hooked.layers)]


@torch.no_grad()
def _embedded(hooked: HookedModel, prompts: Batch) -> Float[Tensor, "rows seq width"]:
    with recording(hooked, hook_name("embed")) as seen:
        run_blocks(hooked.bridged, prompts.ids, stop=0)
    return seen[hook_name("embed")]


def _entered(
    hooked: HookedModel, embeddings: Float[Tensor, "rows seq width"]
) -> AbstractContextManager[None]:
    """The hooked model with these embeddings instead of its own."""
    return with_hooks(hooked, {hook_name("embed"): embeddings.to})


@torch.no_grad()
def activations(
    hooked: HookedModel, ends: Endpoints, share: float, hooks: Sequence[str]
) -> Activations:
    """The hooks' activations at a share of the way from corrupted (0) to clean (1)."""
    with _entered(hooked, ends.at(share)), recording(hooked, *hooks) as seen:
        run_blocks(hooked.bridged, ends.prompts.ids)
    return dict(seen)


@torch.no_grad()
def effect_of(hooked: HookedModel, ends: Endpoints, metric: str) -> Float[Tensor, " rows"]:
    """The metric of every row at the clean end less that at the corrupted one."""

    def at(share: float) -> Float[Tensor, " rows"]:
        with _entered(hooked, ends.at(share)):
            states = at_last(run_blocks(hooked.bridged, ends.prompts.ids), ends.prompts.last)
        scored = logits(hooked.bridged, states)
        return value_of(metric, scored, ends.answers, ends.distractors)

    return at(1.0) - at(0.0)


@final
class _GradientMask(torch.autograd.Function):
    """The identity, whose gradient is zero if its layer is masked when the backward pass runs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, masked: set[int], layer: int) -> Tensor:
        ctx.masked, ctx.layer = masked, layer
        # A view: autograd refuses a function that returns its input itself unmarked.
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = grad_outputs
        return torch.zeros_like(gradient) if ctx.layer in ctx.masked else gradient, None, None


def gradients(
    hooked: HookedModel,
    ends: Endpoints,
    share: float,
    hooks: Sequence[str],
    metric: str,
    drop: bool = False,
) -> Iterator[Activations]:
    """The metric's gradients at a share of the way.

    With `drop` (GradDrop) they are followed by those in which each layer's attention and MLP in
    turn pass no gradient on, from the same forward pass.
    """
    # Read by the backward passes, so that one graph serves all of them.
    masked: set[int] = set()
    with (
        torch.enable_grad(),
        _entered(hooked, ends.at(share)),
        probing(hooked, *hooks) as zeros,
        with_hooks(hooked, _masking(hooked, masked) if drop else {}),
    ):
        states = at_last(run_blocks(hooked.bridged, ends.prompts.ids), ends.prompts.last)
        scored = logits(hooked.bridged, states)
        value = value_of(metric, scored, ends.answers, ends.distractors).sum()
    wanted = [zeros[name] for name in hooks]
    # Layer -1 is none: the plain gradients come first.
    for layer in range(-1, hooked.layers if drop else 0):
        masked.clear()
        masked.add(layer)
        # The graph stays for the passes that drop a layer: the forward pass runs once for all.
        slopes = torch.autograd.grad(value, wanted, retain_graph=drop)
        yield {name: slope.float() for name, slope in zip(hooks, slopes, strict=True)}


def _masking(hooked: HookedModel, masked: set[int]) -> dict[str, HookFn]:
    def mask(layer: int) -> HookFn:
        return lambda value: _GradientMask.apply(value, masked, layer)  # type: ignore[no-any-return]

    kinds = ("attn_out", "mlp_out")
    return {hook_name(kind, layer): mask(layer) for kind in kinds for layer in range(hooked.layers)}
