"""What a search takes, from the model's shape and the edits' texts alone: nothing is loaded.

`search --dry-run` plays the stages through and times them; this is a guess before that.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt

from locscope.edits import EditSet
from locscope.edits.splits import shares_of
from locscope.locations import Location
from locscope.records import Edit, ModelInfo
from locscope.selection.candidates import depth_rule, located
from locscope.selection.strategies.race import (
    ALWAYS_RUN,
    RUNG_1,
    RUNG_2,
    SURVIVORS,
    quick_fidelity,
)
from locscope.settings import SearchSettings
from locscope.tuning.trial_cost import forward_flops, step_flops
from locscope.workflows.early.edits import MOST_DEPLOYED, MOST_OF_T

TOKENS_PER_CHARACTER = 0.3
"""A rough figure for English text and common tokenizers; used before any tokenizer is loaded."""
RATES, CONTENDERS = 3, 3
"""Learning rates of a location, and what is measured on every subset of T."""
BESIDE, FITS = 3, 12
"""Locations beside the best that a race runs in full, and trials that fit recipes to all edits:
about what finished searches had."""

Cost = Callable[[float, int], float]
"""Operations of a trial of so many edits and epochs."""


def locations_tried(info: ModelInfo, settings: SearchSettings) -> tuple[Location, ...]:
    """The locations that a search tries: of the grid, what the user named, and the depth rule's."""
    return located(
        info,
        settings.parts,
        (*settings.locations, depth_rule(info)),
        quarters=settings.quarters,
        consecutive=settings.consecutive,
    )


def search_flops(info: ModelInfo, found: EditSet, settings: SearchSettings) -> dict[str, float]:
    """Operations of a whole search: with a race, also without what `thorough` adds where that is
    asked for, and with a sweep.

    Every trial is taken to go through all its epochs, which is too much where tuning stops before.
    """
    trial = partial(_trial_flops, info, found.edits)
    s, epochs = round(len(found.edits) * settings.share), settings.epochs
    locations = locations_tried(info, settings)
    first, second = (quick_fidelity(rung, s, epochs) for rung in (RUNG_1, RUNG_2))
    full, always = trial(s, epochs), ALWAYS_RUN + 1
    race = len(locations) * trial(first.edits, first.epochs)
    race += RATES * (SURVIVORS + always) * trial(second.edits, second.epochs)
    race += RATES * (settings.finalists + always + BESIDE) * full
    curve = _edit_counts(found, settings, trial) if settings.thorough else 0.0
    rest = (settings.controls + settings.audit) * full + _after_s(found, settings, trial)
    # Of a few edits of a large file the curve takes most of the time.
    short = {"race and --no-thorough": race + rest} if settings.thorough else {}
    sweep = RATES * len(locations) * full
    return {"race": race + rest + curve, **short, "sweep": sweep + rest + curve}


def _after_s(found: EditSet, settings: SearchSettings, trial: Cost) -> float:
    """Validating, fitting to the edits that will be made, reporting."""
    count, epochs = len(found.edits), settings.epochs
    s, v, t = (count * share for share in shares_of(settings.share))
    on_t = CONTENDERS * settings.repetitions + settings.controls
    # As if no finalist were clear of the others: each is validated twice then.
    on_v = 2 * settings.finalists * settings.validations
    flops = on_v * trial(v / settings.validations, epochs)
    flops += (FITS + 1) * trial(min(count, settings.deploy or MOST_DEPLOYED), epochs)
    return flops + on_t * trial(min(s, MOST_OF_T * t), epochs)


def _edit_counts(found: EditSet, settings: SearchSettings, trial: Cost) -> float:
    """The curve over counts of edits, beyond the limit as far as it goes on in the file."""
    count = len(found.edits)
    curve = counts(count, min(settings.most_on_curve(count), max(count, found.total)))
    return CONTENDERS * sum(trial(edits, settings.epochs) for edits in curve)


def _trial_flops(info: ModelInfo, edits: Sequence[Edit], count: float, epochs: int) -> float:
    """Of a trial of so many such edits, at a location in the middle."""
    times, middle = count / len(edits), info.layers // 2
    own = int(sum(len(e.prompt + e.target) for e in edits) * TOKENS_PER_CHARACTER * times)
    asked = int(tokens_of(edits) * times)
    tuning = epochs * step_flops(info, own, int(4 * count), middle)
    return tuning + forward_flops(info, asked, asked, middle)


def tokens_of(edits: Sequence[Edit]) -> int:
    """How many tokens all texts of the edits have, about."""
    texts = [
        text
        for edit in edits
        for text in (
            edit.prompt + edit.target,
            *(rephrase + edit.target for rephrase in edit.rephrases),
            *(n.prompt for n in (*edit.neighbours, *edit.forms, *edit.multihop)),
        )
    ]
    return int(sum(map(len, texts)) * TOKENS_PER_CHARACTER) + 2 * len(texts)


def counts(searched: int, most: int) -> tuple[int, ...]:
    """A quarter, half and all of the edits searched; beyond them all there are, and a step between
    where that is far away."""
    wanted = [searched // 4, searched // 2, searched]
    if most > 3 * searched:
        wanted.append(round(sqrt(searched * most)))
    return tuple(sorted({count for count in (*wanted, most) if count}))
