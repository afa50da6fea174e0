"""The input and result of an export, and questions on a location that several exports ask."""

from dataclasses import dataclass

from locscope.locations import ATTENTION_PARTS, MLP_PARTS, Location
from locscope.models.families import Family
from locscope.records import TrialRecord


@dataclass(frozen=True)
class About:
    """The context of a recommendation: `model` as other tools can load it, its number of layers,
    its family, which names its modules, and a trial with LoRA at the location, where one ran: the
    first on T, on which nothing is selected, else the best on S."""

    model: str
    depth: int
    family: Family
    lora: TrialRecord | None = None


@dataclass(frozen=True)
class Export:
    """The text of a file for another tool; `note` is for those who use it.

    Without text, `reason` says why the tool cannot express this location or this recipe.
    """

    text: str = ""
    note: str = ""
    reason: str = ""


def parts_by_layer(location: Location) -> dict[int, tuple[str, ...]]:
    """The parts of every layer of a location, sorted, without those inside another one."""
    parts: dict[int, set[str]] = {}
    for site in location.sites:
        for layer in range(site.first, site.last + 1):
            parts.setdefault(layer, set()).add(site.part)
    return {layer: tuple(sorted(_outermost(parts[layer]))) for layer in sorted(parts)}


def leaves_of(part: str, family: Family) -> tuple[str, ...]:
    """The modules under a layer that hold a part, each once."""
    inside = {"mlp": MLP_PARTS, "attn": ATTENTION_PARTS, "block": (*MLP_PARTS, *ATTENTION_PARTS)}
    wanted = inside.get(part, (part,))
    # Each once: in some models q, k and v are one module.
    return tuple(dict.fromkeys(family.leaves[leaf] for leaf in wanted if leaf in family.leaves))


def prefixes_of(location: Location, family: Family) -> tuple[str, ...]:
    """How the names of a location's parameters begin, each with a dot at its end, so that layer 1
    is not taken for layers 10 to 19; of a location of whole modules."""
    modules = {"block": "", "mlp": f"{family.mlp}.", "attn": f"{family.attention}."}
    return tuple(
        f"{family.blocks}.{layer}." + (modules[p] if p in modules else f"{family.leaves[p]}.")
        for layer, parts in parts_by_layer(location).items()
        for p in parts
    )


def why_not_whole(location: Location, family: Family) -> str:
    """Why a location is not made of whole modules; empty where it is."""
    if any(site.head is not None for site in location.sites):
        return "it takes whole modules, not one head"
    if not family.leaves:
        return "the modules of this family have no names for it (experts, or a family in no table)"
    for part in dict.fromkeys(p for parts in parts_by_layer(location).values() for p in parts):
        if part == "mlp" and not family.mlp:
            return "the MLP is no module of its own here, give mlp.up and mlp.down"
        module = family.leaves.get(part)
        shared = [other for other, leaf in family.leaves.items() if leaf == module]
        if len(shared) > 1:
            return f"{' and '.join(shared)} are one module here ({module}), {part} is a part of it"
    return ""


def _outermost(parts: set[str]) -> set[str]:
    if "block" in parts:
        return {"block"}
    return {part for part in parts if part.partition(".")[0] not in parts - {part}}
