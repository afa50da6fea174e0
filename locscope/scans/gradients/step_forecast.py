"""What one Adam step on the edits at a location would do, to first order: a hypothesis of locscope.

Adam's first step moves every weight by the learning rate against the sign s of the edits' gradient,
so any loss falls by the rate times s . (its gradient). `gain` is that of the rephrases, on which
nothing is tuned: above zero they improve. `damage` is the mean over neighbours of (s . gradient)^2,
one neighbour at a time, of the log-probability of a continuation sampled from the untouched model:
to second order, twice the KL divergence from the untouched model's continuations that a step
causes, per squared rate. Both are averaged edit by edit, so that an edit with many rephrases or
neighbours weighs like any other. `forecast` is max(gain, 0)^2 / damage: independent of the rate,
since for equal damage the rate may grow as 1 / sqrt(damage).

No edit both fits the step and is scored: half of the groups fit while the other half is scored, and
then the other way round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import nan
from random import Random

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from locscope.forward.packed import NO_LABEL, TokenRow, pack
from locscope.forward.prefix_cache import PrefixCache
from locscope.forward.sampling import sample_after
from locscope.interp.gradients import (
    SLOPES_WORTH,
    layer_groups,
    mean_gradient,
    slopes,
    units_of,
    weights_of,
)
from locscope.records import LayerPart, ScanScore
from locscope.scans.context import Findings, ScanContext

_FLOAT32, _SIGN = 4, 1


@dataclass(frozen=True)
class Case:
    """An edit with its rows of a prefix cache; `sampled` counts the tokens of each neighbour."""

    edit: str
    target: int
    rephrases: tuple[int, ...]
    neighbours: tuple[int, ...]
    sampled: tuple[int, ...]


def scan(context: ScanContext) -> Findings:
    """Scores of all parts; gain and damage are means over edits, the forecast is one over folds."""
    folds = halves(context)
    if not all(folds):
        return Findings((), 0, notes=("one group of edits alone: none is left to be scored",))
    prefix_cache, cases = prepared(context)
    model, layers = context.loaded.model, range(context.loaded.info.layers)
    # A gradient in the model's precision, its sum, and one byte for the sign.
    per_weight = model.dtype.itemsize + _FLOAT32 + _SIGN
    groups = layer_groups(model, layers, prefix_cache.budget, per_weight)
    gain, damage = torch.cat(
        [_of_layers(context, prefix_cache, cases, folds, group) for group in groups], dim=2
    )
    return Findings(
        scores=(
            *_forecasts(context, cases, folds, gain, damage),
            *_means(context, cases, "gain", gain),
            *_means(context, cases, "damage", damage),
        ),
        usable=len(cases),
        settings="two folds; labels of neighbours sampled from the untouched model, one each",
        notes=_notes(cases),
    )


def halves(context: ScanContext) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The edits in two folds of like size, groups kept together, drawn by the context's seed."""
    grouped = [[e for e in group if e in context.edits] for group in context.groups]
    inside = {edit for group in grouped for edit in group}
    units = [group for group in grouped if group] + [[e] for e in context.edits if e not in inside]
    Random(f"folds {context.seed}").shuffle(units)
    folds: tuple[list[str], list[str]] = ([], [])
    # Largest first, each to the smaller fold: the folds end up of like size.
    for unit in sorted(units, key=len, reverse=True):
        min(folds, key=len).extend(unit)
    return tuple(folds[0]), tuple(folds[1])


def prepared(context: ScanContext) -> tuple[PrefixCache, tuple[Case, ...]]:
    """A prefix cache over targets, rephrases and neighbours with newly sampled continuations.

    A continuation has as many tokens as the untouched model's own answer, one at least.
    """
    suite, model = context.suite.of(context.edits), context.loaded.model
    neighbours = [question for questions in suite for question in questions.neighbours]
    counts = [max(1, len(question.ids)) for question in neighbours]
    prompts = [question.prompt for question in neighbours]
    spans = sample_after(model, prompts, counts, context.seed, context.tokens_at_once)
    drawn = zip(prompts, spans, strict=True)
    rows: list[TokenRow] = []

    def add(row: TokenRow) -> int:
        rows.append(row)
        return len(rows) - 1

    cases = []
    for questions in suite:
        target = add(questions.target.row)
        rephrases = tuple(add(question.row) for question in questions.rephrases) or (target,)
        pairs = list(islice(drawn, len(questions.neighbours)))
        continued = [TokenRow(prompt + span, len(prompt), NO_LABEL) for prompt, span in pairs]
        sampled = tuple(len(span) for _, span in pairs)
        near = tuple(map(add, continued))
        cases.append(Case(questions.edit.id, target, rephrases, near, sampled))
    prefix_cache = PrefixCache(
        model, pack(rows), context.prefix_cache.budget, context.tokens_at_once
    )
    return prefix_cache, tuple(cases)


