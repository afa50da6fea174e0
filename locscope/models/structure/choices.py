"""Which elements of a layer's parameters a part is, or one head, or one expert.

A stacked parameter (experts, outputs, inputs) is taken as the matrix of all experts' rows, one
expert below the other: a part of one expert is a range of its rows.
"""

import re
from collections.abc import Iterator

from torch import Tensor, nn

from locscope.locations import ATTENTION_PARTS, PARTS, SHARED_PARTS, Site
from locscope.models.families import HALVES, INTERLEAVED, PLAIN, STACKED, Family

Ranges = tuple[tuple[int, int], ...]
Choice = tuple[str, int | None, Ranges]
"""Elements of a parameter, named from its layer; axis None is all of it."""

_EXPERT = re.compile(r"mlp\.expert([0-9]+)(?:\.(\w+))?")
_DOWN, _GATE_UP = "down_proj", "gate_up_proj"
"""How transformers names the stacked weights; their biases end in `_bias`."""


def as_rows(weight: Tensor) -> Tensor:
    """A view of a parameter with the rows of all experts along the first axis."""
    return weight if weight.dim() < 3 else weight.view(-1, weight.shape[-1])


def is_mixture(block: nn.Module, family: Family) -> bool:
    """Whether a layer has experts: some families have layers without."""
    return bool(family.experts) and any(name == family.experts for name, _ in block.named_modules())


def parts_of(block: nn.Module, family: Family) -> tuple[str, ...]:
    """The parts of a layer, in the order of `PARTS`, those of a shared expert behind them."""
    known = {"block", "attn", "mlp", *family.leaves}
    if not is_mixture(block, family):
        return tuple(part for part in PARTS if part in known)
    if not _gate_and_up(block, family):
        known -= {"mlp.gate", "mlp.up"}
    shared = SHARED_PARTS if family.shared else ()
    return (*(part for part in PARTS if part in known), *shared)


def expert_parts(block: nn.Module, family: Family) -> tuple[int, tuple[str, ...]]:
    """How many experts a layer has, and the parts of each: none where it is no mixture."""
    if not is_mixture(block, family):
        return 0, ()
    finer = ("gate", "up", "down") if _gate_and_up(block, family) else ("down",)
    return _stacked(block, family, _DOWN).shape[0], finer


def expert_of(part: str) -> tuple[int, str] | None:
    """Number and finer part of `mlp.expert3.down`; None where a part is no expert."""
    match = _EXPERT.fullmatch(part)
    return (int(match[1]), match[2] or "") if match else None


