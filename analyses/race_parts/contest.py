"""One seed of one model: what each strategy chose, what that took, and what it is worth on T."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean

from locscope.progress import Progress
from locscope.records import ScanResult, TrialRecord
from locscope.runs.folder import open_run
from locscope.selection.choice import ranked
from locscope.selection.space import FULL, Budget, Space, at_rung, spent
from locscope.settings import SearchSettings
from locscope.workflows.search.holdout import on_t
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.plan import plan_search
from locscope.workflows.search.select import scan_s, select, space_of
from locscope.workflows.search.stages import Evidence

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


def contest(
    settings: SearchSettings, name: str, folder: Path, against: Sequence[str], progress: Progress
) -> tuple[Entry, ...]:
    """The race and the strategies it is compared with, on the same split and the same trials."""
    plan = plan_search(settings, folder)
    with open_run(plan.folder, plan.frozen) as opened:
        runner = LocalTrialRunner(plan, opened, progress)
        space = space_of(runner, scan_s(runner))
        race = _chosen(runner, space, "race")
        chosen = {"race": race}
        chosen |= {other: _choice(runner, space, other, race) for other in against}
        scans = sum(scan.seconds for scan in space.scans)
        return tuple(
            _entry(runner, name, other, records, scans if other in SCANNED else 0.0)
            for other, records in chosen.items()
        )


def _chosen(runner: LocalTrialRunner, space: Space, name: str) -> tuple[TrialRecord, ...]:
    return select(runner, Evidence(space, space.scans), name).selected


def _choice(
    runner: LocalTrialRunner, space: Space, name: str, race: Sequence[TrialRecord]
) -> tuple[TrialRecord, ...]:
    if name == "reversed":
        mirrored = tuple(_mirrored(scan) for scan in space.scans)
        return _chosen(runner, replace(space, scans=mirrored), "race")
    if name == "random":
        allowed = Budget(spent(race), "operations")
        return _chosen(runner, replace(space, budget=allowed), name)
    return _chosen(runner, space, name)


def _mirrored(scan: ScanResult) -> ScanResult:
    return replace(scan, descriptor=replace(scan.descriptor, sign=-scan.descriptor.sign))


def _entry(
    runner: LocalTrialRunner, model: str, name: str, records: Sequence[TrialRecord], scans: float
) -> Entry:
    plan = runner.plan
    best = ranked(at_rung(records, FULL), plan.objective.strict)[0]
    trials = [on_t(plan, best, i) for i in range(len(plan.on_t))]
    found = runner.trials("on T", trials)
    return Entry(
        model=model,
        seed=plan.settings.seed,
        strategy=REVERSED if name == "reversed" else name,
        location=best.trial.location,
        lr=best.trial.recipe.lr,
        score_s=best.score,
        met_s=not best.violated,
        trials=len(records),
        flops=spent(records),
        seconds=scans + sum(record.seconds for record in records),
        scores_r=tuple(record.score for record in found),
        kept=tuple(not record.violated for record in found),
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
