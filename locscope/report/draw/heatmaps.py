"""Draws heatmaps: layers upwards; parts, heads, token roles or tokens to the right."""

from math import isnan

import plotly.graph_objects as go

from locscope.report.data.heatmaps import Heatmap
from locscope.report.draw.theme import ACCENT, axis_title, blank, text

MISSING = "#9a9a9a"
MOST_LABELLED = 1000
MOST_COLUMNS = {"parts": 24}
"""Cells, and columns by what they are (8 of others), beyond which numbers are left to the hover."""
SUBJECT = "#D55E00"
"""The band of columns that are set apart."""
CATEGORY = {"type": "category", "showgrid": False, "zeroline": False, "ticks": ""}
SIDE = 0.5
SPEAKING = ("parts", "token roles")
"""What columns may be across without a title: their names say it."""
COLUMN_WIDTH, NUMBER_WIDTH = 11, 42
"""Pixels that a column needs at the least, without and with numbers in its cells."""


def draw_heatmap(heatmap: Heatmap) -> go.Figure:
    """Layers upwards; cells without a value are grey and crossed."""
    rows = len(heatmap.rows)
    # Numbers in cells need higher rows than colours alone.
    tallest = 1600 if _labelled(heatmap) else 1120
    figure = blank(
        [_heat_trace(heatmap), *_label_trace(heatmap), *_missing_trace(heatmap)],
        heatmap.title,
        max(300, min(26, tallest // max(rows, 1)) * rows + 130) + _below(heatmap),
        xaxis=_x_axis(heatmap),
        yaxis={
            **CATEGORY,
            "categoryarray": list(heatmap.rows),
            "range": [-SIDE, rows - SIDE],
            "title": axis_title("layer"),
        },
        shapes=[
            *(_band(first, last, rows) for first, last in _runs(heatmap.banded)),
            *(_bar(column, bar) for column, bar in heatmap.bars),
            *([_outline(heatmap)] if heatmap.recommended else []),
        ],
        showlegend=False,
        plot_bgcolor="rgba(128,128,128,0.18)",
    )
    figure.update_layout(margin={"t": 84, "l": 48, "b": 32 + _below(heatmap)})
    return figure


def _below(heatmap: Heatmap) -> int:
    """Pixels that an axis title and upright labels take below the cells."""
    title = 0 if heatmap.across == "parts" else 28
    letters = max((len(label) for label in heatmap.labels), default=0)
    return title + (7 * letters if heatmap.upright else 0)


def least_width(heatmap: Heatmap) -> int:
    """Pixels below which the heatmap's columns, or the numbers in them, cannot be read."""
    return 70 + (NUMBER_WIDTH if _labelled(heatmap) else COLUMN_WIDTH) * len(heatmap.columns)


def _x_axis(heatmap: Heatmap) -> dict:
    columns = len(heatmap.columns)
    axis = {
        **CATEGORY,
        "categoryarray": [text(column) for column in heatmap.columns],
        "range": [-SIDE, columns - SIDE],
        "tickangle": -90 if columns > 8 or heatmap.upright else 0,
        "automargin": True,
    }
    if heatmap.labels:
        shown = [
            f"<b>{text(label)}</b>" if index in heatmap.banded else text(label)
            for index, label in enumerate(heatmap.labels)
        ]
        axis |= {"tickmode": "array", "tickvals": list(range(columns)), "ticktext": shown}
        axis["tickfont"] = {"size": 12 if heatmap.upright else 11}
    if heatmap.across not in SPEAKING:
        # With a standoff the title stays where it was before the colour bar took its room.
        axis["title"] = axis_title(heatmap.across.removesuffix("s")) | {"standoff": None}
    return axis


def _heat_trace(heatmap: Heatmap) -> go.Heatmap:
    # In narrow columns a whole pixel of gap would be a tenth of the cell.
    gap = 1 if len(heatmap.columns) <= 32 else 0.5
    bar = {
        "orientation": "h",
        "thickness": 10,
        "len": 1,
        "y": 1.0,
        "yanchor": "bottom",
        "outlinewidth": 0,
        "ticklabelposition": "outside top",
    }
    if heatmap.ticks:
        values, names = zip(*heatmap.ticks, strict=True)
        bar |= {"tickmode": "array", "tickvals": values, "ticktext": names}
    return go.Heatmap(
        x=[text(column) for column in heatmap.columns],
        y=list(heatmap.rows),
        z=_plain(heatmap),
        customdata=[[text(words) for words in row] for row in heatmap.hover],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        xgap=gap,
        ygap=gap,
        showscale=bool(heatmap.measured),
        colorbar=bar,
        # What a click on a cell opens.
        meta={"locations": [list(row) for row in heatmap.locations]},
        **_colours(heatmap),
    )


def _plain(heatmap: Heatmap) -> list[list[float | None]]:
    """What colours need of the values: four digits, nothing infinite."""
    low, high = min(heatmap.measured, default=0.0), max(heatmap.measured, default=0.0)
    return [
        [None if isnan(v) else float(f"{min(max(v, low), high):.4g}") for v in row]
        for row in heatmap.values
    ]


def _colours(heatmap: Heatmap) -> dict:
    """Bright is good on one-sided scales; two-sided ones diverge from zero."""
    if heatmap.centred:
        # Alike on both sides, so that white is zero.
        far = max(map(abs, heatmap.measured))
        return {"colorscale": "RdBu", "reversescale": heatmap.good < 0, "zmin": -far, "zmax": far}
    low, high = heatmap.span or (None, None)
    return {"colorscale": "Viridis", "reversescale": heatmap.good < 0, "zmin": low, "zmax": high}


def _label_trace(heatmap: Heatmap) -> list[go.Scatter]:
    """The numbers in the cells, black or white, whichever can be read on the cell's colour."""
    if not _labelled(heatmap):
        return []
    filled = [(r, c) for r in range(len(heatmap.rows)) for c in range(len(heatmap.columns))]
    # A bar has its number in one of its cells.
    filled = [(r, c) for r, c in filled if heatmap.cells[r][c] and not isnan(heatmap.values[r][c])]
    colours = [_ink(heatmap, heatmap.values[r][c]) for r, c in filled]
    return [
        go.Scatter(
            x=[text(heatmap.columns[c]) for _, c in filled],
            y=[heatmap.rows[r] for r, _ in filled],
            text=[text(heatmap.cells[r][c]) for r, c in filled],
            mode="text",
            textfont={"color": colours, "size": 12},
            hoverinfo="skip",
        )
    ]


def _labelled(heatmap: Heatmap) -> bool:
    """Whether there is room for the numbers in the cells."""
    rows, columns = len(heatmap.rows), len(heatmap.columns)
    most = MOST_COLUMNS.get(heatmap.across, 8)
    return columns <= most and rows * columns <= MOST_LABELLED and bool(heatmap.measured)


def _ink(heatmap: Heatmap, value: float) -> str:
    low, high = heatmap.span or (min(heatmap.measured), max(heatmap.measured))
    if heatmap.centred:
        # Both ends of a diverging scale are dark.
        return "white" if abs(value) > 0.6 * max(-low, high) else "black"
    share = (value - low) / (high - low) if high > low else 0.5
    return "black" if (share if heatmap.good > 0 else 1 - share) > 0.42 else "white"


def _missing_trace(heatmap: Heatmap) -> list[go.Scatter]:
    """A cross in every cell without a value: plotly's heatmaps cannot hatch."""
    cells = [
        (text(column), row, text(heatmap.hover[r][c]), _named(heatmap, r, c))
        for r, row in enumerate(heatmap.rows)
        for c, column in enumerate(heatmap.columns)
        # Without a word on hover there is nothing that could be missing, as between bars.
        if isnan(heatmap.values[r][c]) and heatmap.hover[r][c]
    ]
    if not cells:
        return []
    x, y, hover, names = zip(*cells, strict=True)
    marker = {"symbol": "x-thin", "size": 8, "line": {"width": 1.5, "color": MISSING}}
    template = "%{customdata}<extra></extra>"
    return [
        go.Scatter(
            x=x,
            y=y,
            customdata=hover,
            hovertemplate=template,
            mode="markers",
            marker=marker,
            meta={"locations": list(names)},
        )
    ]


def _named(heatmap: Heatmap, row: int, column: int) -> str:
    return heatmap.locations[row][column] if heatmap.locations else ""


def _bar(column: int, rows: tuple[int, ...]) -> dict:
    """An outline that makes one bar of the cells of a range."""
    box = _box(column, rows[0], rows[-1], 0.06)
    return {"type": "rect", **box, "line": {"color": MISSING, "width": 1.5}}


def _outline(heatmap: Heatmap) -> dict:
    row, column = heatmap.recommended or (0, 0)
    box = _box(column, row, row + heatmap.recommended_rows - 1)
    return {"type": "rect", **box, "line": {"color": ACCENT, "width": 3}, "name": "recommended"}


def _box(column: int, first: int, last: int, inside: float = 0) -> dict:
    side = SIDE - inside
    return {"x0": column - side, "x1": column + side, "y0": first - side, "y1": last + side}


def _runs(columns: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last of every run of neighbouring columns."""
    there = set(columns)
    firsts = [c for c in sorted(there) if c - 1 not in there]
    lasts = [c for c in sorted(there) if c + 1 not in there]
    return list(zip(firsts, lasts, strict=True))


def _band(first: int, last: int, rows: int) -> dict:
    corners = {"x0": first - SIDE, "x1": last + SIDE, "y0": -SIDE, "y1": rows - SIDE}
    return {"type": "rect", **corners, "line": {"color": SUBJECT, "width": 2.5}}
