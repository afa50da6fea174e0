"""How much faster a training step is on the prefix cache than in the plain loop.

    python analyses/bench_step.py [--width 256] [--layers 16] [--steps 9] [--json FILE]

A random Llama with a 32k vocabulary, tuned at one MLP down-projection at 3/4 and at 1/2 of its
depth. The plain loop runs all blocks and gives logits of all tokens; both step the same Adam on the
same rows, in turns within one run. Bars: 4 times at 3/4, 2.5 times at half depth.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from locscope.forward.packed import TokenRow, pack
from locscope.forward.prefix_cache import PrefixCache
from locscope.locations import Location
from locscope.models.parts import slices
from locscope.tuning import breadth_first
from locscope.tuning.master_weights import MasterWeights, temporarily_trainable

BARS = {0.75: 4.0, 0.5: 2.5}
STOP, VOCABULARY = 2, 32_000


def main() -> None:
    """Prints the table and, where asked, writes it."""
    options = _options()
    torch.manual_seed(0)
    model = _model(options.layers, options.width)
    rows = _rows(options.batch)
    found = [_compare(model, rows, depth, options.steps) for depth in BARS]
    print(
        f"{options.layers} blocks, width {options.width}, vocabulary {VOCABULARY}, batch", end=" "
    )
    print(
        f"{options.batch} rows of {min(map(_length, rows))}-{max(map(_length, rows))} tokens,",
        end=" ",
    )
    print(f"medians of {options.steps} steps, {torch.get_num_threads()} threads, {model.device}")
    print(f"{'depth':>6} {'plain ms':>9} {'trunk ms':>9} {'ratio':>6} {'bar':>5}")
    for one in found:
        print("{depth:>6} {plain:>9.1f} {prefix_cache:>9.1f} {ratio:>6.2f} {bar:>5}".format(**one))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"layers": 16, "width": 256, "batch": 32, "steps": 9}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


def _model(layers: int, width: int) -> PreTrainedModel:
    config = AutoConfig.for_model(
        "llama",
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=round(width * 2.75),
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 64,
        max_position_embeddings=256,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval().requires_grad_(False)


def _rows(count: int) -> list[TokenRow]:
    """About 24 tokens each, of which the last 3 are the answer."""
    lengths = torch.randint(20, 29, (count,)).tolist()
    ids = [tuple(torch.randint(3, VOCABULARY, (n,)).tolist()) for n in lengths]
    return [TokenRow(row, len(row) - 3, STOP) for row in ids]


def _length(row: TokenRow) -> int:
    return len(row.ids)


def _compare(
    model: PreTrainedModel, rows: Sequence[TokenRow], depth: float, steps: int
) -> dict[str, float]:
    layer = int(len(model.model.layers) * depth)
    found = slices(model, Location.at(layer, "mlp.down"))
    prefix_cache = PrefixCache(model, pack(rows))
    prefix_cache.enter(layer)
    with temporarily_trainable(model, found, torch.float32) as masters:
        on_prefix_cache = prefix_cache_step(prefix_cache, masters, len(rows))
        plain = plain_step(model, model.get_parameter(found[0].name), rows)
        times = _in_turns((plain, on_prefix_cache), steps)
    slow, fast = (1000 * median(values) for values in times)
    return {
        "depth": depth,
        "plain": slow,
        "prefix_cache": fast,
        "ratio": slow / fast,
        "bar": BARS[depth],
    }


def _in_turns(tasks: Sequence[Callable[[], object]], steps: int) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in tasks]
    for step in range(steps + 2):
        for task, kept in zip(tasks, times, strict=True):
            began = time.perf_counter()
            task()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if step >= 2:  # the first two warm up
                kept.append(time.perf_counter() - began)
    return times


def prefix_cache_step(
    prefix_cache: PrefixCache, masters: MasterWeights, count: int
) -> Callable[[], object]:
    adam = torch.optim.Adam(masters.values, lr=1e-6)

    def step() -> None:
        breadth_first.batch_gradient(prefix_cache, masters, range(count), 0.0)
        adam.step()
        masters.write_back()

    return step


def plain_step(
    model: PreTrainedModel, weight: torch.nn.Parameter, rows: Sequence[TokenRow]
) -> Callable[[], object]:
    adam = torch.optim.Adam([weight], lr=1e-6)
    ids, mask, labels = (t.to(model.device) for t in _left_padded(rows))

    def step() -> float:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        loss = (losses.view_as(labels).sum(1) / (labels != -100).sum(1)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    return step


def _left_padded(rows: Sequence[TokenRow]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids with the stop token, mask, and what each position should predict."""
    longest = max(map(_length, rows)) + 1
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, row in enumerate(rows):
        whole = torch.tensor([*row.ids, row.final])
        ids[i, longest - len(whole) :], mask[i, longest - len(whole) :] = whole, 1
        labels[i, longest - len(whole) + row.answer - 1 : -1] = whole[row.answer :]
    return ids, mask, labels


if __name__ == "__main__":
    main()
