"""Data of the heatmaps: layers x parts, from trials and from scans. Numbers only, no drawing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isnan, log10, nan

from locscope.locations import PARTS
from locscope.records import ScanResult, ScanScore, TrialRecord
from locscope.report.inputs import Cell, ReportInputs, by_cell, cell_of, sweep
from locscope.report.words import duration, in_words, number, rate, short, title_of


@dataclass(frozen=True)
class Mark:
    """A cell to outline: row and column index, and why."""

    row: int
    column: int
    label: str


@dataclass(frozen=True)
class Heatmap:
    """A grid of values, rows from the bottom up; NaN where there is none.

    `values` give the colours (on a log scale where `ticks` translate them back), `cells` is the
    text in the cells and `hover` the text on hover, both with the true value. `centred` asks for
    colours that diverge from zero, `good` is +1 where high values are good and -1 where low are.
    """

    name: str
    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    cells: tuple[tuple[str, ...], ...]
    hover: tuple[tuple[str, ...], ...]
    note: str = ""
    centred: bool = False
    good: int = 1
    marked: tuple[Mark, ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def measured(self) -> tuple[float, ...]:
        """All values that are there."""
        return tuple(value for row in self.values for value in row if not isnan(value))


@dataclass(frozen=True)
class LogScale:
    """A log scale of the distance from `origin`, clipped; ticks are in true values."""

    origin: float
    candidates: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where the value stands on the scale; beyond the outer candidates is at them."""
        if isnan(value):
            return nan
        inside = min(max(value, self.candidates[0]), self.candidates[-1])
        return log10(inside - self.origin)

    def ticks(self, values: Iterable[float]) -> tuple[tuple[float, str], ...]:
        """Ticks among the placed values, far enough apart to be read."""
        known = [value for value in values if not isnan(value)]
        if not known:
            return ()
        low, high = min(known), max(known)
        chosen: list[tuple[float, str]] = []
        for tick in self.candidates:
            place = self.place(tick)
            apart = not chosen or place - chosen[-1][0] >= (high - low) / 7
            if low - 1e-9 <= place <= high + 1e-9 and apart:
                chosen.append((place, self._label(tick)))
        return tuple(chosen)

    def _label(self, tick: float) -> str:
        ends = {self.candidates[0]: "≤", self.candidates[-1]: "≥"}
        return f"{ends.get(tick, '')}{tick:g}"


RATIO_SCALE = LogScale(1, (1.001, 1.002, 1.005, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 11))
"""For perplexity ratios: what matters is how far above 1 they are, from 0.1 % to beyond tenfold."""
KL_SCALE = LogScale(0, (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10))


@dataclass(frozen=True)
class View:
    """One measure as a heatmap of trials."""

    name: str
    note: str
    good: int = 1
    scale: LogScale | None = None

    def value(self, record: TrialRecord) -> float:
        """The trial's number that this view shows."""
        return record.score if self.name == "score" else record.measure(self.name).value


EFFICACY_VIEWS = (
    View("score", "What trials are ranked by, under the bounds on collapse."),
    View("reliability", "Share of edits answered with the new target."),
    View("generalization", "Share of rephrases answered with the new target."),
    View("locality", "Share of neighbours whose answer is unchanged."),
)
COLLAPSE_VIEWS = (
    View(
        "perplexity_ratio",
        "Tuned over untouched on neutral text, coloured by the log of its excess over 1.",
        -1,
        RATIO_SCALE,
    ),
    View("kl", "KL(untouched || tuned) on neutral text, coloured by its log.", -1, KL_SCALE),
    View("retention", "Accuracy on abilities, relative to the untouched model."),
)


def trial_heatmaps(inputs: ReportInputs, views: Iterable[View]) -> tuple[Heatmap, ...]:
    """A heatmap per view that any trial of the sweep measured."""
    trials = by_cell(sweep(inputs.trials))
    drawn = [trial_heatmap(inputs, trials, view) for view in views] if trials else []
    return tuple(heatmap for heatmap in drawn if heatmap.measured)


