"""Attribution patching: a first-order estimate of what every clean activation brings back.

Facts are corrupted by a swap of their subject (or by noise); patching goes from clean into
corrupted, so above zero speaks for the answer. Variants: `attribution` (plain), `integrated` where
there are steps, `atp-star` (absolute values: a bound, without sign).

A location's score is the sum over all tokens of the prompt: `block` is the residual stream
behind it, `attn` and `mlp` what they add to it, `attn.q`, `attn.k`, `attn.v` the heads' sum; token
roles are sums over the role's tokens. A head of `attn` is its output before the output matrix;
heads of `attn.k` and `attn.v` are key-value heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from locscope.forward.batching import Holds
from locscope.interp.attribution import ENTRY, Estimates, estimated
from locscope.interp.corruption import (
    CORRUPTIONS,
    CorruptedPair,
    corruption_named,
    left_out,
    noised,
    swapped,
)
from locscope.interp.facts import ROLES, Fact
from locscope.interp.metrics import METRICS, metric_named, rivalries
from locscope.interp.slopes import effect_of, ends_of
from locscope.records import ScanScore, ScanTotal
from locscope.scans.context import Findings, ScanContext
from locscope.scans.gradients.completeness import completeness_gap, told

TOKENWISE = ("block", "attn", "mlp")
HOLDS = Holds(states=49, patterns=9, backward=True)
"""Of seven activations: clean, corrupted, a zero to ask for gradients, and these in float32 of the
pass before and of this one. Patterns: two of the corrupted run, two patched, a zero, gradients."""


@dataclass(frozen=True)
class Found:
    """One fact's estimates by variant and component.

    `locations` are sums over all tokens, with heads where the component has them; `roles` sums over
    the tokens of each role, NaN where the fact has none; `cells` single tokens (of the first fact
    only, as there are many). `effect` is the metric's clean value less its corrupted one, measured
    where gradients are integrated.
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
    corrupted_pairs = _contrasts(context, corruption)
    if not corrupted_pairs:
        return Findings((), 0, notes=(_none(corruption), *context.facts.notes))
    first = corrupted_pairs[0].fact.edit

    def run(some: Sequence[CorruptedPair]) -> list[Found]:
        return _found(context, some, metric, first)

    model = context.loaded.model
    found = context.batched(
        "attribution patching",
        corrupted_pairs,
        run,
        size=lambda one: HOLDS.tokens(model, len(one.ids), one.samples),
    )
    steps = context.options.steps
    gaps = (_gap(context, found),) if steps > 1 else ()
    return Findings(
        tuple(
            score for variant in found[0].locations for score in _scores(context, found, variant)
        ),
        len(found),
        settings=_settings(context, corruption, metric),
        notes=(
            "atp-star has no sign: it bounds the effect",
            *(told(gap, steps, "corrupting the prompt") for gap in gaps),
            *left_out(context.facts.with_subject, corrupted_pairs),
            *context.facts.notes,
        ),
        maps=tuple(
            context.token_map(found[0].fact, variant, part, cells)
            for variant, parts in found[0].cells.items()
            for part, cells in parts.items()
        ),
        totals=gaps,
    )


def _gap(context: ScanContext, found: Sequence[Found]) -> ScanTotal:
    """What the attributions of the embeddings, all tokens summed, miss of the true effect."""
    sums = torch.stack([one.locations["integrated"][ENTRY] for one in found])
    effects = torch.tensor([[one.effect] for one in found])
    return completeness_gap(context, [one.fact.edit for one in found], sums, effects)


def _none(corruption: str) -> str:
    if corruption == "noise":
        return "no edit's subject was found in its prompt"
    return "no edit has a partner: another subject of as many tokens that changes the answer"


def _contrasts(context: ScanContext, corruption: str) -> tuple[CorruptedPair, ...]:
    """The distractor is what the model says to the swapped subject, with noise its second
    choice."""
    facts, most = context.facts.with_subject, context.tokens_at_once
    if corruption == "swap":
        return swapped(context.hooked, facts, context.seed, most)
    distractors = {one.fact.edit: one.distractor for one in rivalries(context.hooked, facts, most)}
    return noised(
        context.hooked, facts, distractors, context.options, context.seed, context.subjects
    )


def _found(
    context: ScanContext, some: Sequence[CorruptedPair], metric: str, first: str
) -> list[Found]:
    samples, steps, ends = (
        some[0].samples,
        max(1, context.options.steps),
        ends_of(context.hooked, some),
    )
    variants = estimated(context.hooked, ends, metric, steps)
    effects = [nan] * len(some)
    if steps > 1:
        effects = effect_of(context.hooked, ends, metric).view(len(some), samples).mean(1).tolist()

    def of(row: int) -> dict[str, Estimates]:
        """Means over the samples of one fact, its real tokens only."""
        length = len(some[row].ids)
        mine = slice(row * samples, (row + 1) * samples)
        return {
            variant: {part: x[mine].mean(0)[:, :length].cpu() for part, x in estimates.items()}
            for variant, estimates in variants.items()
        }

    return [
        replace(_summed(one.fact, of(row), one.fact.edit == first), effect=effects[row])
        for row, one in enumerate(some)
    ]


def _summed(fact: Fact, cells: Mapping[str, Estimates], keep: bool) -> Found:
    masks = torch.tensor([[fact.role(token) == r for token in range(len(fact.ids))] for r in ROLES])
    locations = {v: {part: x.sum(1) for part, x in parts.items()} for v, parts in cells.items()}
    roles = {v: {p: _by_role(parts[p], masks) for p in TOKENWISE} for v, parts in cells.items()}
    kept = {v: {p: parts[p] for p in TOKENWISE} for v, parts in cells.items()} if keep else {}
    return Found(fact, locations, roles, kept)


def _by_role(
    cells: Float[Tensor, "layers tokens"], masks: Bool[Tensor, "roles tokens"]
) -> Float[Tensor, "roles layers"]:
    summed = masks.to(cells) @ cells.T
    return summed.masked_fill(~masks.any(1)[:, None], nan)


def _scores(context: ScanContext, found: Sequence[Found], variant: str) -> list[ScanScore]:
    used = [one.fact.edit for one in found]

    def stacked(part: str) -> Tensor:
        return torch.stack([one.locations[variant][part] for one in found])

    scores: list[ScanScore] = []
    for part in TOKENWISE:
        scores += context.scores(variant, part, used, stacked(part))
        by_role = torch.stack([one.roles[variant][part] for one in found], dim=1)
        for role, values in zip(ROLES, by_role, strict=True):
            there = not bool(values.isnan().all())
            scores += context.scores(variant, part, used, values, role) if there else ()
    scores += context.scores(variant, "attn", used, stacked("head"))
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
