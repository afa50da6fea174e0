"""Locations in a model, with one name each in code, command line, files and plots.

``L22.mlp.down``, ``L6.attn``, ``L23.block``, ``L8-15.mlp.up``, ``L4.attn.h3``; ``+`` joins.
In mixtures of experts also ``L20.mlp.shared.down``, ``L5.mlp.expert3``, ``L5.mlp.expert3.down``.
Layers count from 0, ranges are inclusive.
"""

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache

from locscope.errors import UsageError, shortened, shown

MLP_PARTS = ("mlp.gate", "mlp.up", "mlp.down")
ATTENTION_PARTS = ("attn.q", "attn.k", "attn.v", "attn.o")
PARTS = (*MLP_PARTS, "mlp", *ATTENTION_PARTS, "attn", "block")
SHARED_PARTS = ("mlp.shared", "mlp.shared.gate", "mlp.shared.up", "mlp.shared.down")
"""Of a mixture of experts whose layers have one that sees every token."""
PAPER_PARTS = ("block", "attn", "mlp", "mlp.up", "mlp.down")
"""The five parts of the location analysis of LocFT-BF (arXiv 2509.22072, section 3)."""

# Numbers of any length here, as a long one is no other mistake; not \d, which has digits of all
# scripts.
_SITE = re.compile(
    r"L(?P<first>[0-9]+)(?:-(?P<last>[0-9]+))?\.(?P<part>[a-z.]+?(?:expert[0-9]+[a-z.]*)?)"
    r"(?:\.h(?P<head>[0-9]+))?"
)
_LIKE = re.compile(
    r"(?:[a-z_]+[._/])*?(?:l|layers?|blocks?|h)?[._/ -]?"
    r"(?P<first>[0-9]{1,4})(?:(?:-|\.\.|:)l?(?P<last>[0-9]{1,4}))?(?P<rest>(?:[._/ -].*)?)"
)
"""What people write who mean a location: a number of a layer, and words around it."""
_OTHER_WORDS = {
    **{name: f"mlp.{name}" for name in ("gate", "up", "down")},
    **{name: f"attn.{name}" for name in "qkvo"},
    **{"fc": "mlp.up", "c_fc": "mlp.up", "mlp.c": "mlp.down", "ffn": "mlp", "ff": "mlp"},
    **{"query": "attn.q", "key": "attn.k", "value": "attn.v", "attn.out": "attn.o"},
    **{"attention": "attn", "self": "attn", "self_attn": "attn", "mha": "attn"},
    **{"layer": "block", "all": "block", "attn.c": "attn.o", "output": "attn.o"},
    **{"attention.dense": "attn.o", "attention.query_key_value": "attn", "attn.c_attn": "attn"},
    **{"mlp.dense_h_to_4h": "mlp.up", "mlp.dense_4h_to_h": "mlp.down", "attn_out": "attn.o"},
}
"""What other tools and papers call parts."""
LONGEST = 100
"""Characters of a site that near names are looked for."""
_EXPERT = re.compile(r"mlp\.expert(?P<number>[0-9]+)(?:\.(?:gate|up|down))?")
MOST_DIGITS, MOST_SITES = 4, 1000
"""No model has 10,000 layers, or heads in one; a range of them is gone through one by one."""
_GRAMMAR = "write L<layer>.<part>, as L22.mlp.down, L8-15.mlp.up, L4.attn.h3, joined by +"


@dataclass(frozen=True, order=True)
class Site:
    """A part of consecutive layers (`first` to `last`, inclusive), or one attention head."""

    first: int
    last: int
    part: str
    head: int | None = None

    def within(self, other: "Site") -> bool:
        """Whether it is another site and all its weights are among those of the other."""
        inside = other.first <= self.first and self.last <= other.last
        part = other.part in ("block", self.part) or self.part.startswith(f"{other.part}.")
        return self != other and inside and part and other.head is None

    def __str__(self) -> str:
        layers = f"L{self.first}" if self.first == self.last else f"L{self.first}-{self.last}"
        return f"{layers}.{self.part}" + ("" if self.head is None else f".h{self.head}")


@dataclass(frozen=True)
class Location:
    """The weights that get tuned: one or more sites. ``Location.parse(str(x)) == x``.

    Locations are sorted as they are written, as files and tables have them.
    """

    sites: tuple[Site, ...]

    def __str__(self) -> str:
        return self._text

    # Tables are keyed by locations: the hash of a text is kept, that of a tuple made each time.
    def __hash__(self) -> int:
        return hash(self._text)

    def __lt__(self, other: "Location") -> bool:
        return self._text < other._text

    @cached_property
    def _text(self) -> str:
        return "+".join(map(str, self.sites))

    @property
    def lowest(self) -> int:
        """The lowest tuned layer: everything below it is the prefix cache."""
        return min(site.first for site in self.sites)

    @property
    def highest(self) -> int:
        """The highest tuned layer."""
        return max(site.last for site in self.sites)

    @property
    def tidy(self) -> "Location":
        """The same weights in one way of writing: sites in order, none within another."""
        # By text at the end: a head is None or a number, which do not compare.
        sites = sorted(
            set(self.sites), key=lambda site: (site.first, site.last, site.part, str(site))
        )
        return Location(
            tuple(site for site in sites if not any(site.within(other) for other in sites))
        )

    def moved(self, by: int) -> "Location":
        """The same parts so many layers higher, whether or not a model has them."""
        return Location(
            tuple(replace(site, first=site.first + by, last=site.last + by) for site in self.sites)
        )

    @property
    def wider(self) -> "Location | None":
        """The same layers with the part that contains this one; None for a block."""
        if any(site.part == "block" for site in self.sites):
            return None
        parents = (replace(site, part=_parent(site), head=None) for site in self.sites)
        return Location(tuple(parents)).tidy

    @property
    def cells(self) -> tuple[tuple[int, str], ...]:
        """Layer and part of all its sites, each once; none where it names a head."""
        if any(site.head is not None for site in self.sites):
            return ()
        spans = ((site.part, range(site.first, site.last + 1)) for site in self.sites)
        return tuple(dict.fromkeys((layer, part) for part, span in spans for layer in span))

    @staticmethod
    def at(layer: int, part: str, head: int | None = None) -> "Location":
        """The location of one part of one layer."""
        return Location((Site(layer, layer, part, head),))

    # A scorecard reads the same few hundred names many thousand times.
    @staticmethod
    @lru_cache(1 << 14)
    def parse(text: str) -> "Location":
        """Reads a location; raises UsageError, which says how to write one, where it cannot."""
        pieces = text.split("+", MOST_SITES)
        if len(pieces) > MOST_SITES:
            raise UsageError(f"location {shown(text)} joins more than {MOST_SITES} with +")
        return Location(tuple(_parse_site(piece, text) for piece in pieces))


