"""What a GPU gives, in one script of some minutes, each part printed when it is done.

    python -m analyses.bench_gpu [--only tests,tuning,tracing,search] [--model DIR] [--edits FILE]

- tests: those marked `gpu`.
- tuning: a model of Llama-3-8B's shape with random weights in bfloat16; a step at L22.mlp.down on
  the prefix cache and in the plain loop (all blocks, logits of all tokens; in float32 and
  bfloat16), and 1,000 edits tuned for 25 epochs, the prefix cache's start included.
- tracing: all cells of one fact on that model, against one whole forward for each.
- search: `locscope search` of --model with 60 edits of --edits; left out where none is given.

Without a GPU `--small` runs all of it on a model of four blocks. Writes reports/bench_gpu.md.
On a machine that has torch and transformers alone, these travel as wheels (42 MB): transformers
5.23, transformer-lens, datasets, dill, multiprocess, xxhash, fancy-einsum, plotly, pandas,
pydantic, pydantic-core, annotated-types, typing-inspection, jaxtyping, beartype, typeguard, captum,
pexpect, ptyprocess, pyte, wcwidth.
"""

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import nan
from pathlib import Path
from statistics import median

import torch
import transformers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from analyses.bench_step import plain_step, prefix_cache_step
from analyses.bench_trace import compare, fast, subject_of, window_of
from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import PrefixCache
from locscope.interp.hooked_model import hooked_model_of
from locscope.locations import Location
from locscope.models.parts import blocks, slices
from locscope.records import Recipe, default_batch
from locscope.tuning.breadth_first import tune
from locscope.tuning.master_weights import temporarily_trainable

PAGE = Path(__file__).parents[1] / "reports" / "bench_gpu.md"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EDITS, EPOCHS, STEPS = 1000, 25, 5
TOKENS, ANSWER = (18, 30), 4
"""A row has so many tokens, drawn; the last ones are the answer. As CounterFact's have."""


@dataclass(frozen=True)
class Timed:
    """A step of tuning: seconds, and operations a second that its matrix products took."""

    name: str
    seconds: float
    rate: float


def main() -> None:
    """Runs the parts that are asked for and writes the page."""
    args = _parse()
    parts: dict[str, Callable[[], str]] = {
        "tests": tests,
        "tuning": lambda: tuning(model_of(small=args.small)),
        "tracing": lambda: tracing(model_of(small=args.small)),
        "search": lambda: search(args.model, args.edits),
    }
    texts = [f"# On a GPU\n\n`python -m analyses.bench_gpu`; {_card()}"]
    print(texts[0], flush=True)
    for name in args.only.split(","):
        began = time.perf_counter()
        texts.append(f"## {name.capitalize()}\n\n{parts[name]()}")
        print(f"{texts[-1]}\n({time.perf_counter() - began:.0f} s)", flush=True)
    args.output.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="tests,tuning,tracing,search")
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--edits", type=Path, default=None)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--output", type=Path, default=PAGE)
    return parser.parse_args()


def _card() -> str:
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else "no GPU"
    return f"{card}, torch {torch.__version__}, transformers {transformers.__version__}"


def tests() -> str:
    """The tests marked gpu, as pytest sums them up."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "6", "--tb=short", "tests/gpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-6000:], flush=True)
    return (done.stdout.strip().splitlines() or [done.stderr[-2000:]])[-1]


@cache
def model_of(*, small: bool) -> PreTrainedModel:
    """Llama-3-8B's shape, or a tiny one, with random weights in bfloat16."""
    config = LlamaConfig(
        vocab_size=128256 if not small else 32000,
        hidden_size=4096 if not small else 64,
        intermediate_size=14336 if not small else 256,
        num_hidden_layers=32 if not small else 4,
        num_attention_heads=32 if not small else 8,
        num_key_value_heads=8 if not small else 4,
        max_position_embeddings=512,
        dtype=torch.bfloat16,
    )
    torch.manual_seed(0)
    with torch.device(DEVICE):
        model = LlamaForCausalLM(config)
    return model.to(torch.bfloat16).eval().requires_grad_(False)


