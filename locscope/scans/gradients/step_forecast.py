"""What one Adam step on the edits at a location would do, to first order: a hypothesis of locscope.

Adam's first step moves every weight by the learning rate against the sign s of the edits' gradient,
so any loss falls by the rate times s . (its gradient). `gain` is that of the rephrases, which were
not tuned on: above zero they improve. `damage` is the mean over neighbours of (s . gradient)^2,
one neighbour at a time, of the log-probability of a continuation that is sampled from the untouched
model: to second order, twice the KL divergence from the untouched model's continuations that a step
causes, per squared rate. Both are averaged edit by edit, so that one with many rephrases or
neighbours weighs like any other. `forecast` is max(gain, 0)^2 / damage: free of the rate, since for
equal damage the rate may grow as 1 / sqrt(damage).

Edits fit the step or are scored, never both: half of the groups fit while the other half is scored,
and then the other way round.
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
    SLOPES,
    layer_groups,
    mean_gradient,
    slopes,
    units_of,
    weights_of,
)
from locscope.locations import Location
from locscope.records import LayerPart, ScanScore
from locscope.scans.context import Findings, ScanContext

_FLOAT32, _SIGN = 4, 1


@dataclass(frozen=True)
class Case:
    """An edit with the rows of a prefix cache that are about it; `sampled` counts tokens of
    neighbours."""

    edit: str
    target: int
    rephrases: tuple[int, ...]
    neighbours: tuple[int, ...]
    sampled: tuple[int, ...]


@dataclass(frozen=True)
class _Effects:
    """Per edit and location: s . g of its rephrases (mean), and (s . g)^2 of its neighbours (mean).

    The damage of an edit without neighbours is NaN.
    """

    gain: Float[Tensor, "edits locations"]
    damage: Float[Tensor, "edits locations"]


def scan(context: ScanContext) -> Findings:
    """Scores of all parts; gain and damage are means over edits, the forecast is one over folds."""
    folds = halves(context)
    if not all(folds):
        return Findings((), 0, notes=("one group of edits alone: none is left to be scored",))
    prefix_cache, cases = prepared(context)
    model, layers = context.loaded.model, range(context.loaded.info.layers)
    per_weight = model.dtype.itemsize + _FLOAT32 + _SIGN
    groups = layer_groups(model, layers, prefix_cache.budget, per_weight)
    found = [_of_layers(context, prefix_cache, cases, folds, group) for group in groups]
    effects = _Effects(
        torch.cat([one.gain for one in found], dim=1),
        torch.cat([one.damage for one in found], dim=1),
    )
    return Findings(
        scores=(*_forecasts(context, cases, folds, effects), *_means(context, cases, effects)),
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
    for unit in sorted(units, key=len, reverse=True):
        min(folds, key=len).extend(unit)
    return tuple(folds[0]), tuple(folds[1])


def prepared(context: ScanContext) -> tuple[PrefixCache, tuple[Case, ...]]:
    """A prefix cache over targets, rephrases and neighbours, these with continuations sampled anew.

    A continuation has as many tokens as the untouched model's own answer, one at least.
    """
    asked, model = context.suite.of(context.edits), context.loaded.model
    neighbours = [question for one in asked for question in one.neighbours]
    counts = [max(1, len(question.ids)) for question in neighbours]
    prompts = [question.prompt for question in neighbours]
    said = sample_after(model, prompts, counts, context.seed, context.tokens_at_once)
    drawn = zip(prompts, said, strict=True)
    rows: list[TokenRow] = []

    def add(row: TokenRow) -> int:
        rows.append(row)
        return len(rows) - 1

    cases = []
    for one in asked:
        target = add(one.target.row)
        rephrases = tuple(add(question.row) for question in one.rephrases) or (target,)
        pairs = list(islice(drawn, len(one.neighbours)))
        spans = tuple(add(TokenRow(prompt + span, len(prompt), NO_LABEL)) for prompt, span in pairs)
        sampled = tuple(len(span) for _, span in pairs)
        cases.append(Case(one.edit.id, target, rephrases, spans, sampled))
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
) -> _Effects:
    """What steps at the places of these layers do to edits that did not fit them."""
    locations = [location for location in context.loaded.info.grid if location.layer in layers]
    effects: dict[str, tuple[Tensor, Tensor]] = {}
    prefix_cache.enter(layers[0])
    for fold in folds:
        signs = _signs(
            context, prefix_cache, [c.target for c in cases if c.edit not in fold], layers
        )
        scored = [case for case in cases if case.edit in fold]
        rows = sorted({row for case in scored for row in (*case.rephrases, *case.neighbours)})
        found = dict(zip(rows, _along(context, prefix_cache, rows, locations, signs), strict=True))
        effects.update({case.edit: _effect(case, found) for case in scored})
    gains, damages = zip(*(effects[case.edit] for case in cases), strict=True)
    return _Effects(torch.stack(gains), torch.stack(damages))


def _signs(
    context: ScanContext, prefix_cache: PrefixCache, rows: Sequence[int], layers: Sequence[int]
) -> dict[str, Int8[Tensor, "..."]]:
    """Against which way Adam's first step on these rows moves every weight of the layers."""
    weights = weights_of(context.loaded.model, layers)
    gradient = mean_gradient(
        prefix_cache, rows, weights, context.progress, "step forecast: the step"
    )
    return {name: value.sign().to(torch.int8) for name, value in gradient.items()}


