"""From a location to exact weights: which elements of which parameters, by exact module path."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from locscope.errors import UsageError
from locscope.locations import PARTS, Location, Site
from locscope.models.families import FAMILIES, HALVES, INTERLEAVED, PLAIN, STACKED, Family
from locscope.models.names import require
from locscope.records import LayerPart

Ranges = tuple[tuple[int, int], ...]

_SHOWN = 6
"""Parameters that a summary names; the rest is counted."""


@dataclass(frozen=True)
class Slice:
    """Elements of one parameter: `name` as in `model.named_parameters()`.

    `ranges` are half-open along `axis`, sorted and disjoint; the whole parameter has axis None and
    no ranges. `count` is how many weights that is.
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
    """Where this model keeps its parts. Raises UsageError for a model type of no known family."""
    kind = model.config.model_type
    if kind not in FAMILIES:
        supported = ", ".join(sorted(FAMILIES))
        raise UsageError(f"model type '{kind}' is not supported: there are {supported}")
    return FAMILIES[kind]


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


def parts(model: PreTrainedModel) -> tuple[str, ...]:
    """The parts that the model's layers have, in the order of `PARTS`."""
    leaves = family_of(model).leaves
    return tuple(part for part in PARTS if part in leaves or part in ("mlp", "attn", "block"))


def grid(model: PreTrainedModel) -> tuple[LayerPart, ...]:
    """Every part of every layer that the model has, with its count of weights."""
    cells = [(layer, part) for layer in range(len(blocks(model))) for part in parts(model)]
    return tuple(_layer_part(model, layer, part) for layer, part in cells)


def slices(model: PreTrainedModel, location: Location) -> tuple[Slice, ...]:
    """The weights of a location, each once, in the order of `model.named_parameters()`.

    Raises UsageError where the model lacks a layer, part or head of it.
    """
    kind, heads = model.config.model_type, head_counts(model)[0]
    for site in location.sites:
        require(site, kind, len(blocks(model)), parts(model), heads)
    layers = sorted({n for site in location.sites for n in range(site.first, site.last + 1)})
    inside: list[Slice] = []
    for layer in layers:
        sites = [site for site in location.sites if site.first <= layer <= site.last]
        inside.extend(_slices_of_layer(model, layer, sites))
    return tuple(inside)


def pieces(parameter: Tensor, part: Slice) -> tuple[Tensor, ...]:
    """Views of the selected elements, one per range, in order; the whole tensor where no ranges."""
    if part.axis is None:
        return (parameter,)
    return tuple(parameter.narrow(part.axis, first, last - first) for first, last in part.ranges)


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
    return LayerPart(str(location), layer, part, count)


def head_counts(model: PreTrainedModel) -> tuple[int, int]:
    """Query heads, and key-value heads, which several query heads may share."""
    config = model.config.get_text_config()
    query = config.num_attention_heads
    return query, getattr(config, "num_key_value_heads", None) or query


def _head_width(model: PreTrainedModel) -> int:
    # From a weight: a configuration may state no head_dim, and width / heads is not always it.
    family = family_of(model)
    output = blocks(model)[0].get_parameter(f"{family.leaves['attn.o']}.weight")
    return output.shape[0 if family.transposed else 1] // head_counts(model)[0]


_Choice = tuple[str, int | None, Ranges]
"""Elements of a parameter, named from its layer; axis None is all of it."""


def _slices_of_layer(model: PreTrainedModel, layer: int, sites: list[Site]) -> list[Slice]:
    family, block = family_of(model), blocks(model)[layer]
    choices = [choice for site in sites for choice in _choices(model, block, site)]
    prefix = f"{family.owner}.{family.layers}.{layer}"
    named = [
        (name, weight, [choice for choice in choices if choice[0] == name])
        for name, weight in block.named_parameters()
    ]
    return [_union(f"{prefix}.{name}", weight, mine) for name, weight, mine in named if mine]


def _choices(model: PreTrainedModel, block: nn.Module, site: Site) -> list[_Choice]:
    family = family_of(model)
    modules = {"block": "", "attn": family.attention, "mlp": family.mlp}
    if site.head is not None:
        return _head(model, block, site.head)
    if site.part in modules:
        module = modules[site.part]
        named = block.get_submodule(module).named_parameters(prefix=module)
        return [(name, None, ()) for name, _ in named]
    return _rows(block, family, family.leaves[site.part], _layout(model, block, site.part))


def _head(model: PreTrainedModel, block: nn.Module, head: int) -> list[_Choice]:
    """Its rows of q, weight and bias, and its columns of o; the bias of o serves all heads."""
    family, width = family_of(model), _head_width(model)
    step = 3 * width if family.qkv == INTERLEAVED else width
    rows = ((head * step, head * step + width),)
    columns = ((head * width, (head + 1) * width),)
    axis = 0 if family.transposed else 1
    output = f"{family.leaves['attn.o']}.weight"
    return [*_rows(block, family, family.leaves["attn.q"], rows), (output, axis, columns)]


def _rows(block: nn.Module, family: Family, module: str, ranges: Ranges) -> list[_Choice]:
    """These rows (outputs) of a module's weight and bias; all of them where there are no ranges."""
    named = block.get_submodule(module).named_parameters(prefix=module)
    if not ranges:
        return [(name, None, ()) for name, _ in named]
    return [(name, weight.dim() - 1 if family.transposed else 0, ranges) for name, weight in named]


def _layout(model: PreTrainedModel, block: nn.Module, part: str) -> Ranges:
    """The rows of a part within its module; none where the module holds nothing else."""
    family, width = family_of(model), _head_width(model)
    layout, (query, shared) = family.layout(part), head_counts(model)
    if layout == HALVES:
        half = block.get_parameter(f"{family.leaves[part]}.weight").shape[0] // 2
        return ((0, half),) if part == "mlp.gate" else ((half, 2 * half),)
    third = ("attn.q", "attn.k", "attn.v").index(part) if layout != PLAIN else 0
    if layout == INTERLEAVED:
        starts = [(3 * head + third) * width for head in range(query)]
        return tuple((start, start + width) for start in starts)
    if layout == STACKED:
        edges = (0, query, query + shared, query + 2 * shared)
        return ((edges[third] * width, edges[third + 1] * width),)
    return ()


def _union(name: str, weight: Tensor, choices: list[_Choice]) -> Slice:
    """All the choices of one parameter as one slice; the whole parameter if they cover it."""
    axes = {axis for _, axis, _ in choices}
    if None in axes:
        return Slice(name, None, (), weight.numel())
    # Rows of q, columns of o: no parameter is ever cut along both of its axes.
    (axis,) = axes
    assert axis is not None
    ranges = _joined([span for _, _, spans in choices for span in spans])
    if ranges == ((0, weight.shape[axis]),):
        return Slice(name, None, (), weight.numel())
    length = sum(last - first for first, last in ranges)
    return Slice(name, axis, ranges, weight.numel() // weight.shape[axis] * length)


def _joined(spans: list[tuple[int, int]]) -> Ranges:
    """The spans sorted, those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)
