"""Draws figure data with plotly, in one look: colours that the colour-blind tell apart.

Text from records goes through `_text`: plotly reads its labels as a little HTML.
"""

import html
import textwrap
from math import isnan

import plotly.graph_objects as go

from locscope.report.curves import Bar, Chart, Intervals, Series, Span
from locscope.report.heatmaps import Heatmap

PART_STYLE = {
    "block": ("#D55E00", "circle"),
    "attn": ("#0072B2", "square"),
    "mlp": ("#009E73", "diamond"),
    "mlp.up": ("#E69F00", "triangle-up"),
    "mlp.down": ("#CC79A7", "triangle-down"),
    "mlp.gate": ("#999933", "hexagon"),
    "attn.q": ("#56B4E9", "cross"),
    "attn.k": ("#882255", "x"),
    "attn.v": ("#44AA99", "star"),
    "attn.o": ("#AA4499", "pentagon"),
}
"""Colour (Okabe and Ito, filled up from Tol) and symbol per part, the same in every figure."""
OTHER_STYLE = ("#888888", "circle")
LINE_STYLES = tuple(PART_STYLE.values())[:8]
DASHES = ("solid", "dash", "dot", "dashdot")
MISSING = "#9a9a9a"
OUTLINE = "#D81B60"
FONT = {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13}
MOST_LABELLED = 400
"""Cells beyond which a heatmap's numbers are left to the hover."""


def _text(words: str) -> str:
    return html.escape(words, quote=False).replace("\n", "<br>")


def _axis_title(words: str) -> dict:
    """An axis title, broken so that it fits a narrow screen."""
    lines = "\n".join(textwrap.wrap(words, 40))
    return {"text": _text(lines), "font": {"size": FONT["size"]}, "standoff": 8}


