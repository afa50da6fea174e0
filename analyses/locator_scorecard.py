"""How far can the scans be trusted on one model? The scorecards of finished searches, in words.

    for seed in 0 1 2; do locscope search --scans all --seed $seed --output runs/judged-$seed; done
    python -m analyses.locator_scorecard runs/judged-* --output reports/locator_scorecard.md

The searches may be of any model and edits (`--model`, `--edits`); several of one model (other
seeds, other edits) are put side by side. What holds on several models is the matter of
`analyses.scorecard_models`.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import locscope
from locscope.errors import UsageError
from locscope.records import ScanVerdict, Scorecard
from locscope.records.outcome import PREDICTS, VERDICTS
from locscope.report.data.scorecard_rows import scorecard_lines
from locscope.report.data.words import number

POPULAR = (
    "causal-tracing",
    "attribution-patching",
    "knowledge-neurons",
    "weight-gradient",
    "logit-lens",
    "direct-logit-attribution",
    "probe",
)
"""Methods that papers take their layers from."""
CONTROLS = ("depth", "depth-rule", "random")
Name = tuple[str, str]


@dataclass(frozen=True)
class Judged:
    """A finished search: of which model, edits and seed, and its scorecard."""

    model: str
    model_hash: str
    edits: str
    seed: int
    card: Scorecard

    @property
    def label(self) -> str:
        """The run in words."""
        return f"{self.model}, {self.edits}, seed {self.seed}"


@dataclass(frozen=True)
class Line:
    """One variant of a scan over all runs that scored it."""

    scan: str
    variant: str
    rows: tuple[ScanVerdict, ...]

    @property
    def name(self) -> str:
        """Scan and variant."""
        return f"{self.scan} {self.variant}"

    @property
    def verdicts(self) -> str:
        """How often each verdict was given."""
        given = [row.verdict for row in self.rows]
        return ", ".join(f"{v} {given.count(v)} of {len(given)}" for v in VERDICTS if v in given)

    def mean(self, field: str) -> float:
        """The mean over runs of a field, without those that did not measure it."""
        known = [value for row in self.rows if not isnan(value := getattr(row, field))]
        return sum(known) / len(known) if known else float("nan")


def main() -> None:
    """Reads the runs and writes the report."""
    report(__doc__ or "", Path("reports/locator_scorecard.md"), written)


def report(doc: str, page: Path, text_of: Callable[[Sequence[Judged]], str]) -> None:
    """The command line of a script over finished searches: their text to a page and the screen."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished searches")
    parser.add_argument("--output", type=Path, default=page)
    args = parser.parse_args()
    text = text_of(judged(args.runs))
    args.output.write_text(text, encoding="utf-8")
    print(text)


def judged(folders: Iterable[Path]) -> tuple[Judged, ...]:
    """The runs with their scorecards; a UsageError where one has none."""
    found = []
    for folder in folders:
        search = locscope.open_run(folder)
        if search.scorecard is None:
            raise UsageError(f"{folder} has no scorecard: run `locscope search --scans all` there")
        run, model = search.inputs.run, search.inputs.run.model
        found.append(Judged(model.name, model.hash, run.edits, run.seed, search.scorecard))
    return tuple(found)


def lines(runs: Sequence[Judged]) -> tuple[Line, ...]:
    """Every variant over the runs, the highest mean correlation within parts first."""
    rows: dict[Name, list[ScanVerdict]] = {}
    for run in runs:
        for row in run.card.verdicts:
            rows.setdefault((row.scan, row.variant), []).append(row)
    found = [Line(scan, variant, tuple(some)) for (scan, variant), some in rows.items()]
    return tuple(sorted(found, key=lambda one: (isnan(m := one.mean("within")), -m)))


