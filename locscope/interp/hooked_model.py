"""The hooked model: activations read and patched through TransformerLens.

The hooked model shares the model's weights (all but GPT-NeoX's fused query-key-value matrices,
which are copied), so it costs little, and the model that is tuned and saved is never touched. It is
a Hugging Face model too: `run_blocks` and `logits` run it, from any block on, and hooks fire in the
blocks that are run.
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

from locscope.errors import UsageError
from locscope.models.parts import blocks

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
"""What can be read and patched. Shapes: (batch, seq, width) for what is in the residual stream,
(batch, seq, heads, head_width) for z and q, key-value heads for k and v, (batch, heads, seq, seq)
for patterns and for the masked scores they are the softmax of, (batch, seq, hidden) for neurons.
`heads_out` is the sum of the heads and the bias; `attn_out` what is added to the stream, which some
families normalise first. There is no `resid_mid`: writing to it reaches the MLP alone
(TransformerLens 4.3)."""

READ_ONLY = ("mlp_in",)
"""Writing to it makes TransformerLens compute the norm in another way, and warn."""

HookFn = Callable[[Tensor], Tensor | None]
"""What a hook does: gives the activation's replacement (a new tensor), or None to leave it."""


@dataclass(frozen=True)
class HookedModel:
    """A model and its hooked copy, to be run as the model is. `layers` counts their blocks.

    `points` are its hooks by name: looking them up in the bridge costs milliseconds each time.
    """

    model: PreTrainedModel
    bridged: PreTrainedModel
    bridge: Any
    layers: int
    points: Mapping[str, Any]


def hooked_model_of(model: PreTrainedModel) -> HookedModel:
    """Builds the hooked model; a UsageError where TransformerLens does not know the
    architecture."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    shared: Any = {id(parameter): parameter for parameter in model.parameters()}
    bridged = copy.deepcopy(model, memo=shared)
    name = type(model).__name__
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bridge = build_bridge_from_module(bridged, name, hf_config=bridged.config)
    except (ValueError, AttributeError, NotImplementedError) as error:
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
    """The hooked model with its activations edited wherever it is run; all hooks are gone
    afterwards.

    A UsageError names a hook that the model does not have.
    """
    missing = [name for name in edits if name not in hooked.points]
    if missing:
        known = hooked.bridge.cfg.architecture
        raise UsageError(f"{known} has no hook {missing[0]}: this scan cannot see this model")
    handles: list[tuple[Any, Any]] = []
    try:
        for name, edit in edits.items():
            handles.append((hooked.points[name], hooked.points[name].add_hook(_as_hook(edit))))
        yield
    finally:
        for point, handle in handles:
            handle.hook.remove()
            point.fwd_hooks[:] = [one for one in point.fwd_hooks if one is not handle]


@contextmanager
def recording(hooked: HookedModel, *names: str) -> Iterator[dict[str, Tensor]]:
    """Keeps detached copies of the named activations of the last run within the block."""
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
    """Adds a zero that asks for a gradient to the named activations.

    After a run the zeros are in the dictionary: the gradient of anything with respect to one is
    that with respect to the activation, whatever the hooked model does with it before and after the
    hook.
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
