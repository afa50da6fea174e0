"""LoFiT's offsets: a vector v is added to what a head puts out, z <- z + v, and is all that learns.

Source: LoFiT (arXiv 2406.01563), its second step; the heads are those that the location names, or
all heads of its layers. Attention's output is linear in z, so this is a bias W_o v there; a module
without a bias has one for as long as the trial lasts. v starts at zero, where the model is the
untouched one (the paper: N(0, 0.001)).
"""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from locscope.interp.linear import head_matrices, output_bias
from locscope.locations import Location
from locscope.models.parts import Slice, family_of, slices
from locscope.tuning.master_weights import Parametrization, TunedPart
from locscope.tuning.matrices import blocks_path
from locscope.tuning.trainable import RecipeInput


def plan(recipe_input: RecipeInput) -> tuple[TunedPart, ...]:
    """An offset for every head of the location, or of its layers."""
    model, location = recipe_input.model, recipe_input.location
    # For its errors alone: a layer or head that the model lacks is named there.
    slices(model, location)
    return tuple(_offsets(model, layer, heads) for layer, heads in _heads(model, location).items())


def unbiased(model: PreTrainedModel, location: Location) -> tuple[str, ...]:
    """The modules without a bias that get one: such a model cannot be saved as its own family."""
    layers = _heads(model, location)
    return tuple(_output(model, layer) for layer in layers if output_bias(model, layer) is None)


def _heads(model: PreTrainedModel, location: Location) -> dict[int, list[int]]:
    """The heads of every layer of a location; all where it names none of the layer's."""
    count = model.config.get_text_config().num_attention_heads
    by_layer: dict[int, set[int]] = {}
    for site in location.sites:
        named = range(count) if site.head is None else (site.head,)
        for layer in range(site.first, site.last + 1):
            by_layer.setdefault(layer, set()).update(named)
    return {layer: sorted(by_layer[layer]) for layer in sorted(by_layer)}


def _output(model: PreTrainedModel, layer: int) -> str:
    return f"{blocks_path(model)}.{layer}.{family_of(model).leaves['attn.o']}"


@torch.no_grad()
def _offsets(model: PreTrainedModel, layer: int, heads: list[int]) -> Parametrization:
    count = model.config.get_text_config().num_attention_heads
    out = head_matrices(model, layer, count)[heads].float().clone()
    bias = output_bias(model, layer)
    start = out.new_zeros(out.shape[-1]) if bias is None else bias.detach().float().clone()

    def weights(v: Float[Tensor, "heads head_width"]) -> Float[Tensor, " width"]:
        return start + torch.einsum("hd,hdw->w", v, out)

    piece = Slice(f"{_output(model, layer)}.bias", None, (), start.numel())
    return Parametrization(piece, (out.new_zeros(out.shape[:2]),), weights)
