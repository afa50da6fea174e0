"""An activation at the last token of many texts, one layer after the other."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.batching import in_stage
from locscope.forward.blocks import run_blocks
from locscope.forward.prefix_cache import Batch
from locscope.forward.prompts import at_last, prompts_of
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, with_hooks
from locscope.progress import Progress

HELD = 1 << 26
"""Numbers held on the CPU at a time (256 MB); for more, the model runs several times."""


def last_states(
    hooked: HookedModel,
    kind: str,
    texts: Sequence[tuple[int, ...]],
    progress: Progress,
    tokens_at_once: int = 16384,
    held: int = HELD,
) -> Iterator[Float[Tensor, "texts width"]]:
    """An activation (a name of `ACTIVATIONS`) at every text's last token, layer after layer.

    In float32 on the CPU. Layers that fit `held` numbers together come from one run, which ends
    behind the last of them.
    """
    width = hooked.bridged.config.get_text_config().hidden_size
    at_once = max(1, held // max(1, width * len(texts)))
    for first in range(0, hooked.layers, at_once):
        layers = range(first, min(first + at_once, hooked.layers))
        yield from _of_layers(hooked, kind, texts, layers, progress, tokens_at_once).unbind(1)


def _of_layers(
    hooked: HookedModel,
    kind: str,
    texts: Sequence[tuple[int, ...]],
    layers: range,
    progress: Progress,
    tokens_at_once: int,
) -> Float[Tensor, "texts layers width"]:
    def run(batch: Sequence[tuple[int, ...]]) -> list[Tensor]:
        return list(_one_batch(hooked, kind, prompts_of(hooked.bridged, batch), layers))

    name = f"states of layers {layers[0]} to {layers[-1]}"
    return torch.stack(
        in_stage(progress, name, texts, run, size=len, tokens_at_once=tokens_at_once)
    )


@torch.no_grad()
def _one_batch(
    hooked: HookedModel, kind: str, prompts: Batch, layers: range
) -> Float[Tensor, "batch layers width"]:
    seen: dict[int, Tensor] = {}

    def keep(layer: int) -> HookFn:
        def edit(value: Tensor) -> None:
            # Reduced to the last token here: whole activations of all layers would not fit.
            seen[layer] = at_last(value, prompts.last).float().cpu()

        return edit

    stop = layers.stop if layers.stop < hooked.layers else None
    with with_hooks(hooked, {hook_name(kind, layer): keep(layer) for layer in layers}):
        run_blocks(hooked.bridged, prompts.ids, stop=stop)
    return torch.stack([seen[layer] for layer in layers], dim=1)
