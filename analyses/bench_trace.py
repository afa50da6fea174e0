"""Causal tracing against one whole forward for every token and layer: seconds, and how far apart.

    python -m analyses.bench_trace                       both sizes, as many threads as there are
    python -m analyses.bench_trace --layers 8 --threads 1

The slow side is ROME's loop: for every token, layer and kind a whole forward of 11 rows (one clean,
ten with noise) with logits at all positions. Both trace the same fact of 12 tokens with the same
noise in one run, turn about; the model is a random Llama, grouped-query. Writes
`reports/bench_trace.md`.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from locscope.interp.corruption import CorruptedPair, corrupting
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel, hooked_model_of
from locscope.interp.patching import RESTORED, restored, run_both
from locscope.models.parts import blocks

TOKENS, SAMPLES, VOCABULARY = 12, 10, 32000
SUBJECTS = ((1, 4), (5, 8))
"""Where the subject stands: near the beginning, and in the middle."""
SIZES = {8: 512, 24: 256}
"""Layers to width."""
KINDS = ("block", "mlp", "attn")


@dataclass(frozen=True)
class Row:
    """One size, measured: seconds for all cells of one fact, and the largest difference."""

    layers: int
    width: int
    subject: tuple[int, int]
    slow: float
    fast: float
    apart: float
    calls: int
    slow_calls: int


def model_of(layers: int, width: int) -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=int(2.75 * width),
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        initializer_range=0.1,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def subject_of(model: PreTrainedModel, span: tuple[int, int]) -> CorruptedPair:
    generator = torch.Generator().manual_seed(1)
    ids = tuple(torch.randint(3, VOCABULARY, (TOKENS,), generator=generator).tolist())
    answer = int(model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1].argmax())
    fact = Fact("one", ids, span, (answer,), False, "")
    return CorruptedPair(fact, ids, -1, SAMPLES, scale=0.2, seed=1)


def window_of(layers: int) -> int:
    return max(1, round(10 * min(1, layers / 32)))


def fast(hooked: HookedModel, subject: CorruptedPair, window: int) -> torch.Tensor:
    """(kinds, tokens, layers) mean probabilities of the answer."""
    ids = torch.tensor([subject.ids], device=hooked.bridged.device)

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return (logits[:, subject.fact.answer[0]] - logits.logsumexp(-1)).exp()

    runs = run_both(hooked, ids, ids.repeat(SAMPLES, 1), corrupting([subject]))
    first = subject.fact.span[0]
    return torch.stack(
        [
            restored(hooked, runs, kind, window, first, metric, 16384).mean(0)
            for kind in RESTORED.values()
        ]
    )


@torch.no_grad()
def slow(model: PreTrainedModel, subject: CorruptedPair, window: int) -> torch.Tensor:
    """The same, a whole forward of clean and noised rows for each."""
    layers, cells = len(blocks(model)), []
    for kind in KINDS:
        for token in range(TOKENS):
            for layer in range(layers):
                around = range(max(0, layer - window // 2), min(layers, layer - (-window // 2)))
                where = range(layer, layer + 1) if kind == "block" else around
                cells.append(_forward(model, subject, kind, list(where), token))
    return torch.tensor(cells).view(3, TOKENS, layers)


def _forward(
    model: PreTrainedModel, subject: CorruptedPair, kind: str, layers: list[int], token: int
) -> float:
    def corrupt(_: object, __: object, out: torch.Tensor) -> torch.Tensor:
        out[1:, slice(*subject.fact.span)] += subject.noise(out.shape[2]).to(out)
        return out

    def restore(_: object, __: object, out: object) -> object:
        whole = out[0] if isinstance(out, tuple) else out
        assert isinstance(whole, torch.Tensor)
        whole[1:, token] = whole[0, token]
        return out

    modules = {"block": "", "mlp": "mlp", "attn": "self_attn"}
    hooks = [model.get_input_embeddings().register_forward_hook(corrupt)]
    for layer in layers:
        module = blocks(model)[layer].get_submodule(modules[kind])
        hooks.append(module.register_forward_hook(restore))
    try:
        rows = torch.tensor([subject.ids] * (SAMPLES + 1), device=model.device)
        logits = model(input_ids=rows).logits
    finally:
        for hook in hooks:
            hook.remove()
    return float(logits[1:, -1].softmax(-1)[:, subject.fact.answer[0]].mean())


def compare(model: PreTrainedModel, span: tuple[int, int], repeats: int) -> Row:
    """Both sides in turns on one model and fact."""
    layers, width = len(blocks(model)), model.config.hidden_size
    hooked, subject, window = hooked_model_of(model), subject_of(model, span), window_of(layers)
    slows, fasts = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        expected = slow(model, subject, window)
        between = time.perf_counter()
        found = fast(hooked, subject, window).cpu()
        slows.append(between - began)
        fasts.append(time.perf_counter() - between)
    apart = float((expected - found).abs().max())
    calls = 2 * layers + (TOKENS - span[0]) * (3 * layers - 1)
    slow_calls = 3 * TOKENS * layers * layers
    return Row(layers, width, span, median(slows), median(fasts), apart, calls, slow_calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, choices=SIZES, nargs="*", default=list(SIZES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("reports/bench_trace.md"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = [model_of(layers, SIZES[layers]) for layers in options.layers]
    rows = [compare(model, span, options.repeats) for model in models for span in SUBJECTS]
    text = report(rows, options.threads, options.repeats)
    print(text)
    options.output.write_text(text, encoding="utf-8")


def report(rows: list[Row], threads: int, repeats: int) -> str:
    lines = [
        "# Causal tracing: against one whole forward per token and layer",
        "",
        f"`python -m analyses.bench_trace`; a random Llama, vocabulary {VOCABULARY}, one fact of "
        f"{TOKENS} tokens, {SAMPLES} samples; states, MLP and attention windows; {threads} "
        f"threads, medians of {repeats}, in turns.",
        "",
        "| blocks | width | subject at | one forward per cell (s) | locscope (s) | times faster | "
        "largest difference | block calls, theirs | ours |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.layers} | {r.width} | {r.subject[0]} to {r.subject[1] - 1} | {r.slow:.2f} | "
        f"{r.fast:.2f} | {r.slow / r.fast:.1f} | {r.apart:.1e} | {r.slow_calls:,} | {r.calls:,} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