def paper_location(family: str, layers: int) -> Location:
    """The paper's location carried over by relative depth (LocFT-BF, table 2 and section 4).

    Of LLaMA-3-8B L22.mlp.down, of Mistral-7B L23.block (both of 32 layers), of Qwen2.5-7B
    L6.mlp.down (of 28); other families go by LLaMA's.
    """
    # Layers are carried over as a share of the depth: models have other numbers of them.
    layer, of, part = 22, 32, "mlp.down"
    if family.startswith("mistral"):
        layer, of, part = 23, 32, "block"
    if family.startswith("qwen"):
        layer, of, part = 6, 28, "mlp.down"
    return Location.at(min(layers - 1, round(layer / of * layers)), part)


def part_meant(text: str) -> str:
    """The part that someone means who writes it as other tools do (`mlp_down`, `down_proj`,
    `self_attn.q_proj`); empty where that cannot be told."""
    words = re.sub(r"(?:_proj|(?<!c)_attn|_layer|\.weight|\.bias)\b", "", text.lower())
    words = ".".join(re.findall(r"[a-z0-9]+(?:_[a-z0-9]+)*", words.replace("mlp_", "mlp.")))
    words = _OTHER_WORDS.get(words, words)
    if words in PARTS:
        return words
    first, _, last = words.rpartition(".")
    side, name = _OTHER_WORDS.get(first, first), _OTHER_WORDS.get(last, last)
    if name in PARTS and side in ("", "block", name.partition(".")[0]):
        return name
    near = get_close_matches(f"{side}.{name}" if side else name, PARTS, n=1, cutoff=0.66)
    return near[0] if near else ""


def location_meant(piece: str) -> str:
    """The location that a piece is near to, as `layer22.mlp`, `22.mlp.down` and the names that
    modules have (`model.layers.22.mlp.down_proj`); empty where none is."""
    found = _LIKE.fullmatch(piece.strip().lower()) if len(piece) < LONGEST else None
    if found is None:
        return ""
    head = re.search(r"\bh(?:ead)?[._ ]?([0-9]{1,4})$", found["rest"])
    words = found["rest"][: head.start()] if head else found["rest"]
    part = part_meant(words) if words.strip(" ._/-") else "attn" if head else "block"
    layers = "-".join(filter(None, (found["first"], found["last"])))
    text = f"L{layers}.{part}" + (f".h{head[1]}" if head else "")
    # Not of a range that is empty, or of a head of an MLP: their own errors say it better.
    fits = part and (not head or part == "attn") and _SITE.fullmatch(text) is not None
    return text if fits and int(found["last"] or MOST_SITES**2) >= int(found["first"]) else ""


def _parent(site: Site) -> str:
    if site.head is not None:
        return "attn"
    return site.part.rpartition(".")[0] or "block"


def _parse_site(piece: str, text: str) -> Site:
    match = _SITE.fullmatch(piece.strip())
    text = shortened(text, 200)
    if match is None:
        hint = f"did you mean {meant}? " if (meant := location_meant(piece)) else ""
        raise UsageError(f"cannot read location '{text}': {hint}{_GRAMMAR}")
    if any(len(match[name] or "") > MOST_DIGITS for name in ("first", "last", "head")):
        raise UsageError(f"'{text}': layers and heads have at most {MOST_DIGITS} digits")
    first, part, head = int(match["first"]), match["part"], match["head"]
    last = first if match["last"] is None else int(match["last"])
    expert = _EXPERT.fullmatch(part)
    if expert and len(expert["number"]) > MOST_DIGITS:
        raise UsageError(f"'{text}': experts have at most {MOST_DIGITS} digits")
    if part not in (*PARTS, *SHARED_PARTS) and not expert:
        there = ", ".join(PARTS)
        hint = f"did you mean {meant}? " if (meant := location_meant(piece)) else ""
        raise UsageError(
            f"unknown part '{shortened(part, 60)}' in '{text}': {hint}there are {there}, and in "
            "mixtures mlp.shared and mlp.expert0"
        )
    if last < first:
        raise UsageError(f"empty layer range in '{text}': the first layer comes first")
    if head is not None and part != "attn":
        raise UsageError(f"'{text}': a head is written L{first}.attn.h{head}")
    return Site(first, last, part, None if head is None else int(head))
