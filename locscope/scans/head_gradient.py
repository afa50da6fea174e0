"""Head gradient: what silencing each head costs the answer, to first order.

A score is (z - ablated z) . d metric / d z, summed over all tokens of the prompt, z being the
head's output before the output matrix: what the metric loses when z is set to zero (or to its mean
over all tokens of all requests). Variants: `probability` of the answer, and `logit-diff` of the
answer against the untouched model's next best token. The layer's `attn` score is the sum of its
heads' absolute values: with sign they cancel, wholly so where a norm follows attention, which does
not feel all heads shrink together (Gemma 2 and 3). After Michel et al. (arXiv 1905.10650), heads
with sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.engine.blocks import run_blocks
from locscope.engine.facts import Fact
from locscope.engine.lens import place, probed, recorded
from locscope.engine.metrics import Asked, asked, measured, rivals
from locscope.errors import unknown
from locscope.scans.bench import Findings, ScanBench

VARIANTS = ("probability", "logit-diff")
ABLATIONS = {"zero": "zero", "mean": "mean over all tokens of all requests"}


@dataclass(frozen=True)
class Rivalry:
    """A fact, and the token that comes next to its answer."""

    fact: Fact
    foil: int


def scan(bench: ScanBench) -> Findings:
    """Mean losses with intervals; `count` is in facts, the unit that of the metric."""
    facts, ablation = bench.facts.all, _ablation(bench)
    if not facts:
        return Findings((), 0, notes=("the model answers no edit's prompt", *bench.facts.notes))
    used = [fact.edit for fact in facts]
    foils = rivals(bench.lens, facts, bench.tokens_at_once)
    items = [Rivalry(fact, foil) for fact, foil in zip(facts, foils, strict=True)]
    level = _mean_z(bench, items) if ablation == "mean" else None
    found = bench.batched("head gradient", items, lambda some: _losses(bench, some, level), _size)
    values = torch.stack(found, dim=1)
    scores = [
        score
        for variant, of_heads in zip(VARIANTS, values, strict=True)
        for each in (of_heads.abs().sum(2), of_heads)
        for score in bench.scores(variant, "attn", used, each)
    ]
    settings = f"heads silenced to {ABLATIONS[ablation]}; foil: the next best token"
    return Findings(tuple(scores), len(used), settings, bench.facts.notes)


def _ablation(bench: ScanBench) -> str:
    chosen = "zero" if bench.options.ablation == "default" else bench.options.ablation
    if chosen not in ABLATIONS:
        raise unknown("ablation", chosen, ABLATIONS)
    return chosen


def _size(item: Rivalry) -> int:
    return len(item.fact.ids)


def _rows(bench: ScanBench, some: Sequence[Rivalry]) -> Asked:
    prompts, answers = [one.fact.ids for one in some], [one.fact.answer[0] for one in some]
    return asked(bench.lens, prompts, answers, [one.foil for one in some])


def _hooks(bench: ScanBench) -> list[str]:
    return [place("z", layer) for layer in range(bench.lens.layers)]


def _real(rows: Asked) -> Float[Tensor, "rows seq 1 1"]:
    """1 for real tokens, 0 for padding."""
    positions = torch.arange(rows.ids.shape[1], device=rows.ids.device)
    return (positions <= rows.last[:, None]).float()[..., None, None]


def _mean_z(bench: ScanBench, items: Sequence[Rivalry]) -> Float[Tensor, "layers heads head_width"]:
    """Every head's mean over all tokens of all requests."""

    @torch.no_grad()
    def run(some: Sequence[Rivalry]) -> list[Tensor]:
        rows, names = _rows(bench, some), _hooks(bench)
        with recorded(bench.lens, *names) as seen:
            run_blocks(bench.lens.twin, rows.ids)
        real = _real(rows)
        sums = torch.stack([(seen[name].float() * real).sum(1) for name in names], dim=1)
        return list(sums.double().cpu())

    sums = bench.batched("mean of the heads", items, run, _size)
    return (torch.stack(sums).sum(0) / sum(map(_size, items))).float()


def _losses(
    bench: ScanBench,
    some: Sequence[Rivalry],
    level: Float[Tensor, "layers heads head_width"] | None,
) -> list[Tensor]:
    """For every fact (variants, layers, heads)."""
    rows, names = _rows(bench, some), _hooks(bench)
    with torch.enable_grad(), recorded(bench.lens, *names) as seen:
        with probed(bench.lens, *names) as zeros:
            final = run_blocks(bench.lens.twin, rows.ids)
        wanted, real = [zeros[name] for name in names], _real(rows)
        found = []
        for variant in VARIANTS:
            value = measured(bench.lens, rows, final, variant).sum()
            slopes = torch.autograd.grad(value, wanted, retain_graph=variant != VARIANTS[-1])
            parts = [
                (seen[name].float() - (0.0 if level is None else level[layer].to(final.device)))
                * slope.float()
                * real
                for layer, (name, slope) in enumerate(zip(names, slopes, strict=True))
            ]
            found.append(torch.stack([part.sum((1, 3)) for part in parts], dim=1))
    return list(torch.stack(found, dim=1).cpu())
