"""From a location to exact weights: which elements of which parameters, by exact module path."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.locations import PARTS, SHARED_PARTS, Location, Site
from locscope.models.families import EXPERTS, FAMILIES, LATENT, Family
from locscope.models.plain_errors import plain_errors
from locscope.models.structure.choices import (
    Choice,
    Ranges,
    as_rows,
    choices,
    expert_of,
    expert_parts,
    heads_of,
    parts_of,
)
from locscope.models.structure.guess import guess, self_test
from locscope.records import LayerPart

_SHOWN = 6
"""Parameters that a summary names; the rest is counted."""


@dataclass(frozen=True)
class Slice:
    """Elements of one parameter: `name` as in `model.named_parameters()`.

    `ranges` are half-open along `axis`, sorted and disjoint; the whole parameter has axis None and
    no ranges. `count` is how many weights that is. Of a parameter (experts, rows, columns) axis 0
    has the rows of all experts, one expert after the other.
    """

    name: str
    axis: int | None
    ranges: Ranges
    count: int

    def __str__(self) -> str:
        if self.axis is None:
            return self.name
        spans = ",".join(f"{first}:{last}" for first, last in self.ranges)
        return f"{self.name}[{':, ' * self.axis}{spans}]"


def family_of(model: PreTrainedModel) -> Family:
    """Where this model keeps its parts: by the table, else guessed by the names of its modules.

    Raises UsageError for a model type that is in no table and whose blocks are not found by name.
    """
    return FAMILIES.get(model.config.model_type) or guess(model)


def check_family(model: PreTrainedModel) -> None:
    """Raises UsageError where a model of no table fails the self-test, which names the test."""
    if model.config.model_type not in FAMILIES:
        family = family_of(model)
        with plain_errors(
            f"model type '{model.config.model_type}' is in no table, and its self-test fails",
            "no memory for the self-test of its blocks",
        ):
            self_test(model, family, *logit_scale(model))


def blocks_owner(model: PreTrainedModel) -> tuple[nn.Module, str]:
    """The module that holds the list of decoder layers, and the name of that attribute."""
    family = family_of(model)
    return model.get_submodule(family.owner), family.layers


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder layers, in order."""
    owner, name = blocks_owner(model)
    return getattr(owner, name)


def body(model: PreTrainedModel) -> nn.Module:
    """The module whose forward gives the hidden states after the final norm."""
    return model.get_submodule(family_of(model).owner)


def logit_scale(model: PreTrainedModel) -> tuple[float, float | None]:
    """What the logits are multiplied with behind the head, and the value that softly caps them.

    Granite divides by `logits_scaling`, Cohere multiplies with `logit_scale`.
    """
    config = model.config.get_text_config()
    factor = getattr(config, "logit_scale", None) or 1.0
    factor /= getattr(config, "logits_scaling", None) or 1.0
    return factor, getattr(config, "final_logit_softcapping", None)


def residual_scale(model: PreTrainedModel) -> float:
    """What attention and MLP write is multiplied with before it is added (Granite)."""
    return getattr(model.config.get_text_config(), "residual_multiplier", None) or 1.0


def structures(model: PreTrainedModel) -> tuple[str, ...]:
    """What scans have to know of a model beside its parts: of `EXPERTS` and `LATENT` what it has.

    Found by its modules and configuration, so that models of no table are told too.
    """
    experts = any(name.endswith("experts") for name, _ in blocks(model).named_modules())
    latent = bool(getattr(model.config.get_text_config(), "kv_lora_rank", None))
    return tuple(name for name, has in ((EXPERTS, experts), (LATENT, latent)) if has)


def parts(model: PreTrainedModel) -> tuple[str, ...]:
    """The parts that every layer of the model has, in the order of `PARTS`; of a shared expert,
    those that any layer has, behind them."""
    found = [parts_of(block, family_of(model)) for block in blocks(model)]
    everywhere = [part for part in PARTS if all(part in of_layer for of_layer in found)]
    return (*everywhere, *(p for p in SHARED_PARTS if any(p in of_layer for of_layer in found)))


def grid(model: PreTrainedModel) -> tuple[LayerPart, ...]:
    """Every part of every layer that the model has, with its count of weights.

    Single experts are not among them: there may be thousands.
    """
    layers, family = enumerate(blocks(model)), family_of(model)
    cells = [(layer, part) for layer, block in layers for part in parts_of(block, family)]
    return tuple(_layer_part(model, layer, part) for layer, part in cells)


def slices(model: PreTrainedModel, location: Location) -> tuple[Slice, ...]:
    """The weights of a location, each once, in the order of `model.named_parameters()`.

    Raises UsageError where the model lacks a layer, part, head or expert of it.
    """
    for site in location.sites:
        _require(model, site)
    layers = sorted({n for site in location.sites for n in range(site.first, site.last + 1)})
    inside: list[Slice] = []
    for layer in layers:
        sites = [site for site in location.sites if site.first <= layer <= site.last]
        # Layer by layer: sites overlap, and a weight that two of them name must come once.
        inside.extend(_slices_of_layer(model, layer, sites))
    return tuple(inside)


