"""Scanning: what the scans say of a model, as columns of scores by layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import nan

from locscope.engine.exam import Material, prepare
from locscope.engine.trunk import Trunk
from locscope.models.load import Loaded
from locscope.progress import Silent
from locscope.records import Edit, ScanOptions, ScanResult
from locscope.scans import SCANS, run_scan
from locscope.scans.bench import ScanBench
from locscope.verbs.session import speaker_of

OPTIONS = ScanOptions(samples=3)
"""Cheaper than the default in one thing: three samples of noise instead of ten."""


@dataclass(frozen=True)
class Column:
    """The scores of one part at every layer, times the scan's sign: high recommends.

    NaN where the scan gave none.
    """

    scan: str
    variant: str
    part: str
    scores: tuple[float, ...]


def there(name: str) -> bool:
    """Whether the scan's module exists."""
    return find_spec(SCANS[name].function.split(":")[0]) is not None


def bench_of(loaded: Loaded, edits: Sequence[Edit], material: Material, seed: int) -> ScanBench:
    """A bench over the model as it is now: nothing in it knows another model."""
    exam = prepare(speaker_of(loaded), edits, material)
    trunk = Trunk(loaded.model, exam.sheet)
    ids = tuple(edit.id for edit in edits)
    return ScanBench(loaded, exam, trunk, ids, seed, Silent(), OPTIONS)


def columns_of(bench: ScanBench, name: str) -> tuple[Column, ...]:
    """Runs a scan; its whole parts of layers as columns."""
    return tuple(_columns(run_scan(name, bench), bench.loaded.info.layers))


def _columns(result: ScanResult, layers: int) -> Iterator[Column]:
    sign = result.descriptor.sign
    for variant in result.variants:
        scores = result.of_places(variant)
        for part in dict.fromkeys(part for _, part in scores):
            of_part = [scores.get((layer, part)) for layer in range(layers)]
            values = tuple(sign * one.score if one is not None else nan for one in of_part)
            yield Column(result.descriptor.name, variant, part, values)
