"""Scanning: what the scans say of a model, as columns of scores by layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import nan

from locscope.evaluation.build_suite import prepare
from locscope.evaluation.suite import EvalTexts
from locscope.forward.prefix_cache import PrefixCache
from locscope.models.load import Loaded
from locscope.progress import Silent
from locscope.records import Edit, ScanOptions, ScanResult
from locscope.scans import SCANS
from locscope.scans.context import ScanContext
from locscope.scans.run import run_scan
from locscope.workflows.workspace import text_generator_of

OPTIONS = ScanOptions(samples=3)
"""Cheaper than the default in one thing: three samples of noise instead of ten."""
ALSO = {"causal-tracing (window 1)": ("causal-tracing", replace(OPTIONS, window=1))}
"""Scans that run a second time with other options: by default tracing restores the MLPs or
attentions of several layers at once, which blurs where a plant is."""


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
    return find_spec(SCANS[_options(name)[0]].function.split(":")[0]) is not None


def context_of(
    loaded: Loaded, edits: Sequence[Edit], eval_texts: EvalTexts, seed: int
) -> ScanContext:
    """A context over the model as it is now: nothing in it knows another model."""
    suite = prepare(text_generator_of(loaded), edits, eval_texts)
    prefix_cache = PrefixCache(loaded.model, suite.packed)
    ids = tuple(edit.id for edit in edits)
    return ScanContext(loaded, suite, prefix_cache, ids, seed, Silent(), OPTIONS)


def columns_of(context: ScanContext, name: str) -> tuple[Column, ...]:
    """Runs a scan; its whole parts of layers as columns."""
    scan, options = _options(name)
    # The same context where it can be: its hooked model and its facts are made once.
    same = context if options == context.options else replace(context, options=options)
    result = run_scan(scan, same)
    return tuple(_columns(name, result, context.loaded.info.layers))


def _options(name: str) -> tuple[str, ScanOptions]:
    return ALSO.get(name, (name, OPTIONS))


def _columns(name: str, result: ScanResult, layers: int) -> Iterator[Column]:
    sign = result.descriptor.sign
    for variant in result.variants:
        scores = result.of_locations(variant)
        for part in dict.fromkeys(part for _, part in scores):
            of_part = [scores.get((layer, part)) for layer in range(layers)]
            values = tuple(sign * one.score if one is not None else nan for one in of_part)
            yield Column(name, variant, part, values)
