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
from locscope.interp.metrics import METRICS, answers_of, metric_named, value_of
from locscope.interp.patching import RESTORED, MetricFn, restored, run_both
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
    restored: Float[Tensor, "parts seq layers"]

    @property
    def effect(self) -> Float[Tensor, "parts seq layers"]:
        """The indirect effect of every state."""
        return self.restored - self.corrupted


def scan(context: ScanContext) -> Findings:
    """Average indirect effects with intervals; `count` is in facts."""
    pairs = context.corrupted_pairs(_corruption(context))
    if not pairs:
        return Findings((), 0, notes=("no edit's subject could be corrupted", *context.facts.notes))
    window = window_of(context)
    traces = context.batched(
        "causal tracing",
        pairs,
        lambda batch: trace(context, batch, window),
        size=lambda pair: pair.samples * len(pair.ids),
        # The tokens before the subject are skipped for a whole batch, so it starts at one token.
        alike=lambda pair: (len(pair.ids), pair.fact.span[0]),
    )
    total = context.total(
        "total effect",
        [traced.fact.edit for traced in traces],
        [traced.clean - traced.corrupted for traced in traces],
    )
    scores = [score for i in range(len(RESTORED)) for score in _scores(context, traces, i)]
    return Findings(
        tuple(scores),
        len(traces),
        settings=_settings(context, window),
        notes=(_note(total), *left_out(context.facts.with_subject, pairs), *context.facts.notes),
        maps=tuple(
            context.token_map(traced.fact, VARIANT, part, traced.effect[i].T)
            for traced in traces
            for i, part in enumerate(RESTORED)
        ),
        totals=(total,),
    )


def window_of(context: ScanContext) -> int:
    """Layers in which outputs of MLP and attention are restored together: 10 of 32 or more, and
    fewer in proportion below."""
    # ROME's random stream is there to reproduce its numbers: then 10 layers at any depth.
    depth = 1.0 if context.options.stream == "rome" else context.loaded.info.layers / PAPER_LAYERS
    return context.options.window or max(1, round(PAPER_WINDOW * min(1.0, depth)))


def trace(context: ScanContext, pairs: Sequence[CorruptedPair], window: int) -> tuple[Trace, ...]:
    """Traces facts of one length whose subjects begin at the same token."""
    hooked, samples, first = context.hooked, pairs[0].samples, pairs[0].fact.span[0]
    device, most = hooked.bridged.device, context.tokens_at_once
    clean_ids = torch.tensor([pair.fact.ids for pair in pairs], device=device)
    ids = torch.tensor([pair.ids for pair in pairs], device=device).repeat_interleave(samples, 0)
    runs = run_both(hooked, clean_ids, ids, corrupting(pairs))
    metric = _metric_of(context, pairs)
    # Part by part: each has patches at other blocks, and no pass in common.
    values = torch.stack(
        [restored(hooked, runs, kind, window, first, metric, most) for kind in RESTORED.values()]
    )
    means = values.view(len(RESTORED), len(pairs), samples, *values.shape[2:]).mean(2).cpu()
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
    metric, device = _metric(context), context.hooked.bridged.device
    answers = answers_of([pair.fact for pair in pairs], device)
    distractors = torch.tensor([pair.distractor for pair in pairs], device=device)

    def values(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, " rows"]:
        copies = 1 if len(logits) == len(pairs) else pairs[0].samples
        tokens = [each.repeat_interleave(copies) for each in (answers, distractors)]
        rows = logits.unflatten(0, (-1, copies * len(pairs)))
        return value_of(metric, rows, *tokens).flatten()

    return values


def _scores(context: ScanContext, traces: Sequence[Trace], index: int) -> tuple[ScanScore, ...]:
    part = list(RESTORED)[index]
    facts = [traced.fact for traced in traces]
    effects = [traced.effect[index] for traced in traces]
    used = [fact.edit for fact in facts]

    def of(role: str, tokens: Sequence[Sequence[int]]) -> tuple[ScanScore, ...]:
        rows = [_mean(effect, chosen) for effect, chosen in zip(effects, tokens, strict=True)]
        return context.scores(VARIANT, part, used, torch.stack(rows), role)

    # Where ROME found each part to act: attention late, states and MLPs at the subject's end.
    ends = [fact.last if part == "attn" else fact.span[1] - 1 for fact in facts]
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


def _settings(context: ScanContext, window: int) -> str:
    options = context.options
    swap, stream = _corruption(context) == "swap", "ROME's" if options.stream == "rome" else "own"
    noise = f"noise of {options.noise:g} standard deviations, {options.samples} samples, {stream} "
    corruption = "same-length subject swap" if swap else f"{noise}random stream"
    metric = METRICS[_metric(context)]
    if _metric(context) == "logit-diff":
        metric += (
            ": the distractor is what the corrupted prompt says" if swap else ": the runner-up"
        )
    return f"{corruption}; {metric}; windows of {window} layers"
