"""Attribution patching against exact patching, and the head gradient against exact ablation.

    python -m analyses.bench_attribution_agreement --output reports/attribution_agreement.md

The bundled model on its own facts, and two models of random weights (one of GPT-2's kind, one with
grouped queries) on random prompts. Exact: one clean activation put into the corrupted run, at every
(layer, token) for the stream behind a block, attention and MLP (causal tracing does it); for heads,
queries and keys at all tokens of every (layer, head) at once. Tokens before the subject, where
nothing differs, are left out.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from locscope.evaluation.build_suite import prepare
from locscope.evaluation.suite import EvalTexts
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.prefix_cache import PrefixCache
from locscope.interp.attribution import COMPONENTS, estimated
from locscope.interp.corruption import CorruptedPair, swapped
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import (
    HookedModel,
    hook_name,
    hooked_model_of,
    recording,
    with_hooks,
)
from locscope.interp.metrics import value_of
from locscope.interp.patching import RESTORED, PatchRuns, restored, run_both
from locscope.interp.slopes import at_all_layers, ends_of
from locscope.progress import Silent
from locscope.scans.context import ScanContext
from locscope.scans.run import run_scan
from locscope.scoring.statistics import spearman
from locscope.settings import SearchSettings
from locscope.workflows.early.edits import load_edits
from locscope.workflows.workspace import open_model, text_generator_of

STEPS = 5
TOKENWISE = ("block", "attn", "mlp")
HEADWISE = ("head", "attn.q", "attn.k")
RANDOM = {"random GPT-2": "gpt2", "random Qwen2": "qwen2"}
WORDS = {"head": "head output", "attn.q": "query head", "attn.k": "key head"}


@dataclass(frozen=True)
class Pairs:
    """Of one component, over all cells of all facts: exact effects, and estimates by variant."""

    exact: np.ndarray
    estimates: dict[str, np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """One model's pairs by component, over so many facts; seconds of estimating and of patching."""

    name: str
    facts: int
    pairs: dict[str, Pairs]
    estimating: float
    patching: float


def main() -> None:
    """Compares on all models and writes the report."""
    args = _parse()
    context = _demo(args.limit)
    corrupted_pairs = swapped(context.hooked, context.facts.with_subject, context.seed)
    found = [agreement("bundled model", context.hooked, corrupted_pairs)]
    for name, family in RANDOM.items():
        hooked = hooked_model_of(_random(family))
        found.append(agreement(name, hooked, _random_contrasts(hooked, args.limit)))
    text = _report(found, _ablations(context), len(context.facts.all))
    args.output.write_text(text, encoding="utf-8")
    print(text)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=40, help="edits of the bundled model")
    parser.add_argument("--output", type=Path, default=Path("reports/attribution_agreement.md"))
    return parser.parse_args()


def _demo(limit: int) -> ScanContext:
    settings = SearchSettings(limit=limit, device="cpu")
    loaded, edits = open_model(settings), load_edits(settings).edits
    suite = prepare(text_generator_of(loaded), edits, EvalTexts(("The sky is blue.",)))
    ids = tuple(edit.id for edit in edits)
    return ScanContext(loaded, suite, PrefixCache(loaded.model, suite.packed), ids, 0, Silent())


