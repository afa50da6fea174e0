"""Data of the recommendation under other protocols: rows beside the untouched model, in words."""

from collections.abc import Sequence
from math import isnan, nan

from locscope.records import Measure, ProtocolResults, ProtocolRow
from locscope.report.data.inputs import ReportInputs
from locscope.report.data.rows import Table, TableCell, figure_cell
from locscope.report.data.words import interval, number

MEASURES = ("reliability", "generalization", "locality")
COLUMNS = ("asked", "reliability", "untouched", "generalization", "untouched", "locality", "note")
NOTE = (
    "The same tuned weights, asked in other ways: tuned as in the first repetition on T. Locality "
    "is against the untouched model's answers under the same protocol; perplexity does not depend "
    "on it. Untouched: before tuning."
)


def panels_table(inputs: ReportInputs) -> Table:
    """The recommended location as asked under every protocol, a row per protocol."""
    panel = _recommended(inputs)
    rows = tuple(_row(panel, row) for row in panel.rows) if panel else ()
    return Table("panels", "Under other protocols", COLUMNS, rows, NOTE if rows else "")


def side_by_side(inputs: ReportInputs) -> tuple[Table, ...]:
    """All contenders beside each other, a table per measure and a row per protocol."""
    tables = (_beside(inputs.panels, measure) for measure in MEASURES)
    return tuple(table for table in tables if table.rows and len(inputs.panels) > 1)


def _beside(panels: Sequence[ProtocolResults], measure: str) -> Table:
    asked = {row.name: _question(row) for panel in panels for row in panel.rows}
    values = [{row.name: row.value(measure) for row in panel.rows} for panel in panels]
    rows = tuple(
        (TableCell(title), *(figure_cell(by_name.get(name, nan)) for by_name in values))
        for name, title in asked.items()
        # What no contender was asked has no row of dashes.
        if any(not isnan(by_name.get(name, nan)) for by_name in values)
    )
    columns = ("asked", *(f"{panel.role} {panel.location}" for panel in panels))
    return Table(f"panels-{measure}", f"{measure.capitalize()} side by side", columns, rows)


def asked_protocols(inputs: ReportInputs) -> tuple[tuple[str, str], ...]:
    """How each way to ask was measured: its name and its protocol in words."""
    found = {}
    for panel in inputs.panels:
        for row in panel.rows:
            for measure in row.measures[:1]:
                found.setdefault(_question(row), measure.protocol)
    return tuple(found.items())


def _recommended(inputs: ReportInputs) -> ProtocolResults | None:
    return next((panel for panel in inputs.panels if panel.role == "recommended"), None)


def protocol_line(inputs: ReportInputs) -> str:
    """The worst protocol of the recommended location, its worst form and multi-hop, in one line."""
    panel = _recommended(inputs)
    if panel is None:
        return ""
    others = [row for row in panel.rows if row.kind == "protocol" and not row.searched]
    parts = [_as_searched(panel)]
    if (worst := _worst(others)) is not None:
        parts.append(f"worst other protocol {worst.name} {number(worst.value('reliability'))}")
    if (form := _worst(_of_kind(panel, "form"))) is not None:
        parts.append(f"worst {form.name} {number(form.value('reliability'))}")
    parts += [
        f"{row.name} {number(row.value('reliability'))}" for row in _of_kind(panel, "multihop")
    ]
    # Said and not left out: a protocol that failed may be the one that matters.
    missing = [f"{row.name} not measured: {row.reason}" for row in panel.rows if row.reason]
    return "; ".join(filter(None, (*parts, *missing)))


def _as_searched(panel: ProtocolResults) -> str:
    searched = panel.searched
    return f"reliability as searched {number(searched.value('reliability'))}" if searched else ""


def _of_kind(panel: ProtocolResults, kind: str) -> list[ProtocolRow]:
    return [row for row in panel.rows if row.kind == kind]


def _worst(rows: Sequence[ProtocolRow]) -> ProtocolRow | None:
    measured = [row for row in rows if not isnan(row.value("reliability"))]
    return min(measured, key=lambda row: row.value("reliability"), default=None)


def _row(panel: ProtocolResults, row: ProtocolRow) -> tuple[TableCell, ...]:
    measures = {measure.name: measure for measure in row.measures}
    reliability, generalization, locality = (measures.get(name) for name in MEASURES)
    note = _note(panel, row)
    return (
        TableCell(_question(row)),
        _value(reliability, alarm=note.startswith("worst")),
        _before(reliability),
        _value(generalization),
        _before(generalization),
        _value(locality),
        TableCell(note, alarm=bool(row.reason)),
    )


def _question(row: ProtocolRow) -> str:
    return row.title if row.kind != "protocol" else f"{row.name}: {row.title}"


def _note(panel: ProtocolResults, row: ProtocolRow) -> str:
    if row.reason:
        return f"not measured: {row.reason}"
    if row.searched:
        return "as searched"
    alike = [other for other in _of_kind(panel, row.kind) if not other.searched]
    # Of a single one, worst would say nothing.
    worst = _worst(alike)
    return "worst of these" if len(alike) > 1 and worst is row else ""


def _value(measure: Measure | None, *, alarm: bool = False) -> TableCell:
    if measure is None:
        return figure_cell(float("nan"))
    bounds = interval(measure.low, measure.high)
    return TableCell(f"{number(measure.value)} {bounds}".rstrip(), measure.value, alarm)


def _before(measure: Measure | None) -> TableCell:
    return figure_cell(measure.before if measure else float("nan"))
