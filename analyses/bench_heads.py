"""How much faster ablating all heads is than one full forward for each.

    python analyses/bench_heads.py [--layers 12] [--width 512] [--threads 2] [--rounds 3]

A random Llama (12 blocks of 8 heads, 4 of keys and values, vocabulary 32,000) and 16 prompts of 12
tokens; every head is set to zero. Three ways, in turns within one run:

  per prompt   the reference: one forward of the plain model per prompt and head, with a torch hook
  per head     one forward of the plain model per head, all prompts at once
  locscope     what `head-ablation` runs

The plain model gives logits of all tokens, as Hugging Face models do. The forwards per prompt are
spread over the rounds, so that they take place once; of the other two the median counts. The bar:
5 times faster than one forward per head, with equal results. Writes reports/bench_heads.md.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from locscope.interp.ablation import HEAD_KINDS, head_effects
from locscope.interp.effects import drops
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel, hooked_model_of
from locscope.interp.silencing import ablation_of

BAR, VOCABULARY, HEADS = 5.0, 32_000, 8
REPORT = Path(__file__).parents[1] / "reports" / "bench_heads.md"


@dataclass
class Times:
    """Seconds for all heads; how far locscope's effects (probability, logit difference) are at most
    from those of the plain model, and the plain model's own two ways from each other."""

    prompt: float = 0.0
    head: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    apart: Tensor = field(default_factory=lambda: torch.zeros(2))
    plain: float = 0.0


def main() -> None:
    """Prints the table and writes it."""
    options = _options()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model = _model(options.layers, options.width)
    ids = torch.randint(0, VOCABULARY, (options.prompts, options.tokens))
    with torch.no_grad():
        found = _measured(model, ids.to(model.device), options)
    text = _told(found, options, str(model.device))
    print(text)
    REPORT.write_text(text, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = {"layers": 12, "width": 512, "prompts": 16, "tokens": 12, "threads": 2, "rounds": 3}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def _model(layers: int, width: int) -> PreTrainedModel:
    config = AutoConfig.for_model(
        "llama",
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=round(width * 2.75),
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        initializer_range=0.05,
        max_position_embeddings=256,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval().requires_grad_(False)


def _measured(model: PreTrainedModel, ids: Tensor, options: argparse.Namespace) -> Times:
    untouched = model(ids).logits[:, -1]
    answer, rival = untouched.topk(2).indices.T
    facts = [
        Fact(str(i), tuple(row), None, (int(token),), False, "")
        for i, (row, token) in enumerate(zip(ids.tolist(), answer.tolist(), strict=True))
    ]
    hooked = hooked_model_of(model)
    base = _standing(untouched, answer, rival)

    def forwards(rows: Tensor, layers: Sequence[int]) -> Tensor:
        """Effects (rows, layers, heads, 2), by one forward of these rows per head."""
        which = (ids[:, None] == rows[None]).all(-1).float().argmax(0)
        found = [
            [
                _ablated(model, rows, layer, head, answer[which], rival[which])
                for head in range(HEADS)
            ]
            for layer in layers
        ]
        lost = torch.stack([torch.stack(of_layer, dim=1) for of_layer in found], dim=1)
        return (base[which][:, None, None] - lost).cpu()

    every, times = range(options.layers), Times()
    _locscope(model, hooked, facts[:2])
    for turn in range(options.rounds):
        seconds, own = _timed(lambda: _locscope(model, hooked, facts))
        times.own.append(seconds)
        seconds, other = _timed(lambda: forwards(ids, every))
        times.head.append(seconds)
        some = every[turn :: options.rounds]
        seconds, slow = _timed(lambda rows=some: _each(ids, rows, forwards))
        times.prompt += seconds
        apart = torch.maximum((own[:, some] - other[:, some]).abs(), (own[:, some] - slow).abs())
        times.apart = torch.maximum(times.apart, apart.amax((0, 1, 2)))
        times.plain = max(times.plain, float((other[:, some] - slow).abs().max()))
    return times


def _each(
    ids: Tensor, layers: Sequence[int], forwards: Callable[[Tensor, Sequence[int]], Tensor]
) -> Tensor:
    return torch.cat([forwards(row, layers) for row in ids.split(1)])


def _locscope(model: PreTrainedModel, hooked: HookedModel, facts: Sequence[Fact]) -> Tensor:
    silent = ablation_of(hooked, facts, "z", "zero", 0, 16384)
    replacements = ((here, [z]) for here, z in silent.over(hooked, facts, HEAD_KINDS))
    return head_effects(model, hooked, replacements, drops(model, facts), 16384)


def _ablated(
    model: PreTrainedModel, rows: Tensor, layer: int, head: int, answer: Tensor, rival: Tensor
) -> Tensor:
    matrix = model.get_submodule(f"model.layers.{layer}.self_attn.o_proj")
    width = model.config.hidden_size // HEADS

    def silence(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
        z = args[0].clone()
        z[..., head * width : (head + 1) * width] = 0.0
        return (z,)

    handle = matrix.register_forward_pre_hook(silence)
    out = model(rows, use_cache=False).logits[:, -1]
    handle.remove()
    return _standing(out, answer, rival)


def _standing(scored: Tensor, answer: Tensor, rival: Tensor) -> Tensor:
    """The answer's probability, and its logit less the rival's."""
    mine, other = (scored.gather(1, tokens[:, None])[:, 0] for tokens in (answer, rival))
    return torch.stack([(mine - scored.logsumexp(-1)).exp(), mine - other], dim=-1)


def _timed(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.perf_counter()
    found = run()
    return time.perf_counter() - began, found


def _told(found: Times, options: argparse.Namespace, device: str) -> str:
    own, head = median(found.own), median(found.head)
    rows = [("per prompt", found.prompt), ("per head", head), ("locscope", own)]
    lines = [
        "# All heads, one forward each, against locscope",
        "",
        f"{options.layers} blocks of {HEADS} heads, width {options.width}, "
        f"vocabulary {VOCABULARY}, "
        f"{options.prompts} prompts of {options.tokens} tokens; threads: {options.threads}, "
        f"{device}; {options.rounds} rounds of analyses/bench_heads.py.",
        "",
        "| way | seconds | times locscope |",
        "|---|---|---|",
        *(f"| {name} | {seconds:.2f} | {seconds / own:.2f} |" for name, seconds in rows),
        "",
        f"Bar {BAR:g} against one forward per head and prompt: {_verdict(found.prompt / own)}; "
        f"against one per head, all prompts at once: {_verdict(head / own)}.",
        f"Largest difference from the plain model: {found.apart[0]:.1e} in probability, "
        f"{found.apart[1]:.1e} in logits; of its two ways from each other: {found.plain:.1e}.",
    ]
    return "\n".join(lines) + "\n"


def _verdict(ratio: float) -> str:
    return "reached" if ratio >= BAR else "not reached"


if __name__ == "__main__":
    main()
