"""Do localisation scans find knowledge that was planted at a known location?

    python -m analyses.bench_planted --seeds 2 --output reports/planted.md

Facts about invented subjects are tuned into the bundled model at one location, every scan looks at
the planted model alone, and is judged by the rank that it gives to the planted layer. Results are
kept in `--keep`, one file a plant: a later run only adds the scans that are missing there.
`--plants 6 --scans random,weight-gradient` is a short run; `--fresh` forgets what was kept, and
`--again probe` what that scan said. All of it takes about ten minutes on one core.
"""

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from analyses.bench_planted_parts.control import falls, remembered, whole_fall
from analyses.bench_planted_parts.keeping import Kept, Scanned, forget, path_of, read, save
from analyses.bench_planted_parts.lessons import lessons, turned
from analyses.bench_planted_parts.planting import Plant, Soil, planted
from analyses.bench_planted_parts.report import RECALL, rows_of, written
from analyses.bench_planted_parts.scanning import ALSO, columns_of, context_of, there
from locscope.errors import LocscopeError
from locscope.evaluation.build_suite import prepare
from locscope.evaluation.suite import EvalTexts
from locscope.forward.prefix_cache import PrefixCache
from locscope.models.load import Loaded, load
from locscope.records import Edit
from locscope.scans import SCANS
from locscope.scans.context import ScanContext
from locscope.workflows.workspace import text_generator_of

NOWHERE = "none"
NORM = 6.0
"""Euclidean norm of every plant's change: so large that every MLP and attention holds the facts.
Of their parts most do not (seed 0: 0.25 of the facts at L4.mlp.down, 0.08 at L4.attn.o and at
L9.attn.o), and at a much larger norm the lowest layers lose what they knew."""
NEUTRAL = 8
PAIRS = ("L1.mlp+L6.mlp", "L2.mlp+L7.mlp", "L3.mlp+L8.mlp", "L2.attn+L7.attn", "L4.attn+L9.attn")


@dataclass(frozen=True)
class Field:
    """What all plants of one seed share: the lessons, where they are planted, the old weights."""

    soil: Soil
    taught: tuple[Edit, ...]
    eval_texts: EvalTexts
    before: dict[str, Tensor]
    seed: int

    def context(self) -> ScanContext:
        """A context over the model as it is now."""
        return context_of(self.soil.loaded, turned(self.taught), self.eval_texts, self.seed)


def main() -> None:
    """Plants, scans what was planted, and writes the report and its rows."""
    args = _parse()
    names = [name for name in args.scans.split(",") if name] or [*SCANS, *ALSO]
    names = [name for name in names if there(name)]
    loaded = load("demo")
    fields = [_field(loaded, args.seed + i) for i in range(args.seeds)]
    chosen = _chosen(fields, args.parts.split(","), args.plants)
    if args.fresh:
        for path in args.keep.glob("*.json"):
            path.unlink()
    forget(args.keep, args.again.split(","))
    bare = {one.seed: _scan_bare(one, names, args.keep) for one in fields}
    found = []
    for i, (one, location) in enumerate(chosen):
        began = time.perf_counter()
        found.append(_plant(one, location, names, args.keep))
        seconds = time.perf_counter() - began
        print(f"{i + 1}/{len(chosen)} {found[-1].plant}, {seconds:.1f} s", flush=True)
    good = [kept for kept in found if kept.plant.recall >= RECALL]
    lost = [kept.plant for kept in found if kept.plant.recall < RECALL]
    args.output.write_text(written(good, lost, bare, names), encoding="utf-8")
    args.output.with_suffix(".csv").write_text(rows_of(good, bare, names), encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plants", type=int, default=0, help="so many, drawn (0: all)")
    parser.add_argument("--parts", default="mlp,attn")
    parser.add_argument("--seeds", type=int, default=2, help="sets of facts")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--scans", default="", help="names with commas (default: all there are)")
    parser.add_argument("--again", default="", help="scans whose kept results are forgotten")
    parser.add_argument("--keep", type=Path, default=Path("runs/planted"))
    parser.add_argument("--fresh", action="store_true", help="forget what was kept")
    parser.add_argument("--output", type=Path, default=Path("reports/planted.md"))
    return parser.parse_args()


def _field(loaded: Loaded, seed: int) -> Field:
    text_generator = text_generator_of(loaded)
    assert loaded.directory is not None
    texts = (loaded.directory / "neutral.txt").read_text(encoding="utf-8").splitlines()
    eval_texts = EvalTexts(neutral=tuple(texts[:NEUTRAL]))
    taught = lessons(text_generator, seed)
    suite = prepare(text_generator, taught, eval_texts)
    soil = Soil(loaded, suite, PrefixCache(loaded.model, suite.packed))
    return Field(soil, taught, eval_texts, remembered(loaded.model), seed)


def _chosen(fields: Sequence[Field], parts: Sequence[str], count: int) -> list[tuple[Field, str]]:
    """Every part at every layer, some locations across two layers, and everywhere at once.

    As all layers are planted alike, a scan that prefers some layer whatever the model knows has the
    recall of chance.
    """
    layers = fields[0].soil.loaded.info.layers
    locations = [f"L{layer}.{part}" for part in parts for layer in range(layers)]
    locations += [*PAIRS, "+".join(f"L{layer}.block" for layer in range(layers))]
    pairs = [(one, location) for one in fields for location in locations]
    return random.Random(0).sample(pairs, count) if count else pairs


def _scan_bare(field: Field, names: Sequence[str], folder: Path) -> Kept:
    """What the scans say of the untouched model, asked the same prompts."""
    path = path_of(folder, NOWHERE, field.seed)
    kept = read(path) or Kept(Plant(NOWHERE, field.seed, 0.0, 0.0, 0.0, 1.0, 0))
    return _scanned(kept, field, names, path)


def _plant(field: Field, location: str, names: Sequence[str], folder: Path) -> Kept:
    short = "everywhere" if location.count("+") > 1 else location
    path = path_of(folder, short, field.seed)
    kept = read(path)
    if kept and (kept.plant.recall < RECALL or not kept.missing(names)):
        return kept
    with planted(field.soil, location, NORM, field.seed) as plant:
        if kept is None or kept.plant != replace(plant, location=short):
            lost = falls(field.soil, field.before, ["mlp", "attn"])
            falling = {f"L{layer}.{part}": fall for (layer, part), fall in lost.items()}
            whole = whole_fall(field.soil, field.before)
            kept = Kept(replace(plant, location=short), falling, whole)
            save(kept, path)
        if plant.recall < RECALL:
            return kept
        return _scanned(kept, field, names, path)


def _scanned(kept: Kept, field: Field, names: Sequence[str], path: Path) -> Kept:
    """Adds the scans that are missing; one that fails is kept with what it said."""
    missing = kept.missing(names)
    if not missing:
        return kept
    context = field.context()
    done = {name: _scan(context, name) for name in missing}
    kept = replace(kept, scans={**kept.scans, **done})
    save(kept, path)
    return kept


def _scan(context: ScanContext, name: str) -> Scanned:
    began = time.perf_counter()
    try:
        columns = columns_of(context, name)
    except (LocscopeError, ArithmeticError, LookupError, RuntimeError, ValueError) as error:
        print(f"{name} failed: {error!r}")
        return Scanned((), time.perf_counter() - began, repr(error)[:200])
    return Scanned(columns, time.perf_counter() - began)


if __name__ == "__main__":
    main()
