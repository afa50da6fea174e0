"""What a run knows of its plants, kept in one file a plant, so that later scans only add to it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from analyses.bench_planted_parts.planting import Plant
from analyses.bench_planted_parts.scanning import Column


@dataclass(frozen=True)
class Scanned:
    """What one scan said: its columns, seconds, and what went wrong (empty where nothing)."""

    columns: tuple[Column, ...]
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Kept:
    """A plant, what restoring each location costs it (`falls`, by location), and what scans
    said."""

    plant: Plant
    falls: dict[str, float] = field(default_factory=dict)
    whole: float = 0.0
    scans: dict[str, Scanned] = field(default_factory=dict)

    def by_variant(self, name: str) -> dict[str, dict[str, tuple[float, ...]]]:
        """The scores of a scan, by variant and part."""
        found: dict[str, dict[str, tuple[float, ...]]] = {}
        scanned = self.scans.get(name)
        for column in scanned.columns if scanned else ():
            found.setdefault(column.variant, {})[column.part] = column.scores
        return found

    def missing(self, names: Sequence[str]) -> list[str]:
        """The scans that have not run through on it yet."""
        return [n for n in names if n not in self.scans or self.scans[n].problem]


def path_of(folder: Path, location: str, seed: int) -> Path:
    """The file of a plant; the place of the untouched model is `none`."""
    return folder / f"{location}-{seed}.json"


def save(kept: Kept, path: Path) -> None:
    """Writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(kept)), encoding="utf-8")


def read(path: Path) -> Kept | None:
    """Reads it, if it is there."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    scans = {name: _scanned(**one) for name, one in found["scans"].items()}
    return Kept(Plant(**found["plant"]), found["falls"], found["whole"], scans)


def forget(folder: Path, names: Sequence[str]) -> None:
    """Drops what these scans said."""
    for path in folder.glob("*.json"):
        kept = read(path)
        if kept is not None:
            rest = {name: one for name, one in kept.scans.items() if name not in names}
            save(replace(kept, scans=rest), path)


def _scanned(columns: list[dict], seconds: float, problem: str) -> Scanned:
    made = (Column(**{**one, "scores": tuple(one["scores"])}) for one in columns)
    return Scanned(tuple(made), seconds, problem)
