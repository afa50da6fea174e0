"""What one Adam step on the edits at a place would do, to first order: a hypothesis of locscope.

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

from locscope.forward.packed import NO_LABEL, Row, pack
from locscope.forward.prefix_cache import Trunk
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
from locscope.scans.bench import Findings, ScanBench

_FLOAT32, _SIGN = 4, 1


@dataclass(frozen=True)
class Case:
    """An edit with the rows of a trunk that are about it; `sampled` counts tokens of neighbours."""

    edit: str
    target: int
    rephrases: tuple[int, ...]
    neighbours: tuple[int, ...]
    sampled: tuple[int, ...]


@dataclass(frozen=True)
class _Effects:
    """Per edit and place: s . g of its rephrases (mean), and (s . g)^2 of its neighbours (mean).

    The damage of an edit without neighbours is NaN.
    """

    gain: Float[Tensor, "edits places"]
    damage: Float[Tensor, "edits places"]


def scan(bench: ScanBench) -> Findings:
    """Scores of all parts; gain and damage are means over edits, the forecast is one over folds."""
    folds = halves(bench)
    if not all(folds):
        return Findings((), 0, notes=("one group of edits alone: none is left to be scored",))
    trunk, cases = prepared(bench)
    model, layers = bench.loaded.model, range(bench.loaded.info.layers)
    per_weight = model.dtype.itemsize + _FLOAT32 + _SIGN
    groups = layer_groups(model, layers, trunk.budget, per_weight)
    found = [_of_layers(bench, trunk, cases, folds, group) for group in groups]
    effects = _Effects(
        torch.cat([one.gain for one in found], dim=1),
        torch.cat([one.damage for one in found], dim=1),
    )
    return Findings(
        scores=(*_forecasts(bench, cases, folds, effects), *_means(bench, cases, effects)),
        usable=len(cases),
        settings="two folds; labels of neighbours sampled from the untouched model, one each",
        notes=_notes(cases),
    )


def halves(bench: ScanBench) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The edits in two folds of like size, groups kept together, drawn by the bench's seed."""
    grouped = [[e for e in group if e in bench.edits] for group in bench.groups]
    inside = {edit for group in grouped for edit in group}
    units = [group for group in grouped if group] + [[e] for e in bench.edits if e not in inside]
    Random(f"folds {bench.seed}").shuffle(units)
    folds: tuple[list[str], list[str]] = ([], [])
    for unit in sorted(units, key=len, reverse=True):
        min(folds, key=len).extend(unit)
    return tuple(folds[0]), tuple(folds[1])


def prepared(bench: ScanBench) -> tuple[Trunk, tuple[Case, ...]]:
    """A trunk over targets, rephrases and neighbours, these with continuations sampled anew.

    A continuation has as many tokens as the untouched model's own answer, one at least.
    """
    asked, model = bench.exam.of(bench.edits), bench.loaded.model
    neighbours = [question for one in asked for question in one.neighbours]
    counts = [max(1, len(question.ids)) for question in neighbours]
    prompts = [question.prompt for question in neighbours]
    said = sample_after(model, prompts, counts, bench.seed, bench.tokens_at_once)
    drawn = zip(prompts, said, strict=True)
    rows: list[Row] = []

    def add(row: Row) -> int:
        rows.append(row)
        return len(rows) - 1

    cases = []
    for one in asked:
        target = add(one.target.row)
        rephrases = tuple(add(question.row) for question in one.rephrases) or (target,)
        pairs = list(islice(drawn, len(one.neighbours)))
        spans = tuple(add(Row(prompt + span, len(prompt), NO_LABEL)) for prompt, span in pairs)
        sampled = tuple(len(span) for _, span in pairs)
        cases.append(Case(one.edit.id, target, rephrases, spans, sampled))
    trunk = Trunk(model, pack(rows), bench.trunk.budget, bench.tokens_at_once)
    return trunk, tuple(cases)