def written(runs: Sequence[Judged]) -> str:
    """The report."""
    found = lines(runs)
    blocks = [
        "# How far can the scans be trusted?",
        "`python -m analyses.locator_scorecard`, on the audits of finished searches: every "
        "candidate at rung 1 and a random sample in full, drawn before any scan was read. All of "
        "it holds for the models, edits and seeds named here and no others.",
        "## What was judged",
        *(f"- {run.label}: {' '.join(scorecard_lines(run.card))}" for run in runs),
        "## What was learned",
        *learned(found),
        "## All variants",
        "Means over runs. Within part: Spearman's correlation among locations of one part. Added "
        "R2: the share of that order beyond a smooth curve over depth, below zero where it points "
        "the wrong way. Regret: what the best of the first 1, 3, 5 locations lacks to the best of "
        "all, in score. In full: correlation with full trials of the sample, parts mixed. Bounds "
        "aside: within part, where broken bounds do not count.",
        table(found),
        *(f"## {run.label}\n\n{sentences(run)}" for run in runs),
    ]
    return _joined(blocks)


def learned(found: Sequence[Line]) -> list[str]:
    """What the scorecards say, one point a line."""
    scans = [one for one in found if one.scan not in CONTROLS]
    points = [_point(verdict, scans) for verdict in VERDICTS]
    points.append(f"- **Popular methods.** {' '.join(map(_popular, _best_of(scans)))}")
    points.append(_beside(found, scans))
    return [point for point in points if point]


def _point(verdict: str, scans: Sequence[Line]) -> str:
    """Who was given a verdict, in every run or in some."""
    always = [one for one in scans if all(row.verdict == verdict for row in one.rows)]
    some = [one for one in scans if one not in always and verdict in one.verdicts]
    words = f"- **{verdict}**: {_names(always)}"
    if verdict == PREDICTS and not always:
        words = f"- **{verdict}**: no scan in every run"
    return words + (f"; in some runs only: {_names(some)}." if some else ".")


def _names(some: Sequence[Line]) -> str:
    return ", ".join(f"{one.name} ({number(one.mean('within'))})" for one in some) or "none"


def _best_of(scans: Sequence[Line]) -> list[Line]:
    """Of every popular method the variant with the highest correlation."""
    best: dict[str, Line] = {}
    for one in scans:
        best.setdefault(one.scan, one)
    return [best[name] for name in POPULAR if name in best]


def _popular(one: Line) -> str:
    within, regret = number(one.mean("within")), number(one.mean("regret_1"))
    return (
        f"{one.scan}, at its best ({one.variant}): {one.verdicts}; {within} within a part, its "
        f"first place is {regret} short of the best."
    )


def _beside(found: Sequence[Line], scans: Sequence[Line]) -> str:
    """Who loses less than a random order, and less than the depth rule, by its first three."""
    named = {one.scan: one for one in reversed(found) if one.scan in CONTROLS}
    points = []
    for name, words in (("random", "a random order"), ("depth-rule", "the depth rule")):
        if name not in named:
            continue
        limit = named[name].mean("regret_3")
        less = [one.name for one in scans if one.mean("regret_3") < limit]
        points.append(
            f"- **Regret of the first three.** {words.capitalize()} loses {number(limit)}; "
            f"{len(less)} of {len(scans)} variants lose less: {', '.join(less) or 'none'}."
        )
    return "\n".join(points)


def table(found: Sequence[Line]) -> str:
    """All variants, means over runs."""
    fields = ("within", "added", "regret_1", "regret_3", "regret_5", "full", "score_only")
    titles = ("within part", "added R2", "regret 1", "3", "5", "in full", "bounds aside")
    head = "| " + " | ".join(("scan", "variant", *titles, "verdicts")) + " |"
    rows = [head, "|---|---|" + "---|" * (len(fields) + 1)]
    for one in found:
        cells = (one.scan, one.variant, *(number(one.mean(field)) for field in fields))
        rows.append("| " + " | ".join((*cells, one.verdicts)) + " |")
    return "\n".join(rows)


def sentences(run: Judged) -> str:
    """The verdicts of one run, a line each, those that predict first."""
    order = sorted(run.card.verdicts, key=lambda row: VERDICTS.index(row.verdict))
    return "\n".join(f"- {row.scan} {row.variant}: {row.sentence}." for row in order)


def _joined(blocks: Iterable[str]) -> str:
    """Blocks with an empty line between, list items without."""
    text = ""
    for block in blocks:
        item = block.startswith("- ") and text.splitlines()[-1].startswith("- ")
        text += ("\n" if item else "\n\n" if text else "") + block
    return text + "\n"


if __name__ == "__main__":
    main()
