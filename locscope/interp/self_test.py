"""Self-test of the hooked model, before any scan trusts its activations."""

from collections.abc import Sequence
from typing import NoReturn

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import UsageError, ran_out_of_memory
from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.interp.hooked_model import (
    ACTIVATIONS,
    READ_ONLY,
    HookedModel,
    HookFn,
    hook_name,
    recording,
    with_hooks,
)
from locscope.interp.linear import head_outputs, output_bias

TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Relative to the largest logit: the hooked model computes attention itself, in another order."""
LEAST = 6
"""Least tokens of the prompt: a single token attends to itself whatever its query is."""


@torch.no_grad()
def check_hooked_model(hooked: HookedModel, model: PreTrainedModel, prompt: Sequence[int]) -> None:
    """Checks that the hooked model sees and changes what its hooks say.

    It answers as the model does; every hook fires once in a pass; putting every activation back
    changes nothing, while zero instead does, in the first block and the last; attention and MLP sum
    to what the stream grows by, heads and bias to the attention's output. Raises UsageError where
    one of these does not hold.
    """
    ids = torch.tensor([(list(prompt) * LEAST)[: max(LEAST, len(prompt))]], device=model.device)
    plain = logits(model, run_blocks(model, ids))
    try:
        found = logits(hooked.bridged, run_blocks(hooked.bridged, ids))
    except RuntimeError as error:
        if ran_out_of_memory(error):
            raise
        _fail(hooked, f"it does not run ({str(error).splitlines()[0]})")
    _equal(hooked, found, plain, "its logits differ")
    seen, back = _identity(hooked, ids)
    _equal(hooked, back, plain, "putting activations back as they are changes its logits")
    for name, count in _fired(hooked, seen).items():
        if count != 1:
            _fail(hooked, f"hook {name} fires {count} times in a pass")
    _check_sums(hooked, ids)
    _check_writes(hooked, ids)
    _check_heads(hooked, model, ids)


def _check_writes(hooked: HookedModel, ids: Int[Tensor, "1 seq"]) -> None:
    """Zero instead of an activation must change the hooked model's logits."""
    # Compared bit by bit with its own logits: those of the plain model differ by rounding.
    own = logits(hooked.bridged, run_blocks(hooked.bridged, ids))
    ends = {0, hooked.layers - 1}
    written = {hook_name(kind, layer) for kind in ACTIVATIONS for layer in ends}
    for name in sorted(written - _read_only(hooked)):
        with with_hooks(hooked, {name: torch.zeros_like}):
            changed = logits(hooked.bridged, run_blocks(hooked.bridged, ids))
        if torch.equal(changed, own):
            _fail(hooked, f"writing to {name} changes nothing")


def _check_sums(hooked: HookedModel, ids: Int[Tensor, "1 seq"]) -> None:
    """What attention and MLP add is what the stream grows by: Granite scales both on the way."""
    kinds = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    names = [[hook_name(kind, layer) for kind in kinds] for layer in range(hooked.layers)]
    with recording(hooked, *(name for of_layer in names for name in of_layer)) as seen:
        run_blocks(hooked.bridged, ids)
    for layer, (before, attention, mlp, after) in enumerate(names):
        problem = f"what attention and MLP of layer {layer} write is not what the stream grows by"
        _equal(hooked, seen[before] + seen[attention] + seen[mlp], seen[after], problem)


def _read_only(hooked: HookedModel) -> set[str]:
    return {hook_name(kind, layer) for kind in READ_ONLY for layer in range(hooked.layers)}


def _identity(hooked: HookedModel, ids: Int[Tensor, "1 seq"]) -> tuple[list[str], Tensor]:
    """The hooks that fired, in order, and the logits when each put back a copy of its value."""
    seen: list[str] = []
    untouched = _read_only(hooked)

    def back(name: str) -> HookFn:
        def edit(value: Tensor) -> Tensor | None:
            seen.append(name)
            return None if name in untouched else value.clone()

        return edit

    with with_hooks(hooked, {name: back(name) for name in _names(hooked)}):
        return seen, logits(hooked.bridged, run_blocks(hooked.bridged, ids))


def _names(hooked: HookedModel) -> list[str]:
    per_layer = [kind for kind in ACTIVATIONS if kind != "embed"]
    return [hook_name("embed")] + [hook_name(k, i) for i in range(hooked.layers) for k in per_layer]


def _fired(hooked: HookedModel, seen: Sequence[str]) -> dict[str, int]:
    return {name: seen.count(name) for name in _names(hooked)}


def _check_heads(hooked: HookedModel, model: PreTrainedModel, ids: Int[Tensor, "1 seq"]) -> None:
    layers = range(hooked.layers)
    with recording(hooked, *(hook_name(k, i) for k in ("z", "heads_out") for i in layers)) as seen:
        run_blocks(hooked.bridged, ids)
    for layer in layers:
        total = head_outputs(model, layer, seen[hook_name("z", layer)]).sum(2)
        bias = output_bias(model, layer)
        total = total if bias is None else total + bias
        problem = f"the heads of layer {layer} do not sum to their output"
        _equal(hooked, total, seen[hook_name("heads_out", layer)], problem)


def _equal(hooked: HookedModel, values: Tensor, wanted: Tensor, problem: str) -> None:
    scale = max(float(wanted.abs().max()), 1e-6)
    far = float((values.float() - wanted.float()).abs().max()) / scale
    # Not `far > ...`: NaN must fail, too.
    if not far <= TOLERANCE[hooked.bridged.dtype]:
        _fail(hooked, f"{problem} (by {far:.1e} of the largest)")


def _fail(hooked: HookedModel, problem: str) -> NoReturn:
    raise UsageError(
        f"self-test of the hooked {type(hooked.bridged).__name__}: {problem}; its activations "
        "cannot be trusted, take scans that need none (--scans weight-gradient)"
    )
