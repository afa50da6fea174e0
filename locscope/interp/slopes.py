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
from locscope.interp.corruption import Contrast, with_noise
from locscope.interp.hooked_model import Edit, Lens, hooked, place, probed, recorded
from locscope.interp.metrics import Rivals, rivals_of, value_of

Activations = dict[str, Tensor]
"""By the name of the hook."""


@dataclass(frozen=True)
class Ends:
    """Both ends of the way from corrupted to clean: the embeddings of every row (all samples of
    the first fact, then of the next). `prompts` are the corrupted ones."""

    prompts: Prompts
    rivals: Rivals
    corrupted: Float[Tensor, "rows seq width"]
    clean: Float[Tensor, "rows seq width"]

    def at(self, share: float) -> Float[Tensor, "rows seq width"]:
        """The embeddings a share of the way from corrupted (0) to clean (1)."""
        # Exact at both ends, in half precision too, as start + share * (end - start) is not.
        return torch.lerp(self.corrupted, self.clean, share)


def ends_of(lens: Lens, contrasts: Sequence[Contrast]) -> Ends:
    """Both ends of facts with equally many samples."""
    samples = contrasts[0].samples
    each = [one for one in contrasts for _ in range(samples)]
    facts = [one.fact for one in each]
    prompts = prompts_of(lens.twin, [one.ids for one in each])
    clean = prompts_of(lens.twin, [fact.ids for fact in facts])
    return Ends(
        prompts,
        rivals_of(facts, [one.foil for one in each], lens.twin.device),
        corrupted=with_noise(_embedded(lens, prompts), contrasts),
        clean=_embedded(lens, clean),
    )


def at_all_layers(lens: Lens, *kinds: str) -> list[str]:
    """The hooks of activations at all layers."""
    return [place(kind, layer) for kind in kinds for layer in range(lens.layers)]


@torch.no_grad()
def _embedded(lens: Lens, prompts: Prompts) -> Float[Tensor, "rows seq width"]:
    with recorded(lens, place("embed")) as seen:
        run_blocks(lens.twin, prompts.ids, stop=0)
    return seen[place("embed")]


def _entered(
    lens: Lens, embeddings: Float[Tensor, "rows seq width"]
) -> AbstractContextManager[None]:
    """The twin with these embeddings in the place of its own."""
    return hooked(lens, {place("embed"): embeddings.to})


@torch.no_grad()
def activations(lens: Lens, ends: Ends, share: float, hooks: Sequence[str]) -> Activations:
    """What the hooks see a share of the way from corrupted (0) to clean (1)."""
    with _entered(lens, ends.at(share)), recorded(lens, *hooks) as seen:
        run_blocks(lens.twin, ends.prompts.ids)
    return dict(seen)


@torch.no_grad()
def effect_of(lens: Lens, ends: Ends, metric: str) -> Float[Tensor, " rows"]:
    """The metric of every row at the clean end less that at the corrupted one."""

    def at(share: float) -> Float[Tensor, " rows"]:
        with _entered(lens, ends.at(share)):
            states = at_last(run_blocks(lens.twin, ends.prompts.ids), ends.prompts.last)
        return value_of(metric, logits(lens.twin, states), ends.rivals)

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
    lens: Lens,
    ends: Ends,
    share: float,
    hooks: Sequence[str],
    metric: str,
    drop: bool = False,
) -> Iterator[Activations]:
    """The metric's gradients a share of the way; with `drop` then also those with every layer in
    turn shut, from the same forward pass."""
    valves = _Valves()
    shutting = _shutting(lens, valves) if drop else {}
    with (
        torch.enable_grad(),
        _entered(lens, ends.at(share)),
        probed(lens, *hooks) as zeros,
        hooked(lens, shutting),
    ):
        states = at_last(run_blocks(lens.twin, ends.prompts.ids), ends.prompts.last)
        value = value_of(metric, logits(lens.twin, states), ends.rivals).sum()
    wanted = [zeros[name] for name in hooks]
    for layer in range(-1, lens.layers if drop else 0):
        valves.shut = layer
        found = torch.autograd.grad(value, wanted, retain_graph=drop)
        yield {name: one.float() for name, one in zip(hooks, found, strict=True)}


def _shutting(lens: Lens, valves: _Valves) -> dict[str, Edit]:
    def valve(layer: int) -> Edit:
        return lambda value: _Valve.apply(value, valves, layer)  # type: ignore[no-any-return]

    kinds = ("attn_out", "mlp_out")
    return {place(kind, layer): valve(layer) for kind in kinds for layer in range(lens.layers)}