def _random(family: str) -> torch.nn.Module:
    config = AutoConfig.for_model(
        family,
        vocab_size=500,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        **({"num_key_value_heads": 2} if family == "qwen2" else {}),
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def _random_contrasts(hooked: HookedModel, count: int) -> list[CorruptedPair]:
    """Random prompts of ten tokens, the three from the third on swapped for others."""
    draw = torch.Generator().manual_seed(0)
    clean = torch.randint(500, (count, 10), generator=draw)
    corrupted = clean.clone()
    corrupted[:, 2:5] = torch.randint(500, (count, 3), generator=draw)
    with torch.no_grad():
        head = hooked.bridged.get_output_embeddings()
        tops = [
            head(run_blocks(hooked.bridged, ids))[:, -1].argmax(-1) for ids in (clean, corrupted)
        ]
    return [
        CorruptedPair(
            Fact(str(i), tuple(clean[i].tolist()), (2, 5), (int(answer),), True, ""),
            tuple(corrupted[i].tolist()),
            int(distractor),
        )
        for i, (answer, distractor) in enumerate(zip(*tops, strict=True))
        if answer != distractor
    ]


def agreement(
    name: str, hooked: HookedModel, corrupted_pairs: Sequence[CorruptedPair]
) -> Agreement:
    """Estimates and exact effects of all facts."""
    cells: dict[str, list[tuple[Tensor, dict[str, Tensor]]]] = {p: [] for p in TOKENWISE + HEADWISE}
    estimating = patching = 0.0
    for one in corrupted_pairs:
        began = time.perf_counter()
        guessed = estimated(hooked, ends_of(hooked, [one]), "logit-diff", STEPS)
        estimating += time.perf_counter() - began
        began = time.perf_counter()
        effects = exact(hooked, one)
        patching += time.perf_counter() - began
        first = one.fact.span[0]
        for part in TOKENWISE:
            by_variant = {v: e[part][0][:, first:] for v, e in guessed.items()}
            cells[part].append((effects[part][:, first:], by_variant))
        for part in HEADWISE:
            by_variant = {v: e[part][0].sum(1) for v, e in guessed.items()}
            cells[part].append((effects[part], by_variant))
    pairs = {part: _pooled(rows) for part, rows in cells.items()}
    return Agreement(name, len(corrupted_pairs), pairs, estimating, patching)


def _pooled(rows: Sequence[tuple[Tensor, dict[str, Tensor]]]) -> Pairs:
    exact_ = torch.cat([effects.flatten() for effects, _ in rows]).numpy()
    variants = rows[0][1]
    return Pairs(
        exact_, {v: torch.cat([row[v].flatten() for _, row in rows]).numpy() for v in variants}
    )


@torch.no_grad()
def exact(hooked: HookedModel, one: CorruptedPair) -> dict[str, Tensor]:
    """By component, what each patch adds to the metric: (layers, tokens) or (layers, heads)."""
    ends = ends_of(hooked, [one])
    clean_ids = torch.tensor([one.fact.ids])
    runs = run_both(hooked, clean_ids, torch.tensor([one.ids]), {})

    def metric(scored: Tensor) -> Tensor:
        return value_of("logit-diff", scored[:, None], ends.answers, ends.distractors)[:, 0]

    found = {}
    for part, activation in RESTORED.items():
        cells = restored(hooked, runs, activation, 1, one.fact.span[0], metric, 16384)
        found[part] = cells[0].T - metric(runs.corrupted_logits)
    names = at_all_layers(hooked, *(COMPONENTS[part] for part in HEADWISE))
    with recording(hooked, *names) as seen:
        run_blocks(hooked.bridged, clean_ids)
    for part in HEADWISE:
        each = [
            metric(_with_heads(hooked, runs, layer, hook_name(COMPONENTS[part], layer), seen))
            for layer in range(hooked.layers)
        ]
        found[part] = torch.stack(each) - metric(runs.corrupted_logits)
    return found


def _with_heads(
    hooked: HookedModel, runs: PatchRuns, layer: int, name: str, clean: dict[str, Tensor]
) -> Tensor:
    """The logits (heads, vocabulary), resumed at a layer, with each head patched at all tokens."""
    copies = clean[name].shape[2]

    def put(value: Tensor) -> Tensor:
        value = value.clone()
        for head in range(copies):
            value[head, :, head] = clean[name][0, :, head]
        return value

    ids, entering = runs.ids, runs.entering[layer]
    with with_hooks(hooked, {name: put}):
        final = run_blocks(
            hooked.bridged, ids.expand(copies, -1), layer, entering.expand(copies, -1, -1)
        )
    return logits(hooked.bridged, final[:, -1])


def _ablations(context: ScanContext) -> dict[str, tuple[float, float, int]]:
    """By variant: the rank correlation over all heads of all facts, over the heads' means, and the
    count of the former."""
    guessed, true = run_scan("head-gradient", context), run_scan("head-ablation", context)
    found = {}
    for variant in guessed.variants:
        tables = [
            {(s.layer, s.head): s for s in one.scores if s.variant == variant and s.head >= 0}
            for one in (guessed, true)
        ]
        single = [np.concatenate([np.array(t[k].values) for k in tables[0]]) for t in tables]
        means = [np.array([t[k].score for k in tables[0]]) for t in tables]
        count = int((~np.isnan(single[0] + single[1])).sum())
        found[variant] = spearman(*single), spearman(*means), count
    return found


def _report(
    found: Sequence[Agreement], heads: dict[str, tuple[float, float, int]], facts: int
) -> str:
    lines = [
        "# Attribution patching against exact patching",
        "",
        "Spearman's rank correlation over all cells of all facts; metric logit difference, clean",
        "into corrupted (subject swap). `atp-star` has no sign, so magnitudes are compared for it,",
        f"and for the others beside it; `integrated` has {STEPS} steps. Heads are patched at all",
        "tokens at once; `block` is the stream behind a block. In the last layer only the last",
        "token is read, so that its other cells are zero in both.",
        "`python -m analyses.bench_attribution_agreement`",
        "",
        "| model | component | cells | attribution | integrated | abs attribution | "
        "abs integrated | abs atp-star |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        lines += [_line(one, part) for part in one.pairs]
    lines += ["", *(_costs(one) for one in found), "", "## Head gradient against ablation", ""]
    lines += [
        f"Bundled model, {facts} facts, heads set to zero at all tokens.",
        "",
        "| variant | cells | single facts | means over facts |",
        "|---|---|---|---|",
        *(f"| {v} | {n} | {one:.3f} | {mean:.3f} |" for v, (one, mean, n) in heads.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(one: Agreement, part: str) -> str:
    pairs = one.pairs[part]
    size = np.abs(pairs.exact)
    signed = [spearman(pairs.estimates[v], pairs.exact) for v in ("attribution", "integrated")]
    magnitudes = [
        spearman(np.abs(pairs.estimates[v]), size)
        for v in ("attribution", "integrated", "atp-star")
    ]
    figures = " | ".join(f"{value:.3f}" for value in signed + magnitudes)
    return f"| {one.name} | {WORDS.get(part, part)} | {len(size)} | {figures} |"


def _costs(one: Agreement) -> str:
    return (
        f"- {one.name}: {one.facts} facts; {one.estimating:.1f} s for all three estimates of all "
        f"components, {one.patching:.1f} s for the exact effects of those in the table."
    )


if __name__ == "__main__":
    main()
