"""One seed of one model: what each strategy chose, what that took, and what it is worth on T."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean

import locscope
from locscope.records import ScanResult, TrialRecord
from locscope.selection.choice import ranked
from locscope.selection.space import FULL, at_rung, spent

REVERSED = "race, scans reversed"
SCANNED = ("race", "reversed")
"""Who makes use of scans, and pays for them in seconds (their operations are not counted)."""


@dataclass(frozen=True)
class Entry:
    """A strategy's choice on S with its cost, and its scores on parts of T; `kept` tells which of
    them kept the bounds, `code` which state of the package it was run with."""

    model: str
    seed: int
    strategy: str
    location: str
    lr: float
    score_s: float
    met_s: bool
    trials: int
    flops: float
    seconds: float
    scores_r: tuple[float, ...]
    kept: tuple[bool, ...]
    code: str = ""

    @property
    def score_r(self) -> float:
        """The mean over the parts of T."""
        return fmean(self.scores_r)

    @property
    def utility_r(self) -> float:
        """The same, where what broke a bound is worth nothing."""
        return fmean(s * kept for s, kept in zip(self.scores_r, self.kept, strict=True))


def contest(lab: locscope.Experiment, name: str, against: Sequence[str]) -> tuple[Entry, ...]:
    """The race and the strategies it is compared with, on the same split and the same trials."""
    race = lab.choose("race")
    chosen = {"race": race, **{other: _choice(lab, other, race) for other in against}}
    scans = sum(scan.seconds for scan in lab.scans)
    return tuple(
        _entry(lab, name, other, records, scans if other in SCANNED else 0.0)
        for other, records in chosen.items()
    )


def _choice(
    lab: locscope.Experiment, name: str, race: Sequence[TrialRecord]
) -> tuple[TrialRecord, ...]:
    if name == "reversed":
        mirrored = tuple(_mirrored(scan) for scan in lab.space.scans)
        return lab.choose("race", replace(lab.space, scans=mirrored))
    if name == "random":
        return lab.choose(name, replace(lab.space, budget=spent(race), budget_unit="operations"))
    return lab.choose(name)


def _mirrored(scan: ScanResult) -> ScanResult:
    return replace(scan, descriptor=replace(scan.descriptor, sign=-scan.descriptor.sign))


def _entry(
    lab: locscope.Experiment, model: str, name: str, records: Sequence[TrialRecord], scans: float
) -> Entry:
    best = ranked(at_rung(records, FULL), lab.space.objective)[0]
    held_out = lab.held_out(best)
    return Entry(
        model=model,
        seed=lab.space.seed,
        strategy=REVERSED if name == "reversed" else name,
        location=str(best.trial.location),
        lr=best.trial.recipe.lr,
        score_s=best.score,
        met_s=not best.violated,
        trials=len(records),
        flops=spent(records),
        seconds=scans + sum(record.seconds for record in records),
        scores_r=tuple(record.score for record in held_out),
        kept=tuple(not record.violated for record in held_out),
        code=_code(),
    )


@cache
def _code() -> str:
    """The hash of the package's files in git, with a plus where some differ from it."""
    tree = _git("rev-parse", "--short=12", "HEAD:locscope")
    return tree + "+" * bool(_git("status", "--porcelain", "--", "locscope"))


def _git(*words: str) -> str:
    root = Path(__file__).parents[2]
    said = subprocess.run(("git", *words), cwd=root, capture_output=True, text=True, check=False)
    return said.stdout.strip()
