"""Activations, and a metric's gradients at them, on the way from a corrupted run to a clean one."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.prompts import Prompts, at_last, prompts_of
from locscope.interp.corruption import CorruptedPair, with_noise
from locscope.interp.hooked_model import (
    HookedModel,
    HookFn,
    hook_name,
    probing,
    recording,
    with_hooks,
)
from locscope.interp.metrics import TokenPair, token_pair_of, value_of

Activations = dict[str, Tensor]
"""By the name of the hook."""


@dataclass(frozen=True)
class Endpoints:
    """Both ends of the way from corrupted to clean: the embeddings of every row (all samples of
    the first fact, then of the next). `prompts` are the corrupted ones."""

    prompts: Prompts
    token_pair: TokenPair
    corrupted: Float[Tensor, "rows seq width"]
    clean: Float[Tensor, "rows seq width"]

    def at(self, share: float) -> Float[Tensor, "rows seq width"]:
        """The embeddings a share of the way from corrupted (0) to clean (1)."""
        # Exact at both ends, in half precision too, as start + share * (end - start) is not.
        return torch.lerp(self.corrupted, self.clean, share)


def ends_of(hooked: HookedModel, corrupted_pairs: Sequence[CorruptedPair]) -> Endpoints:
    """Both ends of facts with equally many samples."""
    samples = corrupted_pairs[0].samples
    each = [one for one in corrupted_pairs for _ in range(samples)]
    facts = [one.fact for one in each]
    prompts = prompts_of(hooked.bridged, [one.ids for one in each])
    clean = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    return Endpoints(
        prompts,
        token_pair_of(facts, [one.distractor for one in each], hooked.bridged.device),
        corrupted=with_noise(_embedded(hooked, prompts), corrupted_pairs),
        clean=_embedded(hooked, clean),
    )


def at_all_layers(hooked: HookedModel, *kinds: str) -> list[str]:
    """The hooks of activations at all layers."""
    return [hook_name(kind, layer) for kind in kinds for layer in range(hooked.layers)]


@torch.no_grad()
def _embedded(hooked: HookedModel, prompts: Prompts) -> Float[Tensor, "rows seq width"]:
    with recording(hooked, hook_name("embed")) as seen:
        run_blocks(hooked.bridged, prompts.ids, stop=0)
    return seen[hook_name("embed")]


def _entered(
    hooked: HookedModel, embeddings: Float[Tensor, "rows seq width"]
) -> AbstractContextManager[None]:
    """The hooked model with these embeddings in the place of its own."""
    return with_hooks(hooked, {hook_name("embed"): embeddings.to})


@torch.no_grad()
def activations(
    hooked: HookedModel, ends: Endpoints, share: float, hooks: Sequence[str]
) -> Activations:
    """What the hooks see a share of the way from corrupted (0) to clean (1)."""
    with _entered(hooked, ends.at(share)), recording(hooked, *hooks) as seen:
        run_blocks(hooked.bridged, ends.prompts.ids)
    return dict(seen)


@torch.no_grad()
def effect_of(hooked: HookedModel, ends: Endpoints, metric: str) -> Float[Tensor, " rows"]:
    """The metric of every row at the clean end less that at the corrupted one."""

    def at(share: float) -> Float[Tensor, " rows"]:
        with _entered(hooked, ends.at(share)):
            states = at_last(run_blocks(hooked.bridged, ends.prompts.ids), ends.prompts.last)
        return value_of(metric, logits(hooked.bridged, states), ends.token_pair)

    return at(1.0) - at(0.0)


@dataclass
class _Valves:
    """The layer whose attention and MLP let no gradient through; none is -1."""

    shut: int = -1


@final
class _Valve(torch.autograd.Function):
    """Lets a value through, and its gradient unless the valves of its layer are shut by then."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, valves: _Valves, layer: int) -> Tensor:
        ctx.valves, ctx.layer = valves, layer
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = grad_outputs
        shut = ctx.valves.shut == ctx.layer
        return torch.zeros_like(gradient) if shut else gradient, None, None


def gradients(
    hooked: HookedModel,
    ends: Endpoints,
    share: float,
    hooks: Sequence[str],
    metric: str,
    drop: bool = False,
) -> Iterator[Activations]:
    """The metric's gradients a share of the way; with `drop` then also those with every layer in
    turn shut, from the same forward pass."""
    valves = _Valves()
    shutting = _shutting(hooked, valves) if drop else {}
    with (
        torch.enable_grad(),
        _entered(hooked, ends.at(share)),
        probing(hooked, *hooks) as zeros,
        with_hooks(hooked, shutting),
    ):
        states = at_last(run_blocks(hooked.bridged, ends.prompts.ids), ends.prompts.last)
        value = value_of(metric, logits(hooked.bridged, states), ends.token_pair).sum()
    wanted = [zeros[name] for name in hooks]
    for layer in range(-1, hooked.layers if drop else 0):
        valves.shut = layer
        found = torch.autograd.grad(value, wanted, retain_graph=drop)
        yield {name: one.float() for name, one in zip(hooks, found, strict=True)}


def _shutting(hooked: HookedModel, valves: _Valves) -> dict[str, HookFn]:
    def valve(layer: int) -> HookFn:
        return lambda value: _Valve.apply(value, valves, layer)  # type: ignore[no-any-return]

    kinds = ("attn_out", "mlp_out")
    return {
        hook_name(kind, layer): valve(layer) for kind in kinds for layer in range(hooked.layers)
    }
