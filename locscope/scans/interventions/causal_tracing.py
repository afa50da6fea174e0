"""Causal tracing: which single clean state brings the answer back in a corrupted run?

The subject is corrupted (noise on its embeddings, or another subject in its place). Total effect is
what that costs the answer; the indirect effect of a state is what restoring it alone gives back.
Restored are the state behind a block (`block`), and what `mlp` and `attn` add over a window of
layers. A location's score is that at the last subject token, for attention at the last token: where
ROME (arXiv 2202.05262, section 2) found each to act; token roles are scored beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.interp.corruption import (
    CorruptedPair,
    corrupting,
    corruption_named,
    left_out,
    noised,
    swapped,
)
from locscope.interp.facts import ROLES, Fact
from locscope.interp.metrics import (
    METRICS,
    TokenPair,
    metric_named,
    rivalries,
    token_pair_of,
    value_of,
)
from locscope.interp.patching import Kind, Measure, restored, run_clean, run_corrupted
from locscope.records import ScanScore, ScanTotal
from locscope.scans.context import Findings, ScanContext

VARIANT = "indirect effect"
PAPER_WINDOW, PAPER_LAYERS = 10, 32


@dataclass(frozen=True)
class Trace:
    """One fact's answer: clean, corrupted, and with each token's state restored at each layer, per
    kind; means over samples."""

    fact: Fact
    clean: float
    corrupted: float
    restored: Float[Tensor, "kinds seq layers"]

    @property
    def effect(self) -> Float[Tensor, "kinds seq layers"]:
        """The indirect effects."""
        return self.restored - self.corrupted


def scan(context: ScanContext) -> Findings:
    """Average indirect effects with intervals; `count` is in facts."""
    subjects = _subjects(context)
    if not subjects:
        return Findings((), 0, notes=("no edit's subject could be corrupted", *context.facts.notes))
    kinds = kinds_of(context)
    traces = context.batched(
        "causal tracing",
        subjects,
        lambda some: trace(context, some, kinds),
        size=lambda one: one.samples * len(one.ids),
        alike=lambda one: (len(one.ids), one.fact.span[0]),
    )
    used, lost = [one.fact.edit for one in traces], [one.clean - one.corrupted for one in traces]
    total = context.total("total effect", used, lost)
    scores = [score for i, kind in enumerate(kinds) for score in _scores(context, traces, kind, i)]
    return Findings(
        tuple(scores),
        len(traces),
        settings=_settings(context, kinds),
        notes=(_told(total), *left_out(context.facts.with_subject, subjects), *context.facts.notes),
        maps=tuple(
            context.token_map(traces[0].fact, VARIANT, kind.part, traces[0].effect[i].T)
            for i, kind in enumerate(kinds)
        ),
        totals=(total,),
    )


def kinds_of(context: ScanContext) -> tuple[Kind, ...]:
    """States, and windows of MLP and attention outputs: 10 of 32 layers or more, in proportion
    below; with ROME's random stream, which is there to give its numbers, 10 at any depth."""
    depth = 1.0 if context.options.stream == "rome" else context.loaded.info.layers / PAPER_LAYERS
    window = context.options.window or max(1, round(PAPER_WINDOW * min(1.0, depth)))
    return (
        Kind("block", "resid_post"),
        Kind("mlp", "mlp_out", window),
        Kind("attn", "attn_out", window),
    )


def trace(
    context: ScanContext, subjects: Sequence[CorruptedPair], kinds: Sequence[Kind]
) -> tuple[Trace, ...]:
    """Traces facts of one length whose subjects begin at the same token."""
    hooked, samples, first = context.hooked, subjects[0].samples, subjects[0].fact.span[0]
    device = hooked.bridged.device
    clean = run_clean(
        hooked, torch.tensor([one.fact.ids for one in subjects], device=device), kinds
    )
    ids = torch.tensor([one.ids for one in subjects], device=device)
    corrupted = run_corrupted(hooked, ids.repeat_interleave(samples, 0), corrupting(subjects))
    measure = _measure(context, subjects)
    cells = torch.stack(
        [
            restored(hooked, clean, corrupted, kind, first, measure, context.tokens_at_once)
            for kind in kinds
        ]
    )
    means = cells.view(len(kinds), len(subjects), samples, *cells.shape[2:]).mean(2).cpu()
    top, floor = measure(clean.logits), measure(corrupted.logits).view(-1, samples).mean(1)
    return tuple(
        Trace(one.fact, float(top[i]), float(floor[i]), means[:, i])
        for i, one in enumerate(subjects)
    )