def _of_layers(
    bench: ScanBench,
    trunk: Trunk,
    cases: Sequence[Case],
    folds: Sequence[Sequence[str]],
    layers: Sequence[int],
) -> _Effects:
    """What steps at the places of these layers do to edits that did not fit them."""
    places = [place for place in bench.loaded.info.grid if place.layer in layers]
    effects: dict[str, tuple[Tensor, Tensor]] = {}
    trunk.enter(layers[0])
    for fold in folds:
        signs = _signs(bench, trunk, [c.target for c in cases if c.edit not in fold], layers)
        scored = [case for case in cases if case.edit in fold]
        rows = sorted({row for case in scored for row in (*case.rephrases, *case.neighbours)})
        found = dict(zip(rows, _along(bench, trunk, rows, places, signs), strict=True))
        effects.update({case.edit: _effect(case, found) for case in scored})
    gains, damages = zip(*(effects[case.edit] for case in cases), strict=True)
    return _Effects(torch.stack(gains), torch.stack(damages))


def _signs(
    bench: ScanBench, trunk: Trunk, rows: Sequence[int], layers: Sequence[int]
) -> dict[str, Int8[Tensor, "..."]]:
    """Against which way Adam's first step on these rows moves every weight of the layers."""
    weights = weights_of(bench.loaded.model, layers)
    gradient = mean_gradient(trunk, rows, weights, bench.progress, "step forecast: the step")
    return {name: value.sign().to(torch.int8) for name, value in gradient.items()}


def _along(
    bench: ScanBench,
    trunk: Trunk,
    rows: Sequence[int],
    places: Sequence[LayerPart],
    signs: Mapping[str, Int8[Tensor, "..."]],
) -> Float[Tensor, "rows places"]:
    """s . g of every row's mean loss at every place: the sum of those of the place's modules."""
    inside = [units_of(bench.loaded.model, Location.parse(place.location)) for place in places]
    units = list(dict.fromkeys(unit for some in inside for unit in some))
    holds = torch.tensor([[unit in some for some in inside] for unit in units]).double()

    def run(some: Sequence[int]) -> list[Tensor]:
        return list(slopes(trunk, some, units, signs).cpu())

    def size(row: int) -> int:
        return SLOPES.tokens(trunk.model, int(trunk.sheet.lengths[row]))

    found = bench.batched("step forecast: its effect", rows, run, size)
    return torch.stack(found).double() @ holds


def _effect(case: Case, slope: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Gain and damage of an edit at every place. Losses are means over tokens, of neighbours sums
    are wanted: the log-probability of the whole continuation."""
    gain = torch.stack([slope[row] for row in case.rephrases]).mean(0)
    pairs = zip(case.neighbours, case.sampled, strict=True)
    squares = [(tokens * slope[row]).square() for row, tokens in pairs]
    return gain, torch.stack(squares).mean(0) if squares else torch.full_like(gain, nan)


def _forecasts(
    bench: ScanBench, cases: Sequence[Case], folds: Sequence[Sequence[str]], effects: _Effects
) -> tuple[ScanScore, ...]:
    """Per fold the squared mean gain over the mean damage; the mean of the folds that have one."""
    found = []
    for fold in folds:
        mine = [i for i, case in enumerate(cases) if case.edit in fold]
        gain, damage = effects.gain[mine].mean(0), effects.damage[mine].nanmean(0)
        found.append(gain.clamp(min=0.0).square() / damage)
    scores = torch.stack(found).nanmean(0).tolist()
    return tuple(
        ScanScore("forecast", place.layer, place.part, score, count=len(cases))
        for place, score in zip(bench.loaded.info.grid, scores, strict=True)
    )


def _means(bench: ScanBench, cases: Sequence[Case], effects: _Effects) -> tuple[ScanScore, ...]:
    grid, used = bench.loaded.info.grid, [case.edit for case in cases]
    columns = {
        part: [i for i, place in enumerate(grid) if place.part == part]
        for part in dict.fromkeys(place.part for place in grid)
    }
    return tuple(
        score
        for variant, values in (("gain", effects.gain), ("damage", effects.damage))
        for part, mine in columns.items()
        for score in bench.scores(variant, part, used, values[:, mine])
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
