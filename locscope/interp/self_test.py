"""Before any scan trusts the hooked twin: does it see and change what it says it does?"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.interp.heads import head_outputs, output_bias
from locscope.interp.hooked_model import ACTIVATIONS, READ_ONLY, Edit, Lens, hooked, place, recorded

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Relative to the largest logit: the twin computes attention itself, in another order."""
LEAST = 6
"""Tokens: a single one attends to itself whatever its query is."""


@torch.no_grad()
def check_lens(lens: Lens, model: PreTrainedModel, prompt: Sequence[int]) -> None:
    """A UsageError says what is wrong with the twin: then its numbers would be, too.

    The twin answers as the model; every hook fires once in a pass; putting every activation back
    as it is changes nothing, and zero in its place does, in the first block and the last; heads and
    bias sum to the attention's output.
    """
    ids = torch.tensor([(list(prompt) * LEAST)[: max(LEAST, len(prompt))]], device=model.device)
    plain = logits(model, run_blocks(model, ids))
    _equal(lens, logits(lens.twin, run_blocks(lens.twin, ids)), plain, "its logits differ")
    seen, back = _identity(lens, ids)
    _equal(lens, back, plain, "putting activations back as they are changes its logits")
    for name, count in _fired(lens, seen).items():
        if count != 1:
            _fail(lens, f"hook {name} fires {count} times in a pass")
    _check_writes(lens, ids)
    _check_heads(lens, model, ids)


def _check_writes(lens: Lens, ids: Int[Tensor, "1 seq"]) -> None:
    """What is written must be read: zero in the place of an activation changes the twin's logits.

    Compared with the twin's own, which are the same to the last bit where nothing was written.
    """
    own = logits(lens.twin, run_blocks(lens.twin, ids))
    ends = {0, lens.layers - 1}
    written = {place(kind, layer) for kind in ACTIVATIONS for layer in ends}
    for name in sorted(written - _read_only(lens)):
        with hooked(lens, {name: torch.zeros_like}):
            changed = logits(lens.twin, run_blocks(lens.twin, ids))
        if torch.equal(changed, own):
            _fail(lens, f"writing to {name} changes nothing")


def _read_only(lens: Lens) -> set[str]:
    return {place(kind, layer) for kind in READ_ONLY for layer in range(lens.layers)}


def _identity(lens: Lens, ids: Int[Tensor, "1 seq"]) -> tuple[list[str], Tensor]:
    """The hooks that fired, in order, and the logits when each put back a copy."""
    seen: list[str] = []
    untouched = _read_only(lens)

    def back(name: str) -> Edit:
        def edit(value: Tensor) -> Tensor | None:
            seen.append(name)
            return None if name in untouched else value.clone()

        return edit

    with hooked(lens, {name: back(name) for name in _names(lens)}):
        return seen, logits(lens.twin, run_blocks(lens.twin, ids))


def _names(lens: Lens) -> list[str]:
    per_layer = [kind for kind in ACTIVATIONS if kind != "embed"]
    return [place("embed")] + [place(k, i) for i in range(lens.layers) for k in per_layer]


def _fired(lens: Lens, seen: Sequence[str]) -> dict[str, int]:
    return {name: seen.count(name) for name in _names(lens)}


def _check_heads(lens: Lens, model: PreTrainedModel, ids: Int[Tensor, "1 seq"]) -> None:
    layers = range(lens.layers)
    with recorded(lens, *(place(k, i) for k in ("z", "heads_out") for i in layers)) as seen:
        run_blocks(lens.twin, ids)
    for layer in layers:
        total = head_outputs(model, layer, seen[place("z", layer)]).sum(2)
        bias = output_bias(model, layer)
        total = total if bias is None else total + bias
        problem = f"the heads of layer {layer} do not sum to their output"
        _equal(lens, total, seen[place("heads_out", layer)], problem)


def _equal(lens: Lens, found: Tensor, wanted: Tensor, problem: str) -> None:
    scale = max(float(wanted.abs().max()), 1e-6)
    far = float((found.float() - wanted.float()).abs().max()) / scale
    if not far <= TOLERANCE[lens.twin.dtype]:
        _fail(lens, f"{problem} (by {far:.1e} of the largest)")


def _fail(lens: Lens, problem: str) -> None:
    raise UsageError(
        f"self-test of the hooked {type(lens.twin).__name__}: {problem}; its activations cannot be "
        "trusted, take scans that need none (--scans weight-gradient)"
    )
