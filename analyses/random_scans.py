"""How often is a scan that knows nothing called anything? Random scans on a search's audit.

    locscope search --limit 60 --no-thorough --output runs/first
    python -m analyses.random_scans runs/first --scans 2000

A family is as many random scans as the search had variants, each with scores at the locations that
the variant scored; what tuning showed at the audit's locations is as measured. Counted are families
of which any claim is made, "points the wrong way" too: at most 5 % may be. Scores are independent,
alike in all parts of a layer, or smooth over depth in several ways, up to straight lines. Scans
that hold depth and noise have to do with the outcome but tell no more than depth: of them only
"predicts here" is false. The last table has what is found of a scan that knows the outcome. Writes
reports/random_scans.md.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.stats import binomtest, rankdata

import locscope
from locscope.edits.splits import groups
from locscope.errors import UsageError
from locscope.records import Descriptor, ScanResult, ScanScore, ScanVerdict, Scorecard
from locscope.records.outcome import AS_DEPTH, PREDICTS
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.words import number
from locscope.scorecard.audit import QUICK_TERMS, Audit, draws_of, outcome_of
from locscope.scorecard.scorecard import scorecard
from locscope.scorecard.strata import depth_of, stratum_of
from locscope.scorecard.verdicts import WRONG_WAY, claims
from locscope.selection.strategies.race import RUNG_1

PAGE = Path("reports/random_scans.md")
Values = NDArray[np.float64]
"""Scores by layer and part, shape (layers, parts)."""
Draw = Callable[[np.random.Generator, int, int], Values]
Cells = tuple[tuple[int, str], ...]
"""Layers and parts that a variant scores."""
ALIKE = 0.5
"""What a part has of its own, over what it shares with the others of a layer."""
KNOWN = (0.25, 0.5, 1.0, 2.0)
"""Noise on a scan that knows the outcome, in standard deviations of that."""


def white(rng: np.random.Generator, layers: int, parts: int, own: float = 1.0) -> Values:
    """Independent layers; parts share all but `own`."""
    return rng.normal(size=(layers, 1)) * (own != 1) + own * rng.normal(size=(layers, parts))


def smoothed(rng: np.random.Generator, layers: int, parts: int, width: float) -> Values:
    """White noise over depth through a Gaussian filter of so many layers."""
    edge = int(4 * width) + 1
    one, own = (
        gaussian_filter1d(rng.normal(size=(layers + 2 * edge, n)), width, axis=0)[edge:-edge]
        for n in (1, parts)
    )
    return one / one.std() + ALIKE * own / own.std()


def walk(rng: np.random.Generator, layers: int, parts: int) -> Values:
    """Random walks over depth."""
    return white(rng, layers, parts, ALIKE).cumsum(0)


def line(rng: np.random.Generator, layers: int, parts: int, noise: float) -> Values:
    """Straight up or down over depth, with noise in standard deviations of the line."""
    depth = np.linspace(-1.7, 1.7, layers)[:, None]
    return rng.choice([-1, 1]) * depth + noise * rng.normal(size=(layers, parts))


def hill(rng: np.random.Generator, layers: int, parts: int) -> Values:
    """A hill or valley anywhere over depth, with some noise."""
    depth, peak = np.linspace(0, 1, layers)[:, None], rng.uniform()
    return rng.choice([-1, 1]) * np.abs(depth - peak) + 0.05 * rng.normal(size=(layers, parts))


def later(rng: np.random.Generator, layers: int, parts: int) -> Values:
    """Depth itself, with smooth noise of a third of its size."""
    return np.linspace(-1.7, 1.7, layers)[:, None] + smoothed(rng, layers, parts, 1.0) / 3


KINDS: Mapping[str, Draw] = {
    "independent": white,
    "alike in the parts of a layer": partial(white, own=ALIKE),
    "smooth, Gaussian filter of 1 layer": partial(smoothed, width=1.0),
    "smooth, of 1.5 layers": partial(smoothed, width=1.5),
    "smooth, of 3 layers": partial(smoothed, width=3.0),
    "random walks": walk,
    "straight lines up or down, no noise": partial(line, noise=0.02),
    "straight lines, as much noise": partial(line, noise=1.0),
    "hills and valleys": hill,
}


@dataclass(frozen=True)
class Bed:
    """A search's audit, and the locations that its variants score: what a family is made of."""

    audit: Audit
    shapes: tuple[Cells, ...]
    label: str

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts that are scored."""
        return tuple(sorted({part for cells in self.shapes for _, part in cells}))

    @property
    def layers(self) -> int:
        """Layers that are scored."""
        return 1 + max(layer for cells in self.shapes for layer, _ in cells)


@dataclass(frozen=True)
class Tally:
    """Families of one kind: how many, the scans in each, and the claims made in each family."""

    kind: str
    size: int
    claimed: tuple[tuple[ScanVerdict, ...], ...]

    def families(self, words: str = "") -> int:
        """Families in which a claim is made whose sentence has these words."""
        return sum(any(words in row.sentence for row in rows) for rows in self.claimed)

    @property
    def scans(self) -> int:
        """All random scans."""
        return self.size * len(self.claimed)


def main() -> None:
    """Reads the run, draws and judges the families, and writes the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished search")
    parser.add_argument("--scans", type=int, default=1000, help="random scans of every kind")
    parser.add_argument("--shuffles", type=int, default=1999)
    parser.add_argument("--output", type=Path, default=PAGE)
    args = parser.parse_args()
    bed = bed_of(locscope.open_run(args.run).inputs)
    count = -(-args.scans // len(bed.shapes))
    tallies = [tally(bed, kind, draw, count, args.shuffles) for kind, draw in KINDS.items()]
    depth = tally(bed, "depth and smooth noise", later, count, args.shuffles)
    found = [known(bed, noise, max(1, count // 4), args.shuffles) for noise in KNOWN]
    text = page(bed, tallies, depth, found)
    args.output.write_text(text, encoding="utf-8")
    print(text)


def bed_of(inputs: ReportInputs) -> Bed:
    """The audit of a run and the shapes of its scans; a UsageError where it has none."""
    looks = tuple(one for one in inputs.trials if one.trial.rung == RUNG_1)
    shapes = tuple(
        tuple(scan.of_locations(variant)) for scan in inputs.scans for variant in scan.variants
    )
    if not looks or not shapes:
        raise UsageError("a search by race with scans is needed: it has rung 1, of every candidate")
    ids = [edit.id for edit in inputs.edits]
    joined = tuple(tuple(ids[i] for i in group) for group in groups(inputs.edits))
    run, seen = inputs.run, {edit for one in looks for edit in one.trial.edits}
    held = tuple(kept for group in joined if (kept := tuple(e for e in group if e in seen)))
    label = f"{run.model.name}, {run.edits}, seed {run.seed}, rung 1 on {len(seen)} edits"
    return Bed(Audit(looks, (), held), shapes, label)


def tally(bed: Bed, kind: str, draw: Draw, count: int, shuffles: int) -> Tally:
    """Judges so many families of random scans of a kind."""
    claimed = []
    for seed in range(count):
        scans = family(bed, draw, np.random.default_rng([seed, len(kind)]))
        card = scorecard([scans], bed.audit, seed, draws=200, shuffles=shuffles)
        claimed.append(tuple(_claims(card)))
    return Tally(kind, len(bed.shapes), tuple(claimed))


def _claims(card: Scorecard) -> Iterator[ScanVerdict]:
    """The rows of drawn scans of which something is claimed."""
    mine = (row for row in card.verdicts if row.scan == "drawn")
    return (row for row in mine if claims(row.verdict, row.sentence))


def family(bed: Bed, draw: Draw, rng: np.random.Generator) -> ScanResult:
    """A variant with random scores for every variant of the search, at the same locations."""
    scores = []
    for i, cells in enumerate(bed.shapes):
        drawn = draw(rng, bed.layers, len(bed.parts))
        column = {part: drawn[:, j] for j, part in enumerate(bed.parts)}
        scores += [ScanScore(f"{i}", n, part, float(column[part][n])) for n, part in cells]
    return _result("drawn", scores)


def _result(name: str, scores: Sequence[ScanScore]) -> ScanResult:
    entry = Descriptor(name, name, "random scores", "none", "none:none")
    return ScanResult(entry, tuple(scores), 0, 0, 0, 0.0)


def known(bed: Bed, noise: float, count: int, shuffles: int) -> tuple[str, ...]:
    """A row of the table of scans that know the outcome, each in a family of independent ones."""
    rows = []
    for seed in range(count):
        rng = np.random.default_rng([seed, 7])
        scans = [family(bed, white, rng), _knowing(bed, noise, rng)]
        card = scorecard(scans, bed.audit, seed, draws=200, shuffles=shuffles)
        rows.append(next(row for row in card.verdicts if row.scan == "knows"))
    within = float(np.mean([row.within for row in rows]))
    found = [sum(row.verdict in some for row in rows) for some in ((PREDICTS,), (AS_DEPTH,))]
    return (f"{noise:g}", number(within), *(f"{n} of {count}" for n in found))


def _knowing(bed: Bed, noise: float, rng: np.random.Generator) -> ScanResult:
    """A scan whose score is the rank of what tuning showed at a location, with noise."""
    shown = outcome_of(bed.audit.quick_trials, draws_of(bed.audit, (), 1, 0), QUICK_TERMS)
    single = [i for i, name in enumerate(shown.locations) if stratum_of(name)]
    standing = rankdata(shown.standing[0][single])
    scores = standing + noise * standing.std() * rng.normal(size=len(single))
    locations = [shown.locations[i] for i in single]
    return _result(
        "knows",
        [
            ScanScore("v", int(depth_of(location)), stratum_of(location), float(score))
            for location, score in zip(locations, scores, strict=True)
        ],
    )


def page(bed: Bed, tallies: Sequence[Tally], depth: Tally, found: Sequence[Sequence[str]]) -> str:
    """The report."""
    first = tallies[0]
    return "\n".join(
        [
            "# How often is a scan that knows nothing called anything?",
            "",
            f"Written by `python -m analyses.random_scans`. Audit: {bed.label}. Families of "
            f"{first.size} random scans, at the locations of the variants that the search had, "
            "beside depth; Holm's correction over all claims about all of them. In brackets: exact "
            "95 % intervals. At most 5 % of families should have a claim.",
            "",
            "| scores | scans | families | with any claim | predicts here | no more than depth "
            f"| {WRONG_WAY} | scans with a claim |",
            "|---|---|---|---|---|---|---|---|",
            *map(_row, tallies),
            "",
            "Scans that hold depth and smooth noise (a third of its size): what they are said to "
            f'tell beyond depth is false. Families in which one "{PREDICTS}": '
            f"{_share(depth.families(PREDICTS), len(depth.claimed))}.",
            "",
            "What is found of a scan that knows the outcome at all locations, beside a family of "
            "independent ones (noise in standard deviations of the outcome's ranks):",
            "",
            f"| noise | within part | {PREDICTS} | {AS_DEPTH} |",
            "|---|---|---|---|",
            *("| " + " | ".join(cells) + " |" for cells in found),
            "",
        ]
    )


def _row(one: Tally) -> str:
    cells = (
        one.kind,
        str(one.scans),
        str(len(one.claimed)),
        _share(one.families(), len(one.claimed)),
        *(str(one.families(words)) for words in (PREDICTS, AS_DEPTH, WRONG_WAY)),
        str(sum(map(len, one.claimed))),
    )
    return "| " + " | ".join(cells) + " |"


def _share(count: int, of: int) -> str:
    low, high = binomtest(count, of).proportion_ci(method="exact")
    return f"{100 * count / of:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