def pieces(parameter: Tensor, part: Slice) -> tuple[Tensor, ...]:
    """Views of the selected elements, one per range, in order; the whole tensor where no ranges."""
    if part.axis is None:
        return (parameter,)
    rows = as_rows(parameter)
    return tuple(rows.narrow(part.axis, first, last - first) for first, last in part.ranges)


def take(parameter: Tensor, part: Slice) -> Tensor:
    """A float32 copy (count,) of the selected elements of a parameter or of its gradient.

    The order is that of `put`: range after range, each row-major.
    """
    # Copied even where it is float32 already: callers change the parameter afterwards.
    flat = [
        piece.detach().to(torch.float32, copy=True).reshape(-1) for piece in pieces(parameter, part)
    ]
    return torch.cat(flat)


@torch.no_grad()
def put(parameter: Tensor, part: Slice, values: Tensor) -> None:
    """Writes `values` (count,) into the selected elements in place, in the order of `take`.

    Raises ValueError where there are not as many values.
    """
    if values.shape != (part.count,):
        raise ValueError(f"{part}: {tuple(values.shape)} values for {part.count} weights")
    start = 0
    for piece in pieces(parameter, part):
        piece.copy_(values[start : start + piece.numel()].view(piece.shape))
        start += piece.numel()


def summary(model: PreTrainedModel, location: Location) -> str:
    """One line: the location, how many weights it has, and the parameters they are in."""
    inside = slices(model, location)
    shown = [f"{part} ({part.count:,})" for part in inside[:_SHOWN]]
    if len(inside) > _SHOWN:
        shown.append(f"and {len(inside) - _SHOWN} more")
    total = sum(part.count for part in inside)
    return f"{location}: {total:,} weights in {', '.join(shown)}"


def _layer_part(model: PreTrainedModel, layer: int, part: str) -> LayerPart:
    location = Location.at(layer, part)
    count = sum(piece.count for piece in slices(model, location))
    return LayerPart(location, layer, part, count)


def _require(model: PreTrainedModel, site: Site) -> None:
    """Raises UsageError where the model lacks a layer, part, head or expert of a site."""
    kind, family, heads = model.config.model_type, family_of(model), head_counts(model)[0]
    every = blocks(model)
    if site.last >= len(every):
        raise UsageError(
            f"{site}: the model has no layer {site.last}, its layers are 0..{len(every) - 1}"
        )
    if site.head is not None and "attn.q" not in family.leaves:
        raise UsageError(
            f"{site}: the heads of {kind} are no rows of a weight, take attn or attn.o"
        )
    if site.head is not None and site.head >= heads:
        raise UsageError(f"{site}: there is no head {site.head}, the heads are 0..{heads - 1}")
    if site.part not in PARTS or site.part not in parts(model):
        for layer in range(site.first, site.last + 1):
            _require_part(site, kind, layer, every[layer], family)


def _require_part(site: Site, kind: str, layer: int, block: nn.Module, family: Family) -> None:
    expert, (count, finer) = expert_of(site.part), expert_parts(block, family)
    if expert and count:
        number, part = expert
        if number >= count:
            raise UsageError(f"{site}: there is no expert {number}, they are 0..{count - 1}")
        if not part or part in finer:
            return
    there = parts_of(block, family)
    if site.part not in there:
        experts = f", mlp.expert0..{count - 1}" if count else ""
        experts += f" and their {', '.join(finer)}" if count else ""
        where = f"{kind} has no part {site.part}"
        where += f" in layer {layer}" if family.experts else ""
        raise UsageError(f"{site}: {where}, its parts are {', '.join(there)}{experts}")


def head_counts(model: PreTrainedModel) -> tuple[int, int]:
    """Query heads, and key-value heads, which several query heads may share."""
    query = model.config.get_text_config().num_attention_heads
    family = family_of(model)
    if "attn.o" not in family.leaves:
        return query, query
    return query, heads_of(blocks(model)[0], family, query)[1]


def _slices_of_layer(model: PreTrainedModel, layer: int, sites: list[Site]) -> list[Slice]:
    family, block = family_of(model), blocks(model)[layer]
    query = head_counts(model)[0]
    chosen = [choice for site in sites for choice in choices(block, family, site, query)]
    prefix = f"{family.blocks}.{layer}"
    named = [
        (name, weight, [choice for choice in chosen if choice[0] == name])
        for name, weight in block.named_parameters()
    ]
    return [_union(f"{prefix}.{name}", weight, mine) for name, weight, mine in named if mine]


def _union(name: str, weight: Tensor, choices: list[Choice]) -> Slice:
    """All the choices of one parameter as one slice; the whole parameter if they cover it."""
    axes = {axis for _, axis, _ in choices}
    if None in axes:
        return Slice(name, None, (), weight.numel())
    # Rows of q, columns of o: no parameter is ever cut along both of its axes.
    (axis,) = axes
    assert axis is not None
    ranges = _joined([span for _, _, spans in choices for span in spans])
    along = as_rows(weight).shape[axis]
    if ranges == ((0, along),):
        return Slice(name, None, (), weight.numel())
    length = sum(last - first for first, last in ranges)
    return Slice(name, axis, ranges, weight.numel() // along * length)


def _joined(spans: list[tuple[int, int]]) -> Ranges:
    """The spans sorted, those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)