def _figure(traces: list, title: str, height: int, **layout) -> go.Figure:
    base = {
        "template": "none",
        "title": {"text": _text(title), "x": 0, "xref": "paper"},
        "font": FONT,
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 64, "b": 52},
        "hoverlabel": {"align": "left"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    return go.Figure(traces, {**base, **layout})


def draw_heatmap(heatmap: Heatmap) -> go.Figure:
    """Layers upwards, parts to the right; cells without a value are grey and crossed."""
    rows, columns = len(heatmap.rows), len(heatmap.columns)
    side, upright = (0.5, len(heatmap.columns) > 12)
    category = {"type": "category", "showgrid": False, "zeroline": False, "ticks": ""}
    x_axis = {
        **category,
        "categoryarray": [_text(column) for column in heatmap.columns],
        "range": [-side, columns - side],
        "tickangle": -90 if upright else 0,
        "automargin": True,
    }
    y_axis = {
        **category,
        "categoryarray": list(heatmap.rows),
        "range": [-side, rows - side],
        "title": _axis_title("layer"),
    }
    figure = _figure(
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
        x=[_text(column) for column in heatmap.columns],
        y=list(heatmap.rows),
        z=[[None if isnan(v) else v for v in row] for row in heatmap.values],
        customdata=[[_text(words) for words in row] for row in heatmap.hover],
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
            x=[_text(heatmap.columns[c]) for _, c in places],
            y=[heatmap.rows[r] for r, _ in places],
            text=[_text(heatmap.cells[r][c]) for r, c in places],
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
        (_text(column), row, _text(heatmap.hover[r][c]))
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
    return {"type": "rect", **corners, "line": {"color": OUTLINE, "width": 3}}


def draw_chart(chart: Chart) -> go.Figure:
    """Lines or clouds of points; hollow symbols miss a bound."""
    draw = _line if chart.lines else _points
    x_axis: dict = {"title": _axis_title(chart.x_title), "automargin": True, "zeroline": False}
    if chart.log_x:
        x_axis |= {"type": "log", "exponentformat": "e", **_rate_ticks(chart)}
    if chart.ticks:
        values, names = zip(*chart.ticks, strict=True)
        x_axis |= {"tickmode": "array", "tickvals": values, "ticktext": names}
    return _figure(
        [draw(series, index) for index, series in enumerate(chart.series)],
        chart.title,
        400,
        xaxis=x_axis,
        yaxis={"title": _axis_title(chart.y_title), "automargin": True, "zeroline": False},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        showlegend=True,
    )


def _rate_ticks(chart: Chart) -> dict:
    """Ticks at the rates that were tried, as few as can be read."""
    rates = sorted({x for series in chart.series for x in series.x if x > 0})
    shown = rates[:: -(-len(rates) // 5) or 1]
    return {"tickmode": "array", "tickvals": shown, "ticktext": [f"{r:.1e}" for r in shown]}


def _line(series: Series, index: int) -> go.Scatter:
    colour, symbol = LINE_STYLES[index % len(LINE_STYLES)]
    return _scatter(
        series, colour, symbol, "lines+markers", line={"dash": DASHES[index % 4], "width": 2}
    )


def _points(series: Series, _index: int) -> go.Scatter:
    return _scatter(series, *PART_STYLE.get(series.part, OTHER_STYLE), "markers")


def _scatter(series: Series, colour: str, symbol: str, mode: str, **extra) -> go.Scatter:
    hollow = series.hollow or (False,) * len(series.x)
    return go.Scatter(
        x=series.x,
        y=series.y,
        name=_text(series.name),
        mode=mode,
        marker={
            "color": colour,
            "size": 9,
            "symbol": [f"{symbol}-open" if empty else symbol for empty in hollow],
            "line": {"width": 1.5 if any(hollow) else 0, "color": colour},
        },
        customdata=[_text(words) for words in series.hover],
        hovertemplate="%{customdata}<extra></extra>",
        **extra,
    )


def draw_intervals(intervals: Intervals) -> go.Figure:
    """Values with intervals, the first on top, single values as small rings."""
    labels = [_bar_label(bar) for bar in intervals.bars]
    traces = [_bar_trace(bar, label) for bar, label in zip(intervals.bars, labels, strict=True)]
    singles = [(x, y) for b, y in zip(intervals.bars, labels, strict=True) for x in b.singles]
    rings = {"symbol": "circle-open", "size": 6, "color": "#888888"}
    x, y = zip(*singles, strict=True) if singles else ((), ())
    hover = "%{x:.3f}<extra>one repetition</extra>"
    traces.append(go.Scatter(x=x, y=y, mode="markers", marker=rings, hovertemplate=hover))
    figure = _figure(
        traces,
        intervals.title,
        52 * len(labels) + 130,
        xaxis={"title": _axis_title(intervals.x_title), "automargin": True, "zeroline": False},
        yaxis={"type": "category", "automargin": True, "autorange": "reversed"},
        showlegend=False,
    )
    figure.update_yaxes(categoryarray=labels)
    return figure


def _bar_label(bar: Bar) -> str:
    return f"{_text(bar.label)}<br>{_text(bar.detail)}"


def _bar_trace(bar: Bar, label: str) -> go.Scatter:
    colour = OUTLINE if bar.first else "#0072B2"
    known = not (isnan(bar.low) or isnan(bar.high))
    error = {
        "type": "data",
        "symmetric": False,
        "array": [bar.high - bar.value if known else 0],
        "arrayminus": [bar.value - bar.low if known else 0],
        "width": 6,
        "color": colour,
        "thickness": 2,
    }
    return go.Scatter(
        x=[bar.value],
        y=[label],
        error_x=error,
        mode="markers",
        marker={"size": 12, "color": colour, "symbol": "diamond" if bar.first else "circle"},
        hovertemplate=f"{label}<br>%{{x:.3f}}<extra></extra>",
    )


def draw_depths(spans: tuple[Span, ...]) -> go.Figure:
    """The relative depth that every run recommends, coloured by part."""
    traces, seen = [], set()
    for span in spans:
        colour, symbol = PART_STYLE.get(span.part, OTHER_STYLE)
        traces.append(
            go.Scatter(
                x=[span.first, span.last],
                y=[_text(span.run)] * 2,
                name=span.part,
                legendgroup=span.part,
                showlegend=span.part not in seen,
                mode="lines+markers",
                line={"color": colour, "width": 4},
                marker={"symbol": symbol, "size": 12, "color": colour},
                customdata=[_text(span.hover)] * 2,
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
        seen.add(span.part)
    rows = len({span.run for span in spans})
    return _figure(
        traces,
        "Recommended depth",
        40 * rows + 150,
        xaxis={
            "title": _axis_title("relative depth (0 lowest layer)"),
            "range": [-0.04, 1.04],
            "zeroline": False,
        },
        yaxis={"type": "category", "automargin": True, "autorange": "reversed"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        showlegend=True,
    )
