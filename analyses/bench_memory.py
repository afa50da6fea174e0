"""Peak memory of every scan: does it stay within the budget, whatever the number of requests?

    python -m analyses.bench_memory                          all scans, 64 and 512 requests
    python -m analyses.bench_memory --scans causal-tracing --requests 64 512 --budget 0.05

A random Llama of 24 blocks with the bundled tokenizer and the bundled edits (repeated where there
are fewer), one scan over all of them, and the peak above what was held before the scan. Each
measurement is a process of its own, forked once the model, its hooked model and the facts are
there. The budget is in GiB and set for device and host alike. Writes `reports/bench_memory.md`.
"""

import argparse
import ctypes
import gc
import multiprocessing
from dataclasses import replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from locscope.edits import read_edits
from locscope.evaluation.build_suite import prepare
from locscope.evaluation.suite import EvalTexts
from locscope.forward.batching import tokens_that_fit
from locscope.forward.decoding import TextGenerator
from locscope.forward.prefix_cache import Budget, PrefixCache
from locscope.models.load import Loaded, load
from locscope.models.parts import grid
from locscope.progress import Silent
from locscope.records import ScanOptions
from locscope.scans import SCANS
from locscope.scans.context import ScanContext
from locscope.scans.run import run_scan

BLOCKS, WIDTH = 24, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", nargs="*", default=list(SCANS))
    parser.add_argument("--requests", nargs="*", type=int, default=[64, 512])
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--output", type=Path, default=Path("reports/bench_memory.md"))
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in options.scans}
    for requests in options.requests:
        context = context_of(requests, int(options.budget * (1 << 30)))
        # What several scans share is there before; what it takes itself is not the scan's.
        _ = context.hooked, context.facts
        for name in options.scans:
            found[name].append(_apart(name, context))
            print(requests, name, found[name][-1], flush=True)
    rows = list(found.items())
    text = report(rows, options.requests, options.budget)
    print(text)
    options.output.write_text(text, encoding="utf-8")


def _apart(name: str, context: ScanContext) -> dict[str, float]:
    """`measure` in a process of its own."""
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)
    child = fork.Process(target=lambda: sending.send(measure(name, context)))
    child.start()
    # Else a child that fails would be waited for.
    sending.close()
    found = receiving.recv()
    child.join()
    return found


def measure(name: str, context: ScanContext) -> dict[str, float]:
    """MiB that the scan added to the peak of this process, and its seconds."""
    gc.collect()
    # What is free but still counted would hide what the scan takes.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    # Linux: the peak starts again from what is held now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    found = run_scan(name, context)
    return {
        "mib": (_status("VmHWM") - before) / 1024,
        "seconds": found.seconds,
        "usable": found.usable,
    }


def _status(name: str) -> int:
    """KiB of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def context_of(requests: int, budget: int) -> ScanContext:
    """A context over a random model of 24 blocks that speaks the bundled model's tokens."""
    demo = load("demo")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=demo.info.vocabulary,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    info = replace(demo.info, layers=BLOCKS, width=WIDTH, grid=grid(model), family="llama")
    edits = read_edits("demo").edits
    many = [
        replace(edits[i % len(edits)], id=f"e{i}", rephrases=(), forms=()) for i in range(requests)
    ]
    suite = prepare(
        TextGenerator(model, demo.tokenizer, (demo.tokenizer.eos_token_id,)),
        many,
        EvalTexts(neutral=tuple(edit.prompt for edit in edits[:32])),
    )
    room = Budget(budget, budget)
    prefix_cache = PrefixCache(model, suite.packed, room, tokens_that_fit(model, budget))
    return ScanContext(
        Loaded(model, demo.tokenizer, info, None),
        suite,
        prefix_cache,
        tuple(edit.id for edit in many),
        seed=0,
        progress=Silent(),
        options=ScanOptions(samples=2, requests=0),
    )


def report(
    rows: list[tuple[str, list[dict[str, float]]]], requests: list[int], budget: float
) -> str:
    lines = [
        "# Peak memory of the scans",
        "",
        f"`python -m analyses.bench_memory`; a random Llama of {BLOCKS} blocks, width {WIDTH}, "
        f"float32, `--device-memory` and `--host-memory` {budget:g} GiB ({budget * 1024:.0f} MiB); "
        "MiB above what the process held before the scan.",
        "",
        "| scan | " + " | ".join(f"{n} requests (MiB)" for n in requests) + " | seconds |",
        "|---|" + "---:|" * (len(requests) + 1),
    ]
    lines += [
        f"| {name} | "
        + " | ".join(f"{one['mib']:.0f}" for one in found)
        + f" | {found[-1]['seconds']:.1f} |"
        for name, found in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