def _along(
    context: ScanContext,
    prefix_cache: PrefixCache,
    rows: Sequence[int],
    locations: Sequence[LayerPart],
    signs: Mapping[str, Int8[Tensor, "..."]],
) -> Float[Tensor, "rows locations"]:
    """s . g of every row's mean loss at every location: the sum of those of the location's
    modules."""
    parts = [Location.parse(part.location) for part in locations]
    inside = [units_of(context.loaded.model, part) for part in parts]
    units = list(dict.fromkeys(unit for some in inside for unit in some))
    holds = torch.tensor([[unit in some for some in inside] for unit in units]).double()

    def run(some: Sequence[int]) -> list[Tensor]:
        return list(slopes(prefix_cache, some, units, signs).cpu())

    def size(row: int) -> int:
        return SLOPES.tokens(prefix_cache.model, int(prefix_cache.packed.lengths[row]))

    found = context.batched("step forecast: its effect", rows, run, size)
    return torch.stack(found).double() @ holds


def _effect(case: Case, slope: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Gain and damage of an edit at every location. Losses are means over tokens, of neighbours
    sums are wanted: the log-probability of the whole continuation."""
    gain = torch.stack([slope[row] for row in case.rephrases]).mean(0)
    pairs = zip(case.neighbours, case.sampled, strict=True)
    squares = [(tokens * slope[row]).square() for row, tokens in pairs]
    return gain, torch.stack(squares).mean(0) if squares else torch.full_like(gain, nan)


def _forecasts(
    context: ScanContext, cases: Sequence[Case], folds: Sequence[Sequence[str]], effects: _Effects
) -> tuple[ScanScore, ...]:
    """Per fold the squared mean gain over the mean damage; the mean of the folds that have one."""
    found = []
    for fold in folds:
        mine = [i for i, case in enumerate(cases) if case.edit in fold]
        gain, damage = effects.gain[mine].mean(0), effects.damage[mine].nanmean(0)
        found.append(gain.clamp(min=0.0).square() / damage)
    scores = torch.stack(found).nanmean(0).tolist()
    return tuple(
        ScanScore("forecast", location.layer, location.part, score, count=len(cases))
        for location, score in zip(context.loaded.info.grid, scores, strict=True)
    )


def _means(context: ScanContext, cases: Sequence[Case], effects: _Effects) -> tuple[ScanScore, ...]:
    grid, used = context.loaded.info.grid, [case.edit for case in cases]
    columns = {
        part: [i for i, location in enumerate(grid) if location.part == part]
        for part in dict.fromkeys(location.part for location in grid)
    }
    return tuple(
        score
        for variant, values in (("gain", effects.gain), ("damage", effects.damage))
        for part, mine in columns.items()
        for score in context.scores(variant, part, used, values[:, mine])
    )


def _notes(cases: Sequence[Case]) -> tuple[str, ...]:
    """What some edits lack."""
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