def heads_of(block: nn.Module, family: Family, query: int) -> tuple[int, int]:
    """The width of a head, and the number of key-value heads, which query heads may share.

    From the weights: configurations may state no width, and name the count in several ways.
    """
    along = 0 if family.transposed else 1
    # By the columns of o, which are the heads of queries in every layout.
    width = block.get_parameter(f"{family.leaves['attn.o']}.weight").shape[along] // query
    if "attn.k" not in family.leaves:
        return width, query
    rows = block.get_parameter(f"{family.leaves['attn.k']}.weight").shape[1 - along]
    if family.qkv == PLAIN:
        return width, rows // width
    return width, (rows // width - query) // 2


def choices(block: nn.Module, family: Family, site: Site, query: int) -> list[Choice]:
    """The elements of a part, or of a head, of a layer whose family has it."""
    mixture = is_mixture(block, family) and site.part not in ("attn", *ATTENTION_PARTS)
    if site.head is not None:
        return _head(block, family, site.head, query)
    if mixture:
        return list(_of_mixture(block, family, site.part))
    if site.part == "mlp" and not family.mlp:
        whole = dict.fromkeys(leaf for part, leaf in family.leaves.items() if part[:4] == "mlp.")
        return [choice for module in whole for choice in _whole(block, module)]
    modules = {"block": "", "attn": family.attention, "mlp": family.mlp}
    if site.part in modules:
        return _whole(block, modules[site.part])
    ranges = _layout(block, family, site.part, query)
    return _rows(block, family, family.leaves[site.part], ranges)


def _of_mixture(block: nn.Module, family: Family, part: str) -> Iterator[Choice]:
    shared = family.shared
    if part in ("block", "mlp"):
        under = f"{family.mlp}." if part == "mlp" else ""
        for name, _ in block.named_parameters():
            routes = any(name.startswith(f"{router}.") for router in family.routers)
            if name.startswith(under) and not routes:
                yield name, None, ()
    elif part.startswith("mlp.shared"):
        finer = part.removeprefix("mlp.shared").removeprefix(".")
        yield from _whole(block, f"{shared}.{finer}_proj" if finer else shared)
    elif expert := expert_of(part):
        yield from _experts(block, family, expert[1], [expert[0]])
    else:
        finer, (count, _) = part.removeprefix("mlp."), expert_parts(block, family)
        yield from _experts(block, family, finer, range(count))
        if shared:
            yield from _whole(block, f"{shared}.{finer}_proj")


def _experts(block: nn.Module, family: Family, finer: str, numbers: range | list[int]):
    """The rows of some experts, of all their weights or one of the finer parts."""
    for name, weight in block.get_submodule(family.experts).named_parameters():
        if finer and not name.startswith(_DOWN if finer == "down" else _GATE_UP):
            continue
        # A bias of experts is (experts, outputs): one row for each expert.
        size = weight.shape[1] if weight.dim() == 3 else 1
        half = size // 2 if finer in ("gate", "up") else 0
        first, last = (half, size) if finer == "up" else (0, half or size)
        ranges = tuple((n * size + first, n * size + last) for n in numbers)
        yield f"{family.experts}.{name}", 0, ranges


def _stacked(block: nn.Module, family: Family, name: str) -> Tensor:
    return block.get_submodule(family.experts).get_parameter(name)


def _gate_and_up(block: nn.Module, family: Family) -> bool:
    """Whether gate and up are rows: GPT-OSS alternates them in columns, which are no range."""
    both, down = (_stacked(block, family, name) for name in (_GATE_UP, _DOWN))
    return both.shape[1] == 2 * down.shape[2] and both.shape[2] == down.shape[1]


def _whole(block: nn.Module, module: str) -> list[Choice]:
    named = block.get_submodule(module).named_parameters(prefix=module)
    return [(name, None, ()) for name, _ in named]


def _head(block: nn.Module, family: Family, head: int, query: int) -> list[Choice]:
    """Its rows of q, weight and bias, and its columns of o; the bias of o serves all heads."""
    width, shared = heads_of(block, family, query)
    place = head
    if family.qkv == INTERLEAVED:
        # Behind the heads of every group before its own there are one key and one value.
        place += 2 * (head // (query // shared))
    columns = ((head * width, (head + 1) * width),)
    axis = 0 if family.transposed else 1
    output = f"{family.leaves['attn.o']}.weight"
    rows = ((place * width, (place + 1) * width),)
    return [*_rows(block, family, family.leaves["attn.q"], rows), (output, axis, columns)]


def _rows(block: nn.Module, family: Family, module: str, ranges: Ranges) -> list[Choice]:
    """These rows (outputs) of a module's weight and bias; all of them where there are no ranges."""
    named = block.get_submodule(module).named_parameters(prefix=module)
    if not ranges:
        return _whole(block, module)
    return [(name, weight.dim() - 1 if family.transposed else 0, ranges) for name, weight in named]


def _layout(block: nn.Module, family: Family, part: str, query: int) -> Ranges:
    """The rows of a part within its module; none where the module holds nothing else."""
    layout = family.layout(part)
    if layout == HALVES:
        half = block.get_parameter(f"{family.leaves[part]}.weight").shape[0] // 2
        return ((0, half),) if part == "mlp.gate" else ((half, 2 * half),)
    if layout == PLAIN:
        return ()
    width, shared = heads_of(block, family, query)
    third = ("attn.q", "attn.k", "attn.v").index(part)
    if layout == STACKED:
        edges = (0, query, query + shared, query + 2 * shared)
        return ((edges[third] * width, edges[third + 1] * width),)
    # Group by group: the queries that share a key, the key, the value.
    of_group = query // shared
    first, last = ((0, of_group), (of_group, of_group + 1), (of_group + 1, of_group + 2))[third]
    starts = [group * (of_group + 2) for group in range(shared)]
    return tuple(((start + first) * width, (start + last) * width) for start in starts)