def trial_heatmap(inputs: ReportInputs, trials: dict[Cell, TrialRecord], view: View) -> Heatmap:
    """One measure of the sweep's trials over all layers and the parts that were tried."""
    layers, columns = range(inputs.run.model.layers), _in_order(part for _, part in trials)
    true = {cell: view.value(record) for cell, record in trials.items()}
    place = view.scale.place if view.scale else float
    values = _grid(layers, columns, lambda cell: place(true.get(cell, nan)))
    return Heatmap(
        view.name,
        title_of(view.name),
        tuple(map(str, layers)),
        columns,
        values,
        _grid(layers, columns, lambda cell: short(true.get(cell, nan))),
        _grid(layers, columns, lambda cell: _trial_hover(cell, trials.get(cell), view)),
        view.note,
        good=view.good,
        marked=_marks(inputs, columns),
        ticks=view.scale.ticks(v for row in values for v in row) if view.scale else (),
    )


def scan_heatmaps(inputs: ReportInputs) -> tuple[Heatmap, ...]:
    """A heatmap per variant of every scan."""
    return tuple(
        scan_heatmap(inputs, scan, variant) for scan in inputs.scans for variant in scan.variants
    )


def scan_heatmap(inputs: ReportInputs, scan: ScanResult, variant: str) -> Heatmap:
    """A variant's scores over layers and parts (heads and token roles get their own columns)."""
    scores = [score for score in scan.scores if score.variant == variant]
    found = {(score.layer, column_of(score)): score for score in scores}
    columns = tuple(dict.fromkeys(column_of(s) for s in sorted(scores, key=_column_order)))
    layers = range(inputs.run.model.layers)
    true = {cell: score.score for cell, score in found.items()}
    values = _grid(layers, columns, lambda cell: true.get(cell, nan))
    known = [value for row in values for value in row if not isnan(value)]
    return Heatmap(
        f"scan-{scan.descriptor.name}-{variant}",
        scan_title(scan, variant),
        tuple(map(str, layers)),
        columns,
        values,
        _grid(layers, columns, lambda cell: short(true.get(cell, nan))),
        _grid(layers, columns, lambda cell: _scan_hover(cell, found.get(cell))),
        scan.descriptor.note,
        centred=bool(known) and min(known) < 0 < max(known),
        good=scan.descriptor.sign,
        marked=_marks(inputs, columns),
    )


def scan_title(scan: ScanResult, variant: str) -> str:
    """Scan and variant in words."""
    return f"{scan.descriptor.title}: {variant}" if variant else scan.descriptor.title


def column_of(score: ScanScore) -> str:
    """The column a scan's score stands in: its part, with head and token role where it has any."""
    head = f".h{score.head}" if score.head >= 0 else ""
    role = f" · {score.role}" if score.role else ""
    return f"{score.part}{head}{role}"


def _column_order(score: ScanScore) -> tuple[int, str, int]:
    return part_order(score.part), score.part, score.head


def part_order(part: str) -> int:
    """Where a part stands among all: the order of the design, unknown ones last."""
    return PARTS.index(part) if part in PARTS else len(PARTS)


def _in_order(parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(parts), key=part_order))


def _grid(layers: Iterable[int], columns: tuple[str, ...], of: Callable) -> tuple[tuple, ...]:
    return tuple(tuple(of((layer, column)) for column in columns) for layer in layers)


def _marks(inputs: ReportInputs, columns: tuple[str, ...]) -> tuple[Mark, ...]:
    contenders = inputs.recommendation.contenders if inputs.recommendation else ()
    cells = ((cell_of(c.location), c.role) for c in contenders if c.role == "recommended")
    return tuple(
        Mark(cell[0], columns.index(cell[1]), role)
        for cell, role in cells
        if cell is not None and cell[1] in columns
    )


def _trial_hover(cell: Cell, record: TrialRecord | None, view: View) -> str:
    if record is None:
        return f"L{cell[0]}.{cell[1]}\nnot tried"
    measure = record.measure(view.name)
    before = "" if isnan(measure.before) else f" (before {number(measure.before)})"
    lines = [
        record.trial.location,
        f"{title_of(view.name)} {number(view.value(record))}{before}",
        f"lr {rate(record.trial.recipe.lr)}, {record.steps} steps, {duration(record.seconds)}",
    ]
    if record.violated:
        lines += map(in_words, record.violated)
    return "\n".join(lines if record.status == "done" else [*lines, record.status])


def _scan_hover(cell: Cell, score: ScanScore | None) -> str:
    place = f"L{cell[0]}.{cell[1]}"
    if score is None:
        return f"{place}\nnot scored"
    bounds = "" if isnan(score.low) else f" [{number(score.low)}, {number(score.high)}]"
    return f"{place}\nscore {number(score.score)}{bounds}"
