"""The hooked model: activations read and patched through TransformerLens.

The hooked model shares the model's weights (except GPT-NeoX's fused query-key-value matrices, which
are copied), so it costs little, and the model that is tuned and saved is never changed. It is a
Hugging Face model too: `run_blocks` and `logits` run it from any block on, and hooks fire in the
blocks that run.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from locscope.errors import UsageError, ran_out_of_memory
from locscope.models.parts import blocks
from locscope.models.streaming.blocks import streaming_of

ACTIVATIONS = {
    "embed": "hook_embed",
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "mlp_in": "blocks.{}.ln2.hook_normalized",
    "neurons": "blocks.{}.mlp.hook_post",
    "z": "blocks.{}.attn.hook_z",
    "q": "blocks.{}.attn.hook_q",
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "scores": "blocks.{}.attn.hook_attn_scores",
    "pattern": "blocks.{}.attn.hook_pattern",
    "heads_out": "blocks.{}.attn.hook_out",
}
"""Activations that can be read and patched, with their hooks.

Shapes: (batch, seq, width) for those of the residual stream, (batch, seq, heads, head_width) for z
and q, key-value heads for k and v, (batch, heads, seq, seq) for patterns and for the masked scores
of which they are the softmax, (batch, seq, hidden) for neurons. `heads_out` is the sum of the heads
and the bias; `attn_out` is what is added to the stream, which some families normalise first. There
is no `resid_mid`: writing to it reaches the MLP alone (TransformerLens 4.3).
"""

READ_ONLY = ("mlp_in",)
"""Writing to these makes TransformerLens compute the norm in another way, and warn."""

HookFn = Callable[[Tensor], Tensor | None]
"""From an activation to its replacement (a new tensor), or None to leave it."""


@dataclass(frozen=True)
class HookedModel:
    """A model and its hooked copy, which runs as the model does. `layers` counts their blocks.

    `points` are the hooks by name: looking them up in the bridge costs milliseconds each time.
    """

    model: PreTrainedModel
    bridged: PreTrainedModel
    bridge: Any
    layers: int
    points: Mapping[str, Any]


def hooked_model_of(model: PreTrainedModel) -> HookedModel:
    """Builds the hooked model.

    Raises UsageError where TransformerLens does not know the architecture, or the model is
    streamed.
    """
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    if streaming_of(model) is not None:
        raise UsageError(
            "scans of activations go through TransformerLens, which needs the whole model on the "
            "device, and this one is streamed: take --scans weight-gradient, or --offload never"
        )
    # deepcopy takes what its memo has as copied already: modules are new, parameters shared.
    shared: Any = {id(parameter): parameter for parameter in model.parameters()}
    bridged = copy.deepcopy(model, memo=shared)
    name = type(model).__name__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bridge = build_bridge_from_module(bridged, name, hf_config=bridged.config)
    # TransformerLens takes layouts of some families for those of others, and stumbles anywhere.
    except (ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise
        raise UsageError(
            f"TransformerLens cannot hook {name} ({str(error).splitlines()[0]}): scans of "
            "activations are not possible, take --scans weight-gradient"
        ) from error
    return HookedModel(model, bridged, bridge, len(blocks(model)), bridge.hook_dict)


def hook_name(kind: str, layer: int = 0) -> str:
    """The hook of an activation at a layer, as in `hook_name("z", 3)`."""
    return ACTIVATIONS[kind].format(layer)


@contextmanager
def with_hooks(hooked: HookedModel, edits: Mapping[str, HookFn]) -> Iterator[None]:
    """Edits activations of the hooked model wherever it runs; afterwards all hooks are gone.

    Raises UsageError where the model has no hook of that name.
    """
    missing = [name for name in edits if name not in hooked.points]
    if missing:
        architecture = hooked.bridge.cfg.architecture
        raise UsageError(
            f"{architecture} has no hook {missing[0]}: this scan cannot see this model"
        )
    handles: list[tuple[Any, Any]] = []
    try:
        for name, edit in edits.items():
            handles.append((hooked.points[name], hooked.points[name].add_hook(_as_hook(edit))))
        yield
    finally:
        for point, handle in handles:
            handle.hook.remove()
            # TransformerLens keeps its own list, which removing the torch hook leaves as it is.
            point.fwd_hooks[:] = [other for other in point.fwd_hooks if other is not handle]


@contextmanager
def recording(hooked: HookedModel, *names: str) -> Iterator[dict[str, Tensor]]:
    """Records detached copies of the named activations of the last run within the context."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> HookFn:
        def edit(value: Tensor) -> None:
            # Later hooks may write in place: only a copy is safe.
            seen[name] = value.detach().clone()

        return edit

    with with_hooks(hooked, {name: keep(name) for name in names}):
        yield seen


@contextmanager
def probing(hooked: HookedModel, *names: str) -> Iterator[dict[str, Tensor]]:
    """Adds a zero that requires a gradient to the named activations.

    After a run the zeros are in the dictionary: a gradient with respect to one is the gradient with
    respect to the activation, whatever the hooked model does with it before and after the hook.
    """
    zeros: dict[str, Tensor] = {}

    def add(name: str) -> HookFn:
        def edit(value: Tensor) -> Tensor:
            zeros[name] = torch.zeros_like(value).requires_grad_(True)
            return value + zeros[name]

        return edit

    with with_hooks(hooked, {name: add(name) for name in names}):
        yield zeros


def _as_hook(edit: HookFn) -> Callable[..., Tensor | None]:
    def hook(value: Tensor, hook: object) -> Tensor | None:  # noqa: ARG001
        return edit(value)

    return hook
