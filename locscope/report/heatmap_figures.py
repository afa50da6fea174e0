"""Draws heatmaps: layers upwards, parts to the right."""

from math import isnan

import plotly.graph_objects as go

from locscope.report.heatmaps import Heatmap
from locscope.report.look import ACCENT, axis_title, blank, text

MISSING = "#9a9a9a"
MOST_LABELLED = 400
"""Cells beyond which a heatmap's numbers are left to the hover."""


def draw_heatmap(heatmap: Heatmap) -> go.Figure:
    """Layers upwards, parts to the right; cells without a value are grey and crossed."""
    rows, columns = len(heatmap.rows), len(heatmap.columns)
    side, upright = (0.5, len(heatmap.columns) > 12)
    category = {"type": "category", "showgrid": False, "zeroline": False, "ticks": ""}
    x_axis = {
        **category,
        "categoryarray": [text(column) for column in heatmap.columns],
        "range": [-side, columns - side],
        "tickangle": -90 if upright else 0,
        "automargin": True,
    }
    y_axis = {
        **category,
        "categoryarray": list(heatmap.rows),
        "range": [-side, rows - side],
        "title": axis_title("layer"),
    }
    figure = blank(
        [_heat_trace(heatmap), *_label_trace(heatmap), *_missing_trace(heatmap)],
        heatmap.title,
        max(300, min(26, 1600 // max(rows, 1)) * rows + 130),
        xaxis=x_axis,
        yaxis=y_axis,
        shapes=[_outline(mark.column, mark.row) for mark in heatmap.marked],
        showlegend=False,
        plot_bgcolor="rgba(128,128,128,0.18)",
    )
    figure.update_layout(margin={"t": 84, "l": 48, "b": 32})
    return figure


def _heat_trace(heatmap: Heatmap) -> go.Heatmap:
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
        z=[[None if isnan(v) else v for v in row] for row in heatmap.values],
        customdata=[[text(words) for words in row] for row in heatmap.hover],
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        xgap=1,
        ygap=1,
        showscale=bool(heatmap.measured),
        colorbar=bar,
        **_colours(heatmap),
    )


def _colours(heatmap: Heatmap) -> dict:
    """Bright is good on one-sided scales; two-sided ones diverge from zero."""
    if heatmap.centred:
        far = max(map(abs, heatmap.measured))
        return {"colorscale": "RdBu", "reversescale": heatmap.good < 0, "zmin": -far, "zmax": far}
    return {"colorscale": "Viridis", "reversescale": heatmap.good < 0}


def _label_trace(heatmap: Heatmap) -> list[go.Scatter]:
    """The numbers in the cells, black or white, whichever can be read on the cell's colour."""
    count, known = len(heatmap.rows) * len(heatmap.columns), heatmap.measured
    if len(heatmap.columns) > 8 or count > MOST_LABELLED or not known:
        return []
    places = [(r, c) for r in range(len(heatmap.rows)) for c in range(len(heatmap.columns))]
    places = [(r, c) for r, c in places if not isnan(heatmap.values[r][c])]
    colours = [_ink(heatmap, heatmap.values[r][c]) for r, c in places]
    return [
        go.Scatter(
            x=[text(heatmap.columns[c]) for _, c in places],
            y=[heatmap.rows[r] for r, _ in places],
            text=[text(heatmap.cells[r][c]) for r, c in places],
            mode="text",
            textfont={"color": colours, "size": 12},
            hoverinfo="skip",
        )
    ]


def _ink(heatmap: Heatmap, value: float) -> str:
    low, high = min(heatmap.measured), max(heatmap.measured)
    if heatmap.centred:
        # Both ends of a diverging scale are dark.
        return "white" if abs(value) > 0.6 * max(-low, high) else "black"
    share = (value - low) / (high - low) if high > low else 0.5
    return "black" if (share if heatmap.good > 0 else 1 - share) > 0.42 else "white"


def _missing_trace(heatmap: Heatmap) -> list[go.Scatter]:
    """A cross in every cell without a value: plotly's heatmaps cannot hatch."""
    cells = [
        (text(column), row, text(heatmap.hover[r][c]))
        for r, row in enumerate(heatmap.rows)
        for c, column in enumerate(heatmap.columns)
        if isnan(heatmap.values[r][c])
    ]
    if not cells:
        return []
    x, y, hover = zip(*cells, strict=True)
    marker = {"symbol": "x-thin", "size": 8, "line": {"width": 1.5, "color": MISSING}}
    template = "%{customdata}<extra></extra>"
    return [
        go.Scatter(
            x=x, y=y, customdata=hover, hovertemplate=template, mode="markers", marker=marker
        )
    ]


def _outline(column: int, row: int) -> dict:
    corners = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    return {"type": "rect", **corners, "line": {"color": ACCENT, "width": 3}}