def tuning(model: PreTrainedModel) -> str:
    """A step on the prefix cache and in plain loops, and a whole edit of a thousand."""
    layer = round(len(blocks(model)) * 22 / 32)
    location, batch = Location.at(layer, "mlp.down"), default_batch(EDITS)
    rows = _rows(EDITS)
    timed = [_on_prefix_cache(model, location, rows[:batch]), _plain(model, location, rows[:batch])]
    whole, started = _whole(model, location, rows)
    timed.append(_plain(copy.deepcopy(model).float(), location, rows[:batch]))
    steps = EPOCHS * -(-EDITS // batch)
    lines = [
        f"{location}, batches of {batch} rows of {TOKENS[0]} to {TOKENS[1]} tokens, medians of "
        f"{STEPS}. A matrix product of 8192 by 8192 in bfloat16 runs at {_peak():.0f} TFLOP/s.",
        "",
        "| | ms a step | times the prefix cache's | TFLOP/s | seconds an edit, 25 epochs |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.name} | {1000 * one.seconds:.1f} | {one.seconds / timed[0].seconds:.1f} | "
        f"{one.rate / 1e12:.1f} | {one.seconds * steps / EDITS:.4f} |"
        for one in timed
    ]
    count = sum(len(row.ids) for row in rows) * EPOCHS
    lines += [
        "",
        f"The whole edit of {EDITS} takes {whole:.1f} s, {started:.1f} s of them for the prefix "
        f"cache's start: {whole / EDITS:.4f} s an edit, {count / whole:,.0f} tokens a second.",
    ]
    return "\n".join(lines)


def _rows(count: int) -> list[TokenRow]:
    generator = torch.Generator().manual_seed(1)

    def drawn(low: int, high: int, size: int) -> list[int]:
        return torch.randint(low, high, (size,), generator=generator).tolist()

    lengths = drawn(*TOKENS, count)
    return [TokenRow(tuple(drawn(3, 32000, n)), n - ANSWER, 2) for n in lengths]


def _on_prefix_cache(model: PreTrainedModel, location: Location, rows: Sequence[TokenRow]) -> Timed:
    prefix_cache = PrefixCache(model, pack(rows))
    prefix_cache.enter(location.lowest)
    with temporarily_trainable(model, slices(model, location), torch.bfloat16) as masters:
        seconds = _median(prefix_cache_step(prefix_cache, masters, len(rows)))
    above = len(blocks(model)) - location.lowest
    return Timed(
        "on the prefix cache, bfloat16", seconds, _operations(model, rows, above) / seconds
    )


def _plain(model: PreTrainedModel, location: Location, rows: Sequence[TokenRow]) -> Timed:
    weight = model.get_parameter(slices(model, location)[0].name)
    kept = weight.detach().clone()
    weight.requires_grad_(True)
    seconds = _median(plain_step(model, weight, rows))
    weight.requires_grad_(False)
    weight.grad = None
    with torch.no_grad():
        weight.copy_(kept)
    work = _operations(model, rows, len(blocks(model)) - location.lowest, plain=True)
    name = f"plain loop, {str(model.dtype).removeprefix('torch.')}"
    return Timed(name, seconds, work / seconds)


def _operations(
    model: PreTrainedModel, rows: Sequence[TokenRow], above: int, *, plain: bool = False
) -> float:
    """Of the matrix products of one step on rows as long as they are: two a weight and token in
    every pass, forward through what runs and back through the blocks above and the head."""
    tokens, scored = sum(len(row.ids) for row in rows), (ANSWER + 1) * len(rows)
    a_block = sum(value.numel() for value in blocks(model)[0].parameters() if value.dim() == 2)
    head = model.get_output_embeddings().weight.numel()
    forward = len(blocks(model)) if plain else above
    at_head = tokens if plain else scored
    return 2.0 * (tokens * a_block * (forward + above) + 2 * at_head * head)


def _whole(
    model: PreTrainedModel, location: Location, rows: Sequence[TokenRow]
) -> tuple[float, float]:
    """Seconds of 25 epochs on all rows, and of the prefix cache's start within them."""
    recipe = Recipe(
        lr=1e-5, batch=default_batch(EDITS), epochs=EPOCHS, skip_below=0.0, stop_below=0.0
    )
    began = _now()
    prefix_cache = PrefixCache(model, pack(rows))
    prefix_cache.enter(location.lowest)
    started = _now() - began
    with temporarily_trainable(model, slices(model, location), torch.bfloat16) as masters:
        epochs = tune(prefix_cache, masters, tuple(range(len(rows))), recipe, seed=0)
    took = _now() - began
    return (took, started) if len(epochs) == EPOCHS else (nan, nan)


def _median(step: Callable[[], object]) -> float:
    """Seconds of a step, the first two left out."""
    times: list[float] = []
    for _ in range(STEPS + 2):
        began = _now()
        step()
        times.append(_now() - began)
    return median(times[2:])


def _now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak() -> float:
    """TFLOP/s of a large matrix product."""
    size = 8192 if DEVICE == "cuda" else 512
    a, b = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))

    def product() -> Tensor:
        return a @ b

    return 2 * size**3 / _median(product) / 1e12


def tracing(model: PreTrainedModel) -> str:
    """All cells of one fact, against one whole forward for each; kernels are loaded before."""
    hooked, subject = hooked_model_of(model), subject_of(model, (5, 8))
    fast(hooked, subject, window_of(len(blocks(model)))).cpu()
    row = compare(model, (5, 8), repeats=1)
    return (
        f"{row.layers} blocks of width {row.width}: {row.fast:.2f} s, one forward for each cell "
        f"{row.slow:.1f} s: {row.slow / row.fast:.1f} times faster; probabilities differ by "
        f"{row.apart:.1e} at most."
    )


def search(model: Path | None, edits: Path | None) -> str:
    """A search with the default settings on 60 edits, as the command says it."""
    if model is None or edits is None:
        return "Left out: no --model and --edits."
    with tempfile.TemporaryDirectory() as folder:
        given = ["--model", str(model), "--edits", str(edits), "--limit", "60"]
        given += ["--conflicts", "last", "--output", f"{folder}/run"]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "locscope", "search", *given],
            capture_output=True,
            text=True,
            check=False,
        )
        took = time.perf_counter() - began
    said = done.stdout.strip() or done.stderr[-2000:]
    return f"{took:.0f} s, exit code {done.returncode}.\n\n```\n{said}\n```"


if __name__ == "__main__":
    main()
