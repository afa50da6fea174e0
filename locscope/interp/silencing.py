"""What replaces a silenced activation: zero, its mean, or that of another prompt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from locscope.errors import unknown
from locscope.forward.batching import in_batches
from locscope.forward.blocks import run_blocks
from locscope.forward.prompts import prompts_of
from locscope.interp.ablation import LayerActivations, visits
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, with_hooks

HOW = {
    "zero": "set to zero",
    "mean": "set to its mean over all tokens of all prompts",
    "resample": "taken from another prompt, of the same length where there is one",
}
NOTHING = "no request has an answer (or, resampled, all prompts are the same)"


@dataclass(frozen=True)
class Ablation:
    """What replaces a silenced activation, as in `HOW`, and the facts for which there is one.

    `means` has one per layer where the mean replaces it; `partners` gives every edit the prompt of
    another where it is resampled.
    """

    how: str
    facts: tuple[Fact, ...]
    means: tuple[Tensor, ...] = ()
    partners: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def tokens(self, fact: Fact) -> int:
        """The longest prompt that is run for a fact."""
        return max(len(fact.ids), len(self.partners.get(fact.edit, ())))

    def over(
        self, hooked: HookedModel, facts: Sequence[Fact], kinds: Sequence[str]
    ) -> Iterator[tuple[LayerActivations, Tensor]]:
        """For every layer: the visit of the facts' prompts, and what replaces the first kind.

        Resampled, a token takes the activation of the other prompt's token at the same position;
        beyond the end of that prompt, the activation of its last token.
        """
        own = prompts_of(hooked.bridged, [fact.ids for fact in facts])
        if self.how == "resample":
            other = prompts_of(hooked.bridged, [self.partners[fact.edit] for fact in facts])
            # Both prompts go up layer by layer side by side: no activation of all layers is held.
            pairs = zip(visits(hooked, own, kinds), visits(hooked, other, kinds[:1]), strict=True)
            for here, there in pairs:
                yield here, _aligned(there, kinds[0], own.ids.shape[1])
            return
        for here in visits(hooked, own, kinds):
            value = here.seen[kinds[0]]
            mean = self.means[here.layer].to(value) if self.means else torch.zeros_like(value)
            yield here, mean.expand_as(value)


def ablation_of(
    hooked: HookedModel, facts: Sequence[Fact], kind: str, how: str, seed: int, tokens_at_once: int
) -> Ablation:
    """Prepares an ablation, by default to zero.

    Resampled, facts are left out where no prompt differs from theirs. Raises UsageError where
    there is no ablation of that name.
    """
    how = "zero" if how == "default" else how
    if how not in HOW:
        raise unknown("ablation", how, HOW)
    if how == "mean":
        return Ablation(how, tuple(facts), means=_means(hooked, facts, kind, tokens_at_once))
    if how == "resample":
        partners = _partners(facts, seed)
        paired = tuple(fact for fact in facts if fact.edit in partners)
        return Ablation(how, paired, partners=partners)
    return Ablation(how, tuple(facts))


def _aligned(there: LayerActivations, kind: str, length: int) -> Tensor:
    value, last = there.seen[kind], there.prompts.last
    tokens = torch.arange(length, device=last.device)[None].minimum(last[:, None])
    return value[torch.arange(len(value), device=last.device)[:, None], tokens]


def _partners(facts: Sequence[Fact], seed: int) -> dict[str, tuple[int, ...]]:
    """For every fact the prompt of another: of the same length, or else of the nearest."""
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for ids in dict.fromkeys(fact.ids for fact in facts):
        by_length.setdefault(len(ids), []).append(ids)
    partners: dict[str, tuple[int, ...]] = {}
    for fact in facts:
        nearest = _nearest(fact.ids, by_length)
        if nearest:
            # From the fact's own tokens: neither its batch nor its number decides what is drawn.
            drawn = np.random.default_rng([seed, *fact.ids]).integers(len(nearest))
            partners[fact.edit] = nearest[drawn]
    return partners


def _nearest(
    own: tuple[int, ...], by_length: Mapping[int, Sequence[tuple[int, ...]]]
) -> list[tuple[int, ...]]:
    """The other prompts whose length is nearest."""
    lengths = [n for n, prompts in by_length.items() if n != len(own) or len(prompts) > 1]
    apart = min((abs(n - len(own)) for n in lengths), default=0)
    near = (prompts for n, prompts in by_length.items() if abs(n - len(own)) == apart)
    return [ids for prompts in near for ids in prompts if ids != own]


@torch.no_grad()
def _means(
    hooked: HookedModel, facts: Sequence[Fact], kind: str, tokens_at_once: int
) -> tuple[Tensor, ...]:
    """For every layer the mean of an activation over all tokens of all facts, in float64."""
    total: dict[str, Tensor] = {}

    def run(batch: Sequence[Fact]) -> list[None]:
        # Added only when the batch is through: one that does not fit is halved and run again.
        for name, value in _sums(hooked, batch, kind).items():
            total[name] = total.get(name, 0.0) + value
        return [None] * len(batch)

    in_batches(facts, run, size=lambda fact: len(fact.ids), tokens_at_once=tokens_at_once)
    count = sum(len(fact.ids) for fact in facts)
    return tuple(total[hook_name(kind, layer)] / count for layer in range(hooked.layers))


def _sums(hooked: HookedModel, facts: Sequence[Fact], kind: str) -> dict[str, Tensor]:
    """Of every layer's hook, the sum of its activation over the tokens that are not padding."""
    prompts = prompts_of(hooked.bridged, [fact.ids for fact in facts])
    tokens = torch.arange(prompts.ids.shape[1], device=prompts.last.device)
    real, sums = tokens[None] <= prompts.last[:, None], dict[str, Tensor]()

    def adding(name: str) -> HookFn:
        def add(value: Tensor) -> None:
            sums[name] = value[real].cpu().double().sum(0)

        return add

    names = [hook_name(kind, layer) for layer in range(hooked.layers)]
    with with_hooks(hooked, {name: adding(name) for name in names}):
        run_blocks(hooked.bridged, prompts.ids)
    return sums
