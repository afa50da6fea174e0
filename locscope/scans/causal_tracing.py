"""Causal tracing: which single clean state brings the answer back in a corrupted run?

The subject is corrupted (noise on its embeddings, or another subject in its place). Total effect is
what that costs the answer; the indirect effect of a state is what restoring it alone gives back.
Restored are the state behind a block (`block`), and what `mlp` and `attn` add over a window of
layers. A place's score is that at the last subject token, for attention at the last token: where
ROME (arXiv 2202.05262, section 2) found each to act; token roles are scored beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.engine.corruption import noise_scale, subject_noise, swapped
from locscope.engine.facts import ROLES, Fact
from locscope.engine.lens import Edit, place
from locscope.engine.patching import Kind, Measure, restored, run_clean, run_corrupted
from locscope.records import ScanScore, TokenMap
from locscope.scans.bench import Findings, ScanBench
from locscope.scoring.statistics import mean_interval

VARIANT = "indirect effect"
PAPER_WINDOW, PAPER_LAYERS = 10, 32


@dataclass(frozen=True)
class Subject:
    """A fact with its corrupted prompt, the foil of its answer and the noise on its embeddings."""

    fact: Fact
    ids: tuple[int, ...]
    foil: int
    noise: Float[Tensor, "samples span width"]


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


def scan(bench: ScanBench) -> Findings:
    """Average indirect effects with intervals; `count` is in facts."""
    subjects = _subjects(bench)
    if not subjects:
        return Findings((), 0, notes=("no edit's subject could be corrupted", *bench.facts.notes))
    kinds = kinds_of(bench)
    traces = bench.batched(
        "causal tracing",
        subjects,
        lambda some: trace(bench, some, kinds),
        size=lambda one: len(one.noise) * len(one.ids),
        alike=lambda one: (len(one.ids), one.fact.span[0]),
    )
    scores = [score for i, kind in enumerate(kinds) for score in _scores(bench, traces, kind, i)]
    return Findings(
        tuple(scores),
        len(traces),
        settings=_settings(bench, kinds),
        notes=(_total(bench, traces), *bench.facts.notes),
        maps=tuple(_map(bench, traces[0], kind, i) for i, kind in enumerate(kinds)),
    )


def kinds_of(bench: ScanBench) -> tuple[Kind, ...]:
    """States, and windows of MLP and attention outputs: 10 of 32 layers or more, in proportion
    below."""
    layers = bench.loaded.info.layers
    window = bench.options.window or max(1, round(PAPER_WINDOW * min(1, layers / PAPER_LAYERS)))
    return (
        Kind("block", "resid_pre"),
        Kind("mlp", "mlp_out", window),
        Kind("attn", "attn_out", window),
    )


def trace(
    bench: ScanBench, subjects: Sequence[Subject], kinds: Sequence[Kind]
) -> tuple[Trace, ...]:
    """Traces facts of one length whose subjects begin at the same token."""
    lens, samples, first = bench.lens, len(subjects[0].noise), subjects[0].fact.span[0]
    device = lens.twin.device
    clean = run_clean(lens, torch.tensor([one.fact.ids for one in subjects], device=device), kinds)
    ids = torch.tensor([one.ids for one in subjects], device=device)
    corrupted = run_corrupted(lens, ids.repeat_interleave(samples, 0), noise_edit(subjects))
    measure = _measure(bench, subjects)
    cells = torch.stack(
        [
            restored(lens, clean, corrupted, kind, first, measure, bench.tokens_at_once)
            for kind in kinds
        ]
    )
    means = cells.view(len(kinds), len(subjects), samples, *cells.shape[2:]).mean(2).cpu()
    top, floor = measure(clean.logits), measure(corrupted.logits).view(-1, samples).mean(1)
    return tuple(
        Trace(one.fact, float(top[i]), float(floor[i]), means[:, i])
        for i, one in enumerate(subjects)
    )


def _subjects(bench: ScanBench) -> tuple[Subject, ...]:
    facts, options, width = bench.facts.with_subject, bench.options, bench.loaded.info.width
    if not facts:
        return ()
    # The foil is what a swapped subject makes the model say, also where noise corrupts.
    if options.corruption == "swap" or options.metric == "logit-diff":
        pairs = swapped(bench.lens, facts, bench.seed, bench.tokens_at_once)
    if options.corruption == "swap":
        silence = [torch.zeros(1, f.span[1] - f.span[0], width) for f in (p.fact for p in pairs)]
        return tuple(
            Subject(p.fact, p.ids, p.foil, none) for p, none in zip(pairs, silence, strict=True)
        )
    foils = {p.fact.edit: p.foil for p in pairs} if options.metric == "logit-diff" else {}
    scale = noise_scale(bench.lens, facts, options.noise)
    return tuple(
        Subject(
            fact,
            fact.ids,
            foils.get(fact.edit, -1),
            subject_noise(fact, width, scale, options, bench.seed),
        )
        for fact in facts
        if fact.edit in foils or options.metric != "logit-diff"
    )


def noise_edit(subjects: Sequence[Subject]) -> dict[str, Edit]:
    """The edit that adds every fact's noise to its subject's embeddings."""

    def add(value: Float[Tensor, "rows seq width"]) -> Float[Tensor, "rows seq width"]:
        value, samples = value.clone(), len(subjects[0].noise)
        for i, one in enumerate(subjects):
            first, stop = one.fact.span
            value[i * samples : (i + 1) * samples, first:stop] += one.noise.to(value)
        return value

    return {place("embed"): add}


def _measure(bench: ScanBench, subjects: Sequence[Subject]) -> Measure:
    """Probability of the answer's first token, or its logit less that of the foil."""
    device = bench.lens.twin.device
    answers = torch.tensor([one.fact.answer[0] for one in subjects], device=device)
    foils = torch.tensor([one.foil for one in subjects], device=device)

    def measure(logits: Float[Tensor, "rows vocabulary"]) -> Float[Tensor, " rows"]:
        # Rows are samples of facts; all facts come again for every cell.
        samples = 1 if len(logits) == len(answers) else len(subjects[0].noise)
        times = len(logits) // (samples * len(answers))
        of_row = [t.repeat_interleave(samples).repeat(times)[:, None] for t in (answers, foils)]
        if bench.options.metric == "logit-diff":
            return (logits.gather(1, of_row[0]) - logits.gather(1, of_row[1]))[:, 0]
        return (logits.gather(1, of_row[0])[:, 0] - logits.logsumexp(-1)).exp()

    return measure


