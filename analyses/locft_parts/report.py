"""The page: what was run beside what was published."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan

from analyses.locft_parts.published import (
    BATCH,
    EPOCHS,
    MAIN,
    RIVALS,
    SWEEP,
    Figures,
    PaperModel,
    published,
)
from analyses.locft_parts.running import Outcome
from locscope.locations import PAPER_PARTS, Location
from locscope.tuning.breadth_first import PATIENCE

COMMAND = "python -m analyses.reproduce_locft --data DIR"
GRIDS = (("reliability", 100.0), ("generalization", 100.0), ("perplexity_ratio", 1.0))
"""Measures of the sweep that get a table of layers and parts, and what they are multiplied by."""


@dataclass(frozen=True)
class Main:
    """A row of the main table: the location chosen by the paper, on one edit set."""

    model: PaperModel
    edits: str
    outcome: Outcome


@dataclass(frozen=True)
class Sweep:
    """The location sweep of one model."""

    model: PaperModel
    edits: str
    outcomes: tuple[Outcome, ...]


def page(mains: Sequence[Main], sweeps: Sequence[Sweep], missing: Sequence[str]) -> str:
    """The whole page as Markdown."""
    return "\n".join([*_head(missing), *_main(mains), *_others(mains), *_sweeps(sweeps)]) + "\n"


def _head(missing: Sequence[str]) -> list[str]:
    lines = [
        "# LocFT-BF beside its published figures",
        "",
        f"`{COMMAND}`. Breadth-first, batch {BATCH}, {EPOCHS} passes at most, Adam at the rate of "
        "the paper's code, raw prompts; reliability and generalization by normalised greedy "
        "match, as its scorer. Ours / published, in per cent; an interval of ours in brackets. "
        "Locality and perplexity ratio are not in the paper. Tuning ends early also where the loss "
        f"has not fallen in {PATIENCE} passes, which the paper's code does not do. Seconds are "
        "those of tuning and measuring on this machine.",
        "",
    ]
    if missing:
        lines += ["Not run:", *(f"- {line}" for line in missing), ""]
    return lines


def _main(mains: Sequence[Main]) -> list[str]:
    if not mains:
        return []
    names = "model | edit set | edits | location | lr | reliability | generalization | capability"
    lines = [
        "## Main table (section 4, table 3)",
        "",
        f"| {names} | locality | perplexity ratio | s per edit |",
        "|---" * 11 + "|",
        *map(_main_row, mains),
        "",
    ]
    problems = {one.outcome.capability.problem for one in mains} - {""}
    return lines + [f"Capability not measured: {problem}." for problem in sorted(problems)] + [""]


def _main_row(one: Main) -> str:
    record, paper = one.outcome.record, published(one.model.name, one.edits)
    count = len(record.trial.edits)
    cells = [
        *(one.model.title, one.edits, str(count)),
        *(str(record.trial.location), f"{record.trial.recipe.lr:g}"),
        _beside(_measure(one.outcome, "reliability"), paper.reliability),
        _beside(_measure(one.outcome, "generalization"), paper.generalization),
        _beside(_plain(one.outcome.capability.mean), paper.capability),
        _measure(one.outcome, "locality"),
        _plain(record.measure("perplexity_ratio").value, 3),
        _beside(_plain(record.seconds / count), paper.seconds),
    ]
    return f"| {' | '.join(cells)} |"


def _others(mains: Sequence[Main]) -> list[str]:
    """Published figures of other methods and runs on what was run here."""
    ran = {(one.model.name, one.edits) for one in mains}
    titles = {one.model.name: one.model.title for one in mains}
    rows = [one for one in (*MAIN, *RIVALS) if (one.model, one.edits) in ran]
    if not rows:
        return []
    return [
        "Published, for comparison (the rows of CrispEdit are of another protocol):",
        "",
        "| method | model | edit set | reliability | generalization | capability | s per edit |",
        "|---" * 7 + "|",
        *(_other_row(one, titles[one.model]) for one in rows),
        "",
    ]


def _other_row(one: Figures, title: str) -> str:
    numbers = (one.reliability, one.generalization, one.capability, one.seconds)
    return f"| {' | '.join([one.method, title, one.edits, *map(_plain, numbers)])} |"


def _sweeps(sweeps: Sequence[Sweep]) -> list[str]:
    if not sweeps:
        return []
    claims = [f"- {claim}" for claim in SWEEP]
    head = ["## Location sweep (section 3, figure 5)", "", "Published, in words alone:", *claims]
    return [*head, "", *(line for one in sweeps for line in _sweep(one))]


def _sweep(one: Sweep) -> list[str]:
    trial = one.outcomes[0].record.trial
    locations = [str(outcome.record.trial.location) for outcome in one.outcomes]
    lines = [
        f"### {one.model.title}, {one.edits}, {len(trial.edits)} edits, lr {trial.recipe.lr:g}",
        "",
        _standing(one),
        "",
    ]
    for name, factor in GRIDS:
        values = [factor * outcome.record.measure(name).value for outcome in one.outcomes]
        lines += _grid(name.replace("_", " "), dict(zip(locations, values, strict=True)))
    scores = {
        location: o.capability.mean for location, o in zip(locations, one.outcomes, strict=True)
    }
    return lines + ([] if all(map(isnan, scores.values())) else _grid("capability", scores))


def _grid(title: str, values: dict[str, float]) -> list[str]:
    locations = {text: Location.parse(text) for text in values}
    parts = [
        part for part in PAPER_PARTS if any(p.sites[0].part == part for p in locations.values())
    ]
    layers = sorted({location.lowest for location in locations.values()})
    rows = [
        f"| {layer} | "
        + " | ".join(_plain(values.get(f"L{layer}.{part}", nan)) for part in parts)
        + " |"
        for layer in layers
    ]
    head = f"| layer: {title} | {' | '.join(parts)} |"
    return [head, "|---" * (len(parts) + 1) + "|", *rows, ""]


def _standing(one: Sweep) -> str:
    """Where the paper's location stands among those swept here, in words."""
    found = {str(o.record.trial.location): o for o in one.outcomes}
    chosen = found.get(one.model.location)
    if chosen is None:
        return f"{one.model.location}, the paper's location, was not among those swept."
    said = []
    for name, sign in (("reliability", 1), ("generalization", 1), ("perplexity_ratio", -1)):
        values = [sign * o.record.measure(name).value for o in one.outcomes]
        own = sign * chosen.record.measure(name).value
        if not isnan(own):
            rank = 1 + sum(value > own for value in values)
            said.append(f"{name.replace('_', ' ')} rank {rank} of {len(values)}")
    return f"{one.model.location}, the paper's location: {', '.join(said) or 'not measured'}."


def _measure(outcome: Outcome, name: str) -> str:
    measure = outcome.record.measure(name)
    if isnan(measure.value) or isnan(measure.low):
        return _plain(100 * measure.value)
    return f"{100 * measure.value:.2f} [{100 * measure.low:.1f}, {100 * measure.high:.1f}]"


def _beside(own: str, paper: float) -> str:
    return f"{own} / {_plain(paper) if not isnan(paper) else '–'}"


def _plain(value: float, digits: int = 2) -> str:
    return "not measured" if isnan(value) else f"{value:.{digits}f}"
