"""The positive control: what planted answers lose when one place gets its old weights back."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from analyses.bench_planted_parts.planting import Soil
from locscope.evaluation.exact_match import read
from locscope.locations import Location
from locscope.models.parts import blocks, slices

Place = tuple[int, str]


def remembered(model: PreTrainedModel) -> dict[str, Tensor]:
    """Copies of the weights of all blocks, by name."""
    inside = {id(parameter) for parameter in blocks(model).parameters()}
    return {n: p.detach().clone() for n, p in model.named_parameters() if id(p) in inside}


def falls(soil: Soil, before: Mapping[str, Tensor], parts: Sequence[str]) -> dict[Place, float]:
    """How far the planted answers' mean log-probability falls (nats per token), for every
    location."""
    soil.prefix_cache.enter(0)
    whole = _logprob(soil)
    layers = len(blocks(soil.loaded.model))
    locations = [(layer, part) for part in parts for layer in range(layers)]
    return {location: whole - _without(soil, before, [location]) for location in locations}


def whole_fall(soil: Soil, before: Mapping[str, Tensor]) -> float:
    """The same when all blocks get their old weights back."""
    soil.prefix_cache.enter(0)
    everywhere = [(layer, "block") for layer in range(len(blocks(soil.loaded.model)))]
    return _logprob(soil) - _without(soil, before, everywhere)


def _without(soil: Soil, before: Mapping[str, Tensor], locations: Sequence[Place]) -> float:
    model = soil.loaded.model
    names = [s.name for location in locations for s in slices(model, Location.at(*location))]
    kept = {name: model.get_parameter(name).detach().clone() for name in names}
    _put(model, {name: before[name] for name in names})
    try:
        return _logprob(soil)
    finally:
        _put(model, kept)


@torch.no_grad()
def _put(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        model.get_parameter(name).copy_(value)


def _logprob(soil: Soil) -> float:
    logprobs = [reading.logprob for reading in read(soil.prefix_cache, soil.taught)]
    return float(torch.tensor(logprobs, dtype=torch.float64).mean())