def _of_layers(
    context: ScanContext,
    prefix_cache: PrefixCache,
    cases: Sequence[Case],
    folds: Sequence[Sequence[str]],
    layers: Sequence[int],
) -> Float[Tensor, "2 edits locations"]:
    """Gain and damage by steps at the locations of these layers, of edits that did not fit them."""
    locations = [location for location in context.loaded.info.grid if location.layer in layers]
    effects: dict[str, tuple[Tensor, Tensor]] = {}
    prefix_cache.enter(layers[0])
    for fold in folds:
        signs = _signs(
            context, prefix_cache, [c.target for c in cases if c.edit not in fold], layers
        )
        scored = [case for case in cases if case.edit in fold]
        rows = sorted({row for case in scored for row in (*case.rephrases, *case.neighbours)})
        along = _along(context, prefix_cache, rows, locations, signs)
        slope = dict(zip(rows, along, strict=True))
        effects.update({case.edit: _effect(case, slope) for case in scored})
    gains, damages = zip(*(effects[case.edit] for case in cases), strict=True)
    return torch.stack([torch.stack(gains), torch.stack(damages)])


def _signs(
    context: ScanContext, prefix_cache: PrefixCache, rows: Sequence[int], layers: Sequence[int]
) -> dict[str, Int8[Tensor, "..."]]:
    """The gradient's sign for every weight of the layers: Adam's first step goes against it."""
    weights = weights_of(context.loaded.model, layers)
    gradient = mean_gradient(
        prefix_cache, rows, weights, context.progress, "step forecast: the step"
    )
    # A byte a weight: whole gradients of all layers would not stay in memory beside the model.
    return {name: value.sign().to(torch.int8) for name, value in gradient.items()}


def _along(
    context: ScanContext,
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    locations: Sequence[LayerPart],
    signs: Mapping[str, Int8[Tensor, "..."]],
) -> Float[Tensor, "rows locations"]:
    """s . g of every row's mean loss at every location."""
    parts = [part.location for part in locations]
    inside = [units_of(context.loaded.model, part) for part in parts]
    units = list(dict.fromkeys(unit for within in inside for unit in within))
    # A location's slope is the sum of those of its units, and locations overlap: each unit once.
    holds = torch.tensor([[unit in within for within in inside] for unit in units]).double()

    def run(batch: Sequence[int]) -> list[Tensor]:
        return list(slopes(prefix_cache, batch, units, signs).cpu())

    def size(row: int) -> int:
        return SLOPES_WORTH(prefix_cache.model, int(prefix_cache.packed.lengths[row]))

    of_units = context.batched("step forecast: its effect", rows, run, size)
    return torch.stack(of_units).double() @ holds


def _effect(case: Case, slope: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """The mean s . g of an edit's rephrases and (s . g)^2 of its neighbours, at every location.

    The damage of an edit without neighbours is NaN.
    """
    gain = torch.stack([slope[row] for row in case.rephrases]).mean(0)
    # Losses are means over tokens; the log-probability of a whole continuation is a sum.
    pairs = zip(case.neighbours, case.sampled, strict=True)
    squares = [(tokens * slope[row]).square() for row, tokens in pairs]
    return gain, torch.stack(squares).mean(0) if squares else torch.full_like(gain, nan)


def _forecasts(
    context: ScanContext,
    cases: Sequence[Case],
    folds: Sequence[Sequence[str]],
    gain: Float[Tensor, "edits locations"],
    damage: Float[Tensor, "edits locations"],
) -> tuple[ScanScore, ...]:
    """Per fold the squared mean gain over the mean damage; then the mean of the folds."""
    forecasts = []
    for fold in folds:
        own = [i for i, case in enumerate(cases) if case.edit in fold]
        # Each fold has a step of its own, so only effects of the same fold may be compared.
        mean_gain, mean_damage = gain[own].mean(0), damage[own].nanmean(0)
        forecasts.append(mean_gain.clamp(min=0.0).square() / mean_damage)
    # A fold without neighbours has no damage, and no forecast.
    scores = torch.stack(forecasts).nanmean(0).tolist()
    return tuple(
        ScanScore("forecast", location.layer, location.part, score, count=len(cases))
        for location, score in zip(context.loaded.info.grid, scores, strict=True)
    )


def _means(
    context: ScanContext,
    cases: Sequence[Case],
    variant: str,
    values: Float[Tensor, "edits locations"],
) -> tuple[ScanScore, ...]:
    grid, used = context.loaded.info.grid, [case.edit for case in cases]
    columns = {
        part: [i for i, location in enumerate(grid) if location.part == part]
        for part in dict.fromkeys(location.part for location in grid)
    }
    return tuple(
        score
        for part, own in columns.items()
        for score in context.scores(variant, part, used, values[:, own])
    )


def _notes(cases: Sequence[Case]) -> tuple[str, ...]:
    """Notes of what edits lack."""
    notes = []
    bare = sum(case.rephrases == (case.target,) for case in cases)
    alone = sum(not case.neighbours for case in cases)
    if bare:
        notes.append(f"{bare} edits without rephrases: their own prompt is scored instead")
    if alone == len(cases):
        notes.append("no neighbours: damage cannot be measured, so that nothing is forecast")
    elif alone:
        notes.append(f"{alone} edits without neighbours: their damage is not measured")
    return tuple(notes)
