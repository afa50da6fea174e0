"""The report: what was planted, whether it could be found at all, and which scans found it."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

import numpy as np

from analyses.bench_planted_parts.judging import judge, peak, rank, rise
from analyses.bench_planted_parts.keeping import Kept
from analyses.bench_planted_parts.planting import Plant
from analyses.bench_planted_parts.summary import Summary, Verdicts, summaries
from analyses.bench_planted_parts.words import HEAD, TABLE, spoken, summary_line, verdict
from locscope.locations import Location

EVERYWHERE = "everywhere"
ALIKE = 0.8
RECALL = 0.95
"""A plant of which less is answered as planted is left out."""
UNHARMED = 0.8
Peaks = Mapping[tuple[str, str], tuple[float, float]]
Bare = Mapping[int, Kept]
"""What the scans said of the untouched model, by seed."""


def written(good: Sequence[Kept], lost: Sequence[Plant], bare: Bare, names: Sequence[str]) -> str:
    """The whole report as Markdown."""
    found = sorted(summaries(verdicts_of(good, bare, names)), key=lambda one: one.mean.value)
    peaks = _peaks(good, bare, names)
    lines = [*HEAD, "", *spoken(found), "", *_plants(good, lost), "", *_positive(good), ""]
    lines += [*_negative(good), *_misled(found, peaks), "", *TABLE]
    lines += [summary_line(one, peaks[one.scan, one.variant]) for one in found]
    lines += ["", *_costs(good, names)]
    return "\n".join(lines) + "\n"


def rows_of(good: Sequence[Kept], bare: Bare, names: Sequence[str]) -> str:
    """A column a plant, and of every variant the ranks after, before, and of the rise."""
    plants = [kept.plant.name for kept in _placed(good)]
    lines = [",".join(["scan", "variant", "rank", *plants])]
    for (scan, variant), of_plants in verdicts_of(good, bare, names).items():
        for what in ("ranks", "before", "moved"):
            found = [getattr(of_plants[p], what) if p in of_plants else () for p in plants]
            cells = ["/".join(f"{number:g}" for number in ranks) for ranks in found]
            lines.append(",".join([scan, variant, what, *cells]))
    return "\n".join(lines) + "\n"


def verdicts_of(good: Sequence[Kept], bare: Bare, names: Sequence[str]) -> Verdicts:
    """The verdicts on every variant that can see a plant, except on those that are everywhere."""
    found: dict[tuple[str, str], dict] = {}
    for kept in _placed(good):
        for name in names:
            before = bare[kept.plant.seed].by_variant(name)
            for variant, after in kept.by_variant(name).items():
                verdict = judge(kept.plant.location, after, before.get(variant, {}))
                if verdict is not None:
                    found.setdefault((name, variant), {})[kept.plant.name] = verdict
    return found


def _placed(good: Sequence[Kept]) -> list[Kept]:
    return [kept for kept in good if kept.plant.location != EVERYWHERE]


def _plants(good: Sequence[Kept], lost: Sequence[Plant]) -> Iterator[str]:
    yield "## What was planted"
    yield ""
    yield "| part | plants | layers | norm | recall | log-probability | known facts kept |"
    yield "|---" * 7 + "|"
    kinds: dict[str, list[Plant]] = {}
    for kept in good:
        kinds.setdefault(_kind(kept.plant), []).append(kept.plant)
    for kind, plants in kinds.items():
        layers = len({plant.location for plant in plants})
        cells = [_range([getattr(p, what) for p in plants]) for what in ("norm", "recall")]
        cells += [_range([getattr(p, what) for p in plants]) for what in ("logprob", "kept")]
        yield f"| {kind} | {len(plants)} | {layers} | {' | '.join(cells)} |"
    yield ""
    single = sum(_kind(kept.plant) in ("mlp", "attn", "mlp.down", "attn.o") for kept in good)
    yield f"{single} plants at one location, all answered as planted to {RECALL:.0%} or more. " + (
        _named(
            "Left out, as the location did not hold the facts at this norm (recall)", lost, "recall"
        )
        or "Every location held its facts; none was left out."
    )
    harmed = [kept.plant for kept in good if kept.plant.kept < UNHARMED]
    yield _named("Harmed: the share of other known facts kept is low at", harmed, "kept")


def _named(what: str, plants: Sequence[Plant], value: str) -> str:
    names = ", ".join(f"{plant.name} ({getattr(plant, value):.2f})" for plant in plants)
    return f"{what}: {names}." if plants else ""


def _kind(plant: Plant) -> str:
    if plant.location == EVERYWHERE:
        return EVERYWHERE
    sites = Location.parse(plant.location).sites
    return sites[0].part if len(sites) == 1 else f"{sites[0].part} of two layers"


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _positive(good: Sequence[Kept]) -> Iterator[str]:
    """How the restoring of old weights ranks the planted locations."""
    placed = _placed(good)
    ranks = {kept.plant.name: _restored(kept) for kept in placed}
    pairs = {kept.plant.name for kept in placed if "+" in kept.plant.location}
    single = [ranks[name] for name in ranks if name not in pairs]
    double = [ranks[name] for name in pairs]
    right = sum(found == [1.0] for found in single)
    both = sum(max(found) <= 2 for found in double)
    missed = [name for name in ranks if max(ranks[name]) > (2 if name in pairs else 1)]
    lowest = min(max(kept.falls.values()) for kept in placed)
    yield "## Positive control: old weights back, one MLP or attention at a time"
    yield ""
    yield (
        f"The planted location is first of {len(placed[0].falls)} for {right} of {len(single)} "
        f"plants at one location; both locations are the first two for {both} of {len(double)} at "
        f"two. At the best location the answers lose {lowest:.2f} nats per token or more."
    )
    yield f"**Not found: {', '.join(missed)}.**" if missed else "It finds every plant."
    yield (
        "For plants at one location nothing else differs from the old weights, so this shows that "
        "a plant is where it was put and that the answers rest on it, no more."
    )


def _restored(kept: Kept) -> list[float]:
    """The ranks of the sites of a plant; a part of an MLP is found with its MLP."""
    locations, lost = list(kept.falls), list(kept.falls.values())
    wanted = [
        f"L{site.first}.{site.part.partition('.')[0]}"
        for site in Location.parse(kept.plant.location).sites
    ]
    return [rank(lost, locations.index(name)) for name in wanted]


def _negative(good: Sequence[Kept]) -> Iterator[str]:
    yield "## Negative control: planted everywhere"
    yield ""
    for kept in good:
        if kept.plant.location == EVERYWHERE:
            share = max(kept.falls.values()) / kept.whole
            yield (
                f"Seed {kept.plant.seed}: restoring the best single location takes {share:.1%} of "
                f"what restoring all takes ({kept.whole:.2f} nats per token)."
            )
    yield (
        "Every block then holds enough for all the others. A scan should name no location; the "
        "column `peak` of the table says how far the layer with the largest rise stands out "
        "(standard deviations above the mean of the layers), for plants at one location and for "
        "those everywhere: where the two are alike, a peak is no sign of a location."
    )


def _misled(found: Sequence[Summary], peaks: Peaks) -> Iterator[str]:
    """The variants that find plants, but show as high a peak where there is no location to find."""
    good = [one for one in found if verdict(one) in ("finds", "near")]
    alike = [one for one in good if _alike(*peaks[one.scan, one.variant])]
    names = ", ".join(f"{one.scan} {one.variant}" for one in alike)
    yield (
        f"So it is for {len(alike)} of the {len(good)} variants that put a plant first or among "
        f"the first three (peak everywhere at least {ALIKE} of that of one place): {names or '-'}."
    )


def _alike(single: float, everywhere: float) -> bool:
    return everywhere >= ALIKE * single


def _peaks(good: Sequence[Kept], bare: Bare, names: Sequence[str]) -> Peaks:
    """Mean peak of the rise by variant: plants at one location, plants everywhere."""
    found: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for kept in good:
        everywhere = kept.plant.location == EVERYWHERE
        if "+" in kept.plant.location:
            continue
        for name in names:
            before = bare[kept.plant.seed].by_variant(name)
            for variant, after in kept.by_variant(name).items():
                rises = [rise(after[p], before.get(variant, {}).get(p, ())) for p in after]
                lists = found.setdefault((name, variant), ([], []))
                lists[everywhere].extend(map(peak, rises))
    return {key: (_mean(one), _mean(two)) for key, (one, two) in found.items()}


def _mean(values: Sequence[float]) -> float:
    real = [value for value in values if not isnan(value)]
    return float(np.mean(real)) if real else float("nan")


def _costs(good: Sequence[Kept], names: Sequence[str]) -> Iterator[str]:
    yield "## Cost, and scans that gave nothing"
    yield ""
    for name in names:
        runs = [kept.scans[name] for kept in good if name in kept.scans]
        problems = {run.problem for run in runs if run.problem}
        seconds = _mean([run.seconds for run in runs])
        empty = sum(not run.columns for run in runs)
        tail = f"; gave nothing on {empty} of {len(runs)} plants" if empty else ""
        yield f"- {name}: {seconds:.1f} s a plant{tail}" + "".join(f" ({p})" for p in problems)
