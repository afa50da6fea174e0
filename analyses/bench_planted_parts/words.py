"""The words and the table lines of the report."""

from collections.abc import Iterator, Sequence
from math import isnan

from analyses.bench_planted_parts.summary import Summary
from locscope.scoring.statistics import Interval

LAYERS = 10
CHANCE = (LAYERS + 1) / 2
HEAD = (
    "# Do scans find knowledge that was planted at a known location?",
    "",
    "Bundled model (10 blocks), `python -m analyses.bench_planted` (every rank in `planted.csv`).",
    "",
    "Twelve facts about invented subjects, which the model answers otherwise before, are tuned in "
    "at one location: steps of equal length along the gradient on a sphere around the old weights, "
    "so that the norm of the change is the same at every location, with 16 known facts rehearsed "
    "beside them. A scan sees the planted model alone, with an evaluation suite written on it; the "
    "edits it is asked about turn the planted answers into other ones. It is judged at the "
    "granularity that it sees: the rank of the planted layer among the ten layers of the narrowest "
    "part that holds the planted one and that it scores (`mlp.down`, else `mlp`, else `block`; "
    "heads summed up). A scan without a score for such a part is not judged on that plant. Ties "
    "share their mean rank. All layers are planted alike, so a scan that likes some layer whatever "
    "was planted there has the recall and the rank of chance.",
    "",
    "**A plant's location need not be the best location to edit.** This says whether a scan tells "
    "where a change of weights sits. Where the model's own knowledge sits, and where tuning does "
    "the least damage, are other questions; only trials answer the latter. The facts are planted "
    "in one phrasing with a change that is larger than most locations need, in one small model.",
    "",
    "**What was decided after results were seen.** Ranks, recalls, intervals and the limit of a "
    "half (on which `lofit-heads` lies) were fixed before any scan ran. The group `among the first "
    "three`, its limit of 0.8 and the column `first, mostly` came after 15 plants, the limit at "
    "which peaks count as alike after all 52. Tracing with a window of one layer was added because "
    "the default did poorly. The probe counted as failing until its missing rank before planting "
    "was no longer held against it. The facts were changed once, after 11 plants, so that a probe "
    "has classes. Norm and number of facts were set by whether locations held them, before any "
    "scan.",
)
TABLE = (
    "## All variants",
    "",
    "Chance: recall at 1 0.10, at 3 0.30, mean rank 5.5. Brackets: 95 % bootstrap intervals over "
    "plants. `before`: mean rank of the same layers in the untouched model; `lifted`: ranks gained "
    "by planting. `rise`: judged by planted minus untouched score instead (recall at 1, mean rank; "
    "no user has that). `of 20`: recall at 1 among all MLPs and attentions together (chance 0.05), "
    "where both are scored. `two`: plants at two locations, either first / both within 3 / number. "
    "`peak`: of the rise, one location / everywhere. `first, mostly`: the layer that comes first "
    "most often, and how often (a scan that finds all plants has 10 % of each).",
    "",
    "| scan | variant | judged on | plants | recall at 1 | recall at 3 | mean rank | mlp, attn "
    "| before | lifted | rise | of 20 | two | peak | first, mostly |",
    "|---" * 15 + "|",
    "| chance | | | | 0.10 | 0.30 | 5.5 | 5.5, 5.5 | 5.5 | 0 | 0.10, 5.5 | 0.05 "
    "| 0.2 / 0.07 of all | | |",
)


def verdict(one: Summary) -> str:
    """`finds`, `near`, `leans`, `away` or `fails`, by the intervals against chance.

    To find means recall at 1 of at least a half, near recall at 3 of at least four fifths; all but
    `fails` exclude chance, and the rank of the same layers before planting, where that is known.
    """
    known = not isnan(one.gained.value)
    if one.mean.low > CHANCE and (one.gained.high < 0 or not known):
        return "away"
    if not (one.mean.high < CHANCE and (one.gained.low > 0 or not known)):
        return "fails"
    if one.first.value >= 0.5 and one.first.low > 1 / LAYERS:
        return "finds"
    return "near" if one.third.value >= 0.8 else "leans"


TITLES = {
    "finds": "**Find the plant** (recall at 1 of a half or more)",
    "near": "**Put it among the first three, but seldom first** (recall at 3 of 0.8 or more)",
    "leans": "**Lean towards it** (better than chance and than before planting, but no more)",
    "fails": "**Fail** (no better than chance or than before planting)",
    "away": "**Point away from it** (worse than chance)",
}
CLAIMS = (
    "`depth-rule`, `dropout-kl`, `stealth-dimension` and `step-forecast` do not claim to find "
    "where a fact is: they rank locations by what editing there may cost or gain. Not to find it "
    "says nothing against them there, and to find it nothing for them. `probe` can only learn an "
    "answer that several subjects share; which of the invented subjects has it follows from "
    "nothing, and before planting it had no classes to learn. `dropout-kl` recommends locations "
    "that the model does not lean on, and points away from plants because it leans on them.",
    "",
    "A favourite that comes first whatever was planted (column `first, mostly`) is why many scans "
    "have the plant among the first three and not first: the whole model leans on that layer, "
    "planted or not. Only the comparison with the model before planting (`rise`) takes that out.",
)


def spoken(found: Sequence[Summary]) -> Iterator[str]:
    """Which scans find the plants, which do not."""
    yield "## Which scans find it, which fail"
    yield ""
    for kind, title in TITLES.items():
        mine = [one for one in found if verdict(one) == kind]
        names = [f"{_name(one)} ({_recalls(one)})" for one in mine]
        yield f"- {title}: {', '.join(names) or 'none'}."
    kinds: dict[str, set[str]] = {}
    for one in found:
        kinds.setdefault(one.scan, set()).add(verdict(one))
    hopeless = [scan for scan, seen in kinds.items() if seen <= {"fails", "away"}]
    yield ""
    yield f"Scans of which no variant helps: {', '.join(sorted(hopeless)) or 'none'}."
    yield (
        "In brackets recall at 1, recall at 3, mean rank. Of so many variants some pass by luck: "
        "at 95 %, one in twenty of those that know nothing lies outside, on one side or the other."
    )
    yield ""
    yield from CLAIMS


def _recalls(one: Summary) -> str:
    return f"{one.first.value:.2f}, {one.third.value:.2f}, {one.mean.value:.1f}"


def summary_line(one: Summary, peaks: tuple[float, float]) -> str:
    """A line of the table."""
    cells = [
        one.scan,
        one.variant,
        one.parts,
        str(one.plants),
        _interval(one.first),
        _interval(one.third),
        _interval(one.mean, 1),
        f"{_number(one.mlp, 1)}, {_number(one.attn, 1)}",
        _number(one.before.value, 1),
        _interval(one.gained, 1),
        f"{_number(one.moved_first.value)}, {_number(one.moved.value, 1)}",
        _number(one.location.value),
        f"{one.either} / {one.both} / {one.pairs}",
        " / ".join(_number(value, 1) for value in peaks),
        one.favourite,
    ]
    return "| " + " | ".join(cells) + " |"


def _name(one: Summary) -> str:
    return f"{one.scan} {one.variant}".strip()


def _interval(one: Interval, digits: int = 2) -> str:
    low, high = _number(one.low, digits), _number(one.high, digits)
    return f"{_number(one.value, digits)} ({low} to {high})"


def _number(value: float, digits: int = 2) -> str:
    return "—" if isnan(value) else f"{value:.{digits}f}"
