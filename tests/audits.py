"""Made-up audits: places whose worth is known, and scans that know it or do not."""

from collections.abc import Iterable, Sequence
from math import nan

import numpy as np
from scipy.ndimage import gaussian_filter1d

from locscope.locations import Location
from locscope.records import (
    Descriptor,
    EditOutcome,
    Recipe,
    ScanResult,
    ScanScore,
    Trial,
    TrialRecord,
)
from locscope.scorecard.audit import Audit

PARTS = ("mlp.up", "mlp.down", "mlp", "attn.q", "attn.o", "attn", "block")
LAYERS, EDITS = 10, 40


def names(count: int = EDITS) -> tuple[str, ...]:
    return tuple(f"e{i}" for i in range(count))


def pairs(count: int = EDITS) -> tuple[tuple[str, ...], ...]:
    """Groups of two edits."""
    return tuple((f"e{i}", f"e{i + 1}") for i in range(0, count, 2))


def quick(edit: str, target: float, rephrase: float = nan, kept: float = nan) -> EditOutcome:
    return EditOutcome(edit, nan, nan, nan, nan, "", (), target, rephrase, kept)


def whole(edit: str, reliability: float, generalization: float, locality: float) -> EditOutcome:
    return EditOutcome(edit, reliability, reliability, generalization, locality)


def record(
    location: str,
    outcomes: Iterable[EditOutcome],
    lr: float = 1e-3,
    violated: tuple[str, ...] = (),
    edits: Sequence[str] = names(),
) -> TrialRecord:
    trial = Trial(
        Location.parse(location),
        Recipe(lr, 8),
        tuple(edits),
        "S",
        "rung 1",
        0,
        "m",
        "e",
        quick=True,
    )
    return TrialRecord(
        trial, "done", nan, "s", (), tuple(outcomes), (), (), 10, 0.0, 0, 0.0, 0.0, violated
    )


def look(location: str, target: Sequence[float], **more) -> TrialRecord:
    """A first look at which the target has these probabilities, edit by edit."""
    return record(location, map(quick, names(len(target)), target), **more)


def scan(
    scores: Iterable[ScanScore], name: str = "scan", sign: int = 1, edits: Sequence[str] = names()
) -> ScanResult:
    entry = Descriptor(name, name, "a note", "a source", "a:scan", sign)
    return ScanResult(entry, tuple(scores), len(edits), len(edits), 0, 0.0, edits=tuple(edits))


def noisy(rng: np.random.Generator, values: np.ndarray, name: str) -> ScanResult:
    """A scan whose scores are means over requests, near the values, (layers, parts)."""
    scores = []
    for (layer, part), value in np.ndenumerate(values):
        each = value + rng.normal(size=EDITS)
        mean = float(each.mean())
        scores.append(ScanScore("v", layer, PARTS[part], mean, values=tuple(each.tolist())))
    return scan(scores, name)


def shared(rng: np.random.Generator) -> np.ndarray:
    """Values of all places; the parts of a layer have half of theirs in common."""
    return rng.normal(size=(LAYERS, len(PARTS))) / 2 + rng.normal(size=(LAYERS, 1)) / 2


def smooth(rng: np.random.Generator, layers: int = 32, width: float = 1.5) -> np.ndarray:
    """Values that change smoothly over many layers, in common more than by part."""
    own, common = (
        gaussian_filter1d(rng.normal(size=(layers, count)), width, axis=0)
        for count in (len(PARTS), 1)
    )
    values = own / own.std() / 2 + common / common.std()
    return values / values.std()


def world(rng: np.random.Generator, truth: np.ndarray) -> Audit:
    """First looks and some full trials at places as good as the truth says, edits in pairs."""
    utility = 0.5 + 0.1 * (truth - truth.mean()) / truth.std()
    tilt = 0.1 * rng.normal(size=EDITS)
    looks, full = [], []
    for (layer, part), value in np.ndenumerate(utility):
        target = np.clip(value + tilt + 0.2 * rng.normal(size=EDITS), 0.01, 0.99).tolist()
        location = f"L{layer}.{PARTS[part]}"
        looks.append(look(location, target))
        right = [whole(f"e{i}", float(p > 0.5), float(p > 0.6), 0.9) for i, p in enumerate(target)]
        full.append(record(location, right))
    sample = rng.choice(len(full), 12, replace=False)
    return Audit(
        tuple(looks), tuple(full[i] for i in sample), pairs(), Location.parse("L6.mlp.down")
    )