def _scores(
    bench: ScanBench, traces: Sequence[Trace], kind: Kind, index: int
) -> tuple[ScanScore, ...]:
    used = [one.fact.edit for one in traces]

    def of(role: str, tokens: Sequence[Sequence[int]]) -> tuple[ScanScore, ...]:
        rows = [_mean(one.effect[index], some) for one, some in zip(traces, tokens, strict=True)]
        return bench.scores(VARIANT, kind.part, used, torch.stack(rows), role)

    ends = [one.fact.last if kind.part == "attn" else one.fact.span[1] - 1 for one in traces]
    by_role = {role: [_tokens(one.fact, role) for one in traces] for role in ROLES}
    roles = [score for role, tokens in by_role.items() if any(tokens) for score in of(role, tokens)]
    return (*of("", [[end] for end in ends]), *roles)


def _tokens(fact: Fact, role: str) -> list[int]:
    return [token for token in range(len(fact.ids)) if fact.role(token) == role]


def _mean(effect: Float[Tensor, "seq layers"], tokens: Sequence[int]) -> Float[Tensor, " layers"]:
    return effect[list(tokens)].mean(0) if tokens else torch.full(effect.shape[1:], nan)


def _total(bench: ScanBench, traces: Sequence[Trace]) -> str:
    lost = mean_interval([one.clean - one.corrupted for one in traces], seed=bench.seed)
    return (
        f"average total effect {lost.value:.3f} ({lost.low:.3f} to {lost.high:.3f}): what "
        f"corrupting the subject takes from the answer, over {lost.count} facts"
    )


def _settings(bench: ScanBench, kinds: Sequence[Kind]) -> str:
    options = bench.options
    noise = f"noise of {options.noise:g} standard deviations, {options.samples} samples"
    corruption = "same-length subject swap" if options.corruption == "swap" else noise
    metric = "logit difference" if options.metric == "logit-diff" else "probability"
    stream = ", ROME's random stream" if options.stream == "rome" else ""
    return f"{corruption}{stream}; {metric}; windows of {kinds[-1].window} layers"


def _map(bench: ScanBench, one: Trace, kind: Kind, index: int) -> TokenMap:
    tokenizer = bench.loaded.tokenizer
    return TokenMap(
        edit=one.fact.edit,
        variant=VARIANT,
        part=kind.part,
        tokens=tuple(str(tokenizer.decode([token])) for token in one.fact.ids),
        subject=tuple(range(*one.fact.span)),
        answer=str(tokenizer.decode(list(one.fact.answer))).strip(),
        values=tuple(tuple(row) for row in one.effect[index].T.tolist()),
    )
