"""Causal tracing: which single clean state brings the answer back in a corrupted run.

The subject is corrupted, by noise on its embeddings or by another subject instead. The total effect
is what the answer loses by that; the indirect effect of a state is what restoring it alone gives
back. Restored are the state behind a block (`block`), and what `mlp` and `attn` add over a window
of layers. A location is scored at the last subject token, attention at the last token of the
prompt: where ROME (arXiv 2202.05262, section 2) found each to act. Token roles are scored besides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.interp.corruption import CorruptedPair, corrupting, corruption_named, left_out
from locscope.interp.facts import ROLES, Fact
from locscope.interp.metrics import METRICS, TokenPair, metric_named, token_pair_of, value_of
from locscope.interp.patching import Kind, MetricFn, restored, run_both
from locscope.records import ScanScore, ScanTotal
from locscope.scans.context import Findings, ScanContext

VARIANT = "indirect effect"
PAPER_WINDOW, PAPER_LAYERS = 10, 32
"""ROME's window of restored outputs, and the depth below which it shrinks in proportion."""


@dataclass(frozen=True)
class Trace:
    """The metric of one fact's answer: clean, corrupted, and with each single state restored.

    All are means over samples.
    """

    fact: Fact
    clean: float
    corrupted: float
    restored: Float[Tensor, "kinds seq layers"]

    @property
    def effect(self) -> Float[Tensor, "kinds seq layers"]:
        """The indirect effect of every state."""
        return self.restored - self.corrupted


def scan(context: ScanContext) -> Findings:
    """Average indirect effects with intervals; `count` is in facts."""
    pairs = context.corrupted_pairs(_corruption(context))
    if not pairs:
        return Findings((), 0, notes=("no edit's subject could be corrupted", *context.facts.notes))
    kinds = kinds_of(context)
    traces = context.batched(
        "causal tracing",
        pairs,
        lambda batch: trace(context, batch, kinds),
        size=lambda pair: pair.samples * len(pair.ids),
        # The tokens before the subject are skipped for a whole batch, so it starts at one token.
        alike=lambda pair: (len(pair.ids), pair.fact.span[0]),
    )
    total = context.total(
        "total effect",
        [traced.fact.edit for traced in traces],
        [traced.clean - traced.corrupted for traced in traces],
    )
    scores = [score for i, kind in enumerate(kinds) for score in _scores(context, traces, kind, i)]
    return Findings(
        tuple(scores),
        len(traces),
        settings=_settings(context, kinds),
        notes=(_note(total), *left_out(context.facts.with_subject, pairs), *context.facts.notes),
        maps=tuple(
            context.token_map(traced.fact, VARIANT, kind.part, traced.effect[i].T)
            for traced in traces
            for i, kind in enumerate(kinds)
        ),
        totals=(total,),
    )


def kinds_of(context: ScanContext) -> tuple[Kind, ...]:
    """States at single layers, and windows of MLP and attention outputs.

    Windows have 10 layers of 32 or more, and fewer in proportion below.
    """
    # ROME's random stream is there to reproduce its numbers: then 10 layers at any depth.
    depth = 1.0 if context.options.stream == "rome" else context.loaded.info.layers / PAPER_LAYERS
    window = context.options.window or max(1, round(PAPER_WINDOW * min(1.0, depth)))
    return (
        Kind("block", "resid_post"),
        Kind("mlp", "mlp_out", window),
        Kind("attn", "attn_out", window),
    )


def trace(
    context: ScanContext, pairs: Sequence[CorruptedPair], kinds: Sequence[Kind]
) -> tuple[Trace, ...]:
    """Traces facts of one length whose subjects begin at the same token."""
    hooked, samples, first = context.hooked, pairs[0].samples, pairs[0].fact.span[0]
    device, most = hooked.bridged.device, context.tokens_at_once
    clean_ids = torch.tensor([pair.fact.ids for pair in pairs], device=device)
    ids = torch.tensor([pair.ids for pair in pairs], device=device).repeat_interleave(samples, 0)
    runs = run_both(hooked, clean_ids, ids, corrupting(pairs), kinds)
    metric = _metric_of(context, pairs)
    # Kind by kind: each has patches at other blocks, and no pass in common.
    values = torch.stack([restored(hooked, runs, kind, first, metric, most) for kind in kinds])
    means = values.view(len(kinds), len(pairs), samples, *values.shape[2:]).mean(2).cpu()
    top = metric(runs.clean_logits)
    floor = metric(runs.corrupted_logits).view(-1, samples).mean(1)
    return tuple(
        Trace(pair.fact, float(top[i]), float(floor[i]), means[:, i])
        for i, pair in enumerate(pairs)
    )


def _corruption(context: ScanContext) -> str:
    return corruption_named(context.options.corruption, "noise")


def _metric(context: ScanContext) -> str:
    return metric_named(context.options.metric, "probability")


def _metric_of(context: ScanContext, pairs: Sequence[CorruptedPair]) -> MetricFn:
    """The metric of rows that are facts (clean), or samples of facts, repeated for every patch."""
    metric = _metric(context)

    def token_pair(copies: int) -> TokenPair:
        rows = [pair for pair in pairs for _ in range(copies)]
        facts, distractors = [pair.fact for pair in rows], [pair.distractor for pair in rows]
        return token_pair_of(facts, distractors, context.hooked.bridged.device)

    clean, sampled = token_pair(1), token_pair(pairs[0].samples)

    def values(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, " rows"]:
        tokens = clean if len(logits) == len(pairs) else sampled
        return value_of(metric, logits.unflatten(0, (-1, len(tokens.answer))), tokens).flatten()

    return values


def _scores(
    context: ScanContext, traces: Sequence[Trace], kind: Kind, index: int
) -> tuple[ScanScore, ...]:
    facts = [traced.fact for traced in traces]
    effects = [traced.effect[index] for traced in traces]
    used = [fact.edit for fact in facts]

    def of(role: str, tokens: Sequence[Sequence[int]]) -> tuple[ScanScore, ...]:
        rows = [_mean(effect, chosen) for effect, chosen in zip(effects, tokens, strict=True)]
        return context.scores(VARIANT, kind.part, used, torch.stack(rows), role)

    # Where ROME found each kind to act: attention late, states and MLPs at the subject's end.
    ends = [fact.last if kind.part == "attn" else fact.span[1] - 1 for fact in facts]
    by_role = {role: [_tokens(fact, role) for fact in facts] for role in ROLES}
    roles = [score for role, tokens in by_role.items() if any(tokens) for score in of(role, tokens)]
    return (*of("", [[end] for end in ends]), *roles)


def _tokens(fact: Fact, role: str) -> list[int]:
    return [token for token in range(len(fact.ids)) if fact.role(token) == role]


def _mean(effect: Float[Tensor, "seq layers"], tokens: Sequence[int]) -> Float[Tensor, " layers"]:
    return effect[list(tokens)].mean(0) if tokens else torch.full(effect.shape[1:], nan)


def _note(total: ScanTotal) -> str:
    bounds = "" if isnan(total.low) else f" ({total.low:.3f} to {total.high:.3f})"
    note = (
        f"average {total.name} {total.value:.3f}{bounds}: what corrupting the subject takes from "
        f"the answer, over {total.count} facts"
    )
    nothing = not isnan(total.low) and total.low <= 0
    return f"{note}; not told from zero, so that nothing can be restored" if nothing else note


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
