"""The input and result of an export, and questions on a location that several exports ask."""

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
    """The context of a recommendation: `model` as other tools can load it, its number of layers,
    its names, and a trial with LoRA at the location, where one ran: the first on T, on which
    nothing is selected, else the best on S."""

    model: str
    depth: int
    names: Names
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


def leaves_of(part: str, names: Names) -> tuple[str, ...]:
    """The modules under a layer that hold a part, each once."""
    inside = {"mlp": MLP_PARTS, "attn": ATTENTION_PARTS, "block": (*MLP_PARTS, *ATTENTION_PARTS)}
    wanted = inside.get(part, (part,))
    # Each once: in some models q, k and v are one module.
    return tuple(dict.fromkeys(names.leaves[leaf] for leaf in wanted if leaf in names.leaves))


def why_not_whole(location: Location, names: Names) -> str:
    """Why a location is not made of whole modules; empty where it is."""
    if any(site.head is not None for site in location.sites):
        return "it takes whole modules, not one head"
    if not names.layers:
        return "the modules of this family have no names for it (experts, or a family in no table)"
    for part in dict.fromkeys(p for parts in parts_by_layer(location).values() for p in parts):
        if part == "mlp" and not names.mlp:
            return "the MLP is no module of its own here, give mlp.up and mlp.down"
        module = names.leaves.get(part)
        shared = [other for other, leaf in names.leaves.items() if leaf == module]
        if len(shared) > 1:
            return f"{' and '.join(shared)} are one module here ({module}), {part} is a part of it"
    return ""


def _outermost(parts: set[str]) -> set[str]:
    if "block" in parts:
        return {"block"}
    return {part for part in parts if part.partition(".")[0] not in parts - {part}}
