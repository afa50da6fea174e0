"""Attribution patching: a first-order estimate of what every clean activation brings back.

Facts are corrupted by a swap of their subject (or by noise), and clean activations are patched into
the corrupted run: a score above zero speaks for the answer. Variants: `attribution` (plain),
`integrated` where there are steps, `atp-star` (absolute values: a bound, without sign).

A location's score is the sum over all tokens of the prompt: `block` is the residual stream behind
the block, `attn` and `mlp` what they add to it, `attn.q`, `attn.k`, `attn.v` the sum of their
heads. Token roles have sums over the role's tokens. A head of `attn` is its output before the
output matrix; heads of `attn.k` and `attn.v` are key-value heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from locscope.forward.batching import tokens_worth
from locscope.interp.attribution import ENTRY, Estimates, estimated
from locscope.interp.corruption import CORRUPTIONS, CorruptedPair, corruption_named, left_out
from locscope.interp.facts import ROLES, Fact
from locscope.interp.metrics import METRICS, metric_named
from locscope.interp.slopes import effect_of, ends_of
from locscope.records import ScanScore, ScanTotal
from locscope.scans.context import Findings, ScanContext
from locscope.scans.gradients.completeness import completeness_gap, gap_note

TOKENWISE = ("block", "attn", "mlp")
WORTH = partial(tokens_worth, states=49, patterns=9, backward=True)
"""Of seven activations: clean, corrupted, a zero that requires a gradient, and the gradients of the
pass before and of this one in float32. Patterns: two of the corrupted run, two patched, a zero,
gradients."""


@dataclass(frozen=True)
class FactEstimates:
    """One fact's estimates by variant and component.

    `locations` are sums over all tokens, with heads where the component has them; `roles` sums over
    the tokens of each role, NaN where the fact has none; `cells` are single tokens, of the first
    fact only. `effect` is the metric's clean value less its corrupted one, measured where gradients
    are integrated.
    """

    fact: Fact
    locations: dict[str, Estimates]
    roles: dict[str, Estimates]
    cells: dict[str, Estimates]
    effect: float = nan


def scan(context: ScanContext) -> Findings:
    """Mean estimates with intervals; `count` is in facts, the unit that of the metric."""
    corruption = corruption_named(context.options.corruption, "swap")
    metric = metric_named(context.options.metric, "logit-diff")
    pairs = context.corrupted_pairs(corruption)
    if not pairs:
        return Findings((), 0, notes=(_no_pairs(corruption), *context.facts.notes))
    model = context.loaded.model
    facts = context.batched(
        "attribution patching",
        pairs,
        lambda batch: _estimates(context, batch, metric),
        size=lambda pair: WORTH(model, len(pair.ids), pair.samples),
    )
    steps = context.options.steps
    gaps = (_gap(context, facts),) if steps > 1 else ()
    return Findings(
        tuple(
            score for variant in facts[0].locations for score in _scores(context, facts, variant)
        ),
        len(facts),
        settings=_settings(context, corruption, metric),
        notes=(
            "atp-star has no sign: it bounds the effect",
            *(gap_note(gap, steps, "corrupting the prompt") for gap in gaps),
            *left_out(context.facts.with_subject, pairs),
            *context.facts.notes,
        ),
        maps=tuple(
            context.token_map(fact.fact, variant, part, cells)
            for fact in facts
            for variant, parts in fact.cells.items()
            for part, cells in parts.items()
        ),
        totals=gaps,
    )


def _gap(context: ScanContext, facts: Sequence[FactEstimates]) -> ScanTotal:
    """What the attributions of the embeddings, summed over all tokens, miss of the true effect."""
    sums = torch.stack([fact.locations["integrated"][ENTRY] for fact in facts])
    effects = torch.tensor([[fact.effect] for fact in facts])
    return completeness_gap(context, [fact.fact.edit for fact in facts], sums, effects)


def _no_pairs(corruption: str) -> str:
    if corruption == "noise":
        return "no edit's subject was found in its prompt"
    return "no edit has a partner: another subject of as many tokens that changes the answer"


def _estimates(
    context: ScanContext, pairs: Sequence[CorruptedPair], metric: str
) -> list[FactEstimates]:
    """The estimates of a batch."""
    # All pairs of a corruption have equally many samples.
    samples, steps = pairs[0].samples, max(1, context.options.steps)
    ends = ends_of(context.hooked, pairs)
    variants = estimated(context.hooked, ends, metric, steps)
    effects = [nan] * len(pairs)
    if steps > 1:
        effects = effect_of(context.hooked, ends, metric).view(len(pairs), samples).mean(1).tolist()

    def of(row: int) -> dict[str, Estimates]:
        """Means over the samples of one fact, its real tokens only."""
        length = len(pairs[row].ids)
        own = slice(row * samples, (row + 1) * samples)
        return {
            variant: {part: x[own].mean(0)[:, :length].cpu() for part, x in estimates.items()}
            for variant, estimates in variants.items()
        }

    return [
        replace(_summed(pair.fact, of(row)), effect=effects[row]) for row, pair in enumerate(pairs)
    ]


def _summed(fact: Fact, cells: Mapping[str, Estimates]) -> FactEstimates:
    """Single tokens, and sums over all of them and over roles."""
    masks = torch.tensor([[fact.role(token) == r for token in range(len(fact.ids))] for r in ROLES])
    locations = {v: {part: x.sum(1) for part, x in parts.items()} for v, parts in cells.items()}
    roles = {v: {p: _by_role(parts[p], masks) for p in TOKENWISE} for v, parts in cells.items()}
    single = {v: {p: parts[p] for p in TOKENWISE} for v, parts in cells.items()}
    return FactEstimates(fact, locations, roles, single)


def _by_role(
    cells: Float[Tensor, "layers tokens"], masks: Bool[Tensor, "roles tokens"]
) -> Float[Tensor, "roles layers"]:
    summed = masks.to(cells) @ cells.T
    # A sum over no tokens would be zero, a measured effect; NaN leaves the fact out of the mean.
    return summed.masked_fill(~masks.any(1)[:, None], nan)


def _scores(context: ScanContext, facts: Sequence[FactEstimates], variant: str) -> list[ScanScore]:
    used = [fact.fact.edit for fact in facts]

    def stacked(part: str) -> Tensor:
        return torch.stack([fact.locations[variant][part] for fact in facts])

    scores: list[ScanScore] = []
    for part in TOKENWISE:
        scores += context.scores(variant, part, used, stacked(part))
        by_role = torch.stack([fact.roles[variant][part] for fact in facts], dim=1)
        for role, values in zip(ROLES, by_role, strict=True):
            measured = not bool(values.isnan().all())
            scores += context.scores(variant, part, used, values, role) if measured else ()
    scores += context.scores(variant, "attn", used, stacked("head"))
    # A projection has no node of its own: its score is the sum over its heads.
    for part in ("attn.q", "attn.k", "attn.v"):
        scores += context.scores(variant, part, used, stacked(part).sum(2))
        scores += context.scores(variant, part, used, stacked(part))
    return scores


def _settings(context: ScanContext, corruption: str, metric: str) -> str:
    options = context.options
    how = CORRUPTIONS[corruption]
    if corruption == "noise":
        how = f"{how}, {options.noise:g} standard deviations, {options.samples} samples"
    steps = f", {options.steps} steps from corrupted to clean" if options.steps > 1 else ""
    return f"corruption: {how}; metric: {METRICS[metric]}; clean into corrupted{steps}"
