"""What an export is made from and what comes of it, and what several of them ask of a location."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from locscope.locations import ATTENTION_PARTS, MLP_PARTS, Location
from locscope.records import TrialRecord


@dataclass(frozen=True)
class Names:
    """How a model names its modules.

    `layers` is the path of the list of decoder layers (`model.layers`); `attention`, `mlp` and
    `leaves` (by part) are paths under a layer; `norm` is the path of the final norm, `head` that of
    the unembedding. `transposed`: weights are (in, out), as in GPT-2's Conv1D.
    """

    layers: str
    attention: str
    mlp: str
    leaves: Mapping[str, str] = field(hash=False)
    norm: str
    head: str = "lm_head"
    transposed: bool = False


@dataclass(frozen=True)
class About:
    """What a recommendation does not say itself: `model` as other tools can load it, its number of
    layers, its names, and a trial with LoRA at the location, where one ran: the first on T, of
    which no choice was made, else the best on S."""

    model: str
    depth: int
    names: Names
    lora: TrialRecord | None = None


@dataclass(frozen=True)
class Export:
    """A file for another tool; `note` is what to know of it."""

    text: str
    note: str


@dataclass(frozen=True)
class Unsupported:
    """Why a tool has no words for this location or this recipe."""

    reason: str


def parts_by_layer(location: Location) -> dict[int, tuple[str, ...]]:
    """Of every layer of a location its parts, sorted; a part that another one holds left out."""
    found: dict[int, set[str]] = {}
    for site in location.sites:
        for layer in range(site.first, site.last + 1):
            found.setdefault(layer, set()).add(site.part)
    return {layer: tuple(sorted(_outermost(found[layer]))) for layer in sorted(found)}


def leaves_of(part: str, names: Names) -> tuple[str, ...]:
    """The modules under a layer that hold a part, each once."""
    inside = {"mlp": MLP_PARTS, "attn": ATTENTION_PARTS, "block": (*MLP_PARTS, *ATTENTION_PARTS)}
    wanted = inside.get(part, (part,))
    return tuple(dict.fromkeys(names.leaves[one] for one in wanted if one in names.leaves))


def why_not_whole(location: Location, names: Names) -> str:
    """Why a location is not made of whole modules; empty where it is."""
    if any(site.head is not None for site in location.sites):
        return "it takes whole modules, not one head"
    for part in dict.fromkeys(p for parts in parts_by_layer(location).values() for p in parts):
        module = names.leaves.get(part)
        shared = [other for other, leaf in names.leaves.items() if leaf == module]
        if len(shared) > 1:
            return f"{' and '.join(shared)} are one module here ({module}), {part} is a part of it"
    return ""


def _outermost(parts: set[str]) -> set[str]:
    if "block" in parts:
        return {"block"}
    return {part for part in parts if part.partition(".")[0] not in parts - {part}}