def _subjects(context: ScanContext) -> tuple[CorruptedPair, ...]:
    """The facts with their corruption. Where noise corrupts, the distractor is the runner-up."""
    hooked, facts, seed = context.hooked, context.facts.with_subject, context.seed
    if _corruption(context) == "swap":
        return swapped(hooked, facts, seed, context.tokens_at_once)
    token_pair = rivalries(hooked, facts, context.tokens_at_once)
    distractors = {one.fact.edit: one.distractor for one in token_pair}
    return noised(hooked, facts, distractors, context.options, seed, context.subjects)


def _corruption(context: ScanContext) -> str:
    return corruption_named(context.options.corruption, "noise")


def _metric(context: ScanContext) -> str:
    return metric_named(context.options.metric, "probability")


def _measure(context: ScanContext, subjects: Sequence[CorruptedPair]) -> Measure:
    """The metric of rows that are facts (clean), or samples of facts, all again for every cell."""
    metric, samples = _metric(context), subjects[0].samples

    def token_pair(copies: int) -> TokenPair:
        each = [one for one in subjects for _ in range(copies)]
        device = context.hooked.bridged.device
        return token_pair_of([one.fact for one in each], [one.distractor for one in each], device)

    once, sampled = token_pair(1), token_pair(samples)

    def measure(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, " rows"]:
        mine = once if len(logits) == len(subjects) else sampled
        return value_of(metric, logits.unflatten(0, (-1, len(mine.answer))), mine).flatten()

    return measure


def _scores(
    context: ScanContext, traces: Sequence[Trace], kind: Kind, index: int
) -> tuple[ScanScore, ...]:
    used = [one.fact.edit for one in traces]

    def of(role: str, tokens: Sequence[Sequence[int]]) -> tuple[ScanScore, ...]:
        rows = [_mean(one.effect[index], some) for one, some in zip(traces, tokens, strict=True)]
        return context.scores(VARIANT, kind.part, used, torch.stack(rows), role)

    ends = [one.fact.last if kind.part == "attn" else one.fact.span[1] - 1 for one in traces]
    by_role = {role: [_tokens(one.fact, role) for one in traces] for role in ROLES}
    roles = [score for role, tokens in by_role.items() if any(tokens) for score in of(role, tokens)]
    return (*of("", [[end] for end in ends]), *roles)


def _tokens(fact: Fact, role: str) -> list[int]:
    return [token for token in range(len(fact.ids)) if fact.role(token) == role]


def _mean(effect: Float[Tensor, "seq layers"], tokens: Sequence[int]) -> Float[Tensor, " layers"]:
    return effect[list(tokens)].mean(0) if tokens else torch.full(effect.shape[1:], nan)


def _told(total: ScanTotal) -> str:
    bounds = "" if isnan(total.low) else f" ({total.low:.3f} to {total.high:.3f})"
    said = (
        f"average {total.name} {total.value:.3f}{bounds}: what corrupting the subject takes from "
        f"the answer, over {total.count} facts"
    )
    nothing = not isnan(total.low) and total.low <= 0
    return f"{said}; not told from zero, so that nothing can be restored" if nothing else said


def _settings(context: ScanContext, kinds: Sequence[Kind]) -> str:
    options = context.options
    swap, stream = _corruption(context) == "swap", "ROME's" if options.stream == "rome" else "own"
    noise = f"noise of {options.noise:g} standard deviations, {options.samples} samples, {stream} "
    corruption = "same-length subject swap" if swap else f"{noise}random stream"
    metric = METRICS[_metric(context)]
    if _metric(context) == "logit-diff":
        metric += (
            ": the distractor is what the corrupted prompt says" if swap else ": the runner-up"
        )
    return f"{corruption}; {metric}; windows of {kinds[-1].window} layers"
