"""Seconds and bytes of tuning small models on this machine, for `analyses.scaling`.

    python -m analyses.bench_scaling --json small.json

Each shape is a random Llama in float32 on one thread, in a process of its own: the prefix cache is
brought to a layer, and steps tune `mlp.down` there. Seconds are those of the process's CPU (the
median of steps), MiB the peak above what is held once the model is there.
"""

import argparse
import ctypes
import gc
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from analyses.bench_step import prefix_cache_step
from analyses.scale_parts.cost import Shape
from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import ON_CPU, PrefixCache
from locscope.locations import Location
from locscope.models.parts import slices
from locscope.tuning.master_weights import temporarily_trainable

VOCABULARY, STOP, ANSWER, STEPS, PREFIXES = 4096, 2, 3, 5, 4
CALIBRATING = (
    *((4, 128, 32, 3), (8, 192, 32, 4), (4, 256, 64, 1)),
    *((12, 256, 32, 6), (6, 384, 32, 2)),
)
CHECKED = ((16, 256, 48, 12), (16, 384, 48, 6), (8, 512, 32, 6), (16, 512, 64, 4))
"""Layers, width, rows of a batch, and the tuned layer: what constants are fitted on, and what they
then have to tell."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("small.json"))
    options = parser.parse_args()
    found = {name: [apart(*one) for one in those] for name, those in GROUPS.items()}
    options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


GROUPS = {"calibrating": CALIBRATING, "checked": CHECKED}


def shape_of(layers: int, width: int) -> Shape:
    """A small shape: heads of 32, half as many for keys and values, an MLP of 2.75 widths."""
    name, heads = f"{layers} x {width}", width // 32
    return Shape(name, layers, width, round(2.75 * width), heads, heads // 2, VOCABULARY)


def apart(layers: int, width: int, rows: int, layer: int) -> dict[str, Any]:
    """`measured` in a process of its own, so that nothing of another run is held."""
    fork = multiprocessing.get_context("fork")
    receiving, sending = fork.Pipe(duplex=False)
    given = (shape_of(layers, width), rows, layer)
    child = fork.Process(target=lambda: sending.send(measured(*given)))
    child.start()
    # Else a child that fails would be waited for.
    sending.close()
    found = receiving.recv()
    child.join()
    print(found, flush=True)
    return found


def measured(shape: Shape, count: int, layer: int) -> dict[str, Any]:
    """Seconds of the prefix and of a step, and MiB that they added to the peak."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = _model(shape)
    rows = _rows(count)
    gc.collect()
    # What is free but still counted would hide what is taken.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    held = _status("VmRSS")
    prefix_cache = PrefixCache(model, pack(rows))
    prefixes = list[float]()
    for _ in range(PREFIXES):
        prefix_cache.release()
        prefixes.append(_seconds(lambda: prefix_cache.enter(layer)))
    found = slices(model, Location.at(layer, "mlp.down"))
    with temporarily_trainable(model, found, torch.float32) as masters:
        step = prefix_cache_step(prefix_cache, masters, count)
        steps = [_seconds(step) for _ in range(STEPS + 2)]
    tokens = sum(len(row.ids) for row in rows)
    return {
        "shape": shape._asdict(),
        "layer": layer,
        "tokens": tokens,
        "scored": (ANSWER + 1) * count,
        "pieces": len(list(prefix_cache.batches(range(count)))),
        "at_once": min(tokens, ON_CPU),
        "prefix": median(prefixes[1:]),
        "step": median(steps[2:]),
        "bytes": (_status("VmHWM") - held) * 1024,
    }


def _model(shape: Shape) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.shared,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def _rows(count: int) -> list[TokenRow]:
    """18 to 30 tokens each, of which the last 3 are the answer."""
    lengths = torch.randint(18, 31, (count,)).tolist()
    ids = [tuple(torch.randint(3, VOCABULARY, (n,)).tolist()) for n in lengths]
    return [TokenRow(row, len(row) - ANSWER, STOP) for row in ids]


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _status(name: str) -> int:
    """KiB of this process, as Linux counts them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
