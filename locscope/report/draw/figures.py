"""Draws charts and intervals."""

from collections.abc import Sequence
from math import isnan

import plotly.graph_objects as go

from locscope.records import Contender
from locscope.report.data.curves import Chart, Series
from locscope.report.draw.theme import ACCENT, axis_title, blank, text

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
MOST_TICKS = 5
"""Beside the first."""
DASHES = ("solid", "dash", "dot", "dashdot")


def draw_chart(chart: Chart) -> go.Figure:
    """Lines or clouds of points; hollow symbols miss a bound."""
    # Lines are told apart by colour and dash, clouds by the colour and symbol of their part.
    draw = _line if chart.lines else _points
    x_axis: dict = {"title": axis_title(chart.x_title), "automargin": True, "zeroline": False}
    if chart.log_x:
        x_axis |= {"type": "log", "exponentformat": "e", **_rate_ticks(chart)}
    if chart.ticks:
        values, names = zip(*chart.ticks, strict=True)
        x_axis |= {"tickmode": "array", "tickvals": values, "ticktext": names}
    return blank(
        [draw(series, index) for index, series in enumerate(chart.series)],
        chart.title,
        400,
        xaxis=x_axis,
        yaxis={"title": axis_title(chart.y_title), "automargin": True, "zeroline": False},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        showlegend=True,
    )


def _rate_ticks(chart: Chart) -> dict:
    """Ticks at rates that were tried, as many as can be read."""
    rates = sorted({x for series in chart.series for x in series.x if x > 0})
    shown: list[float] = []
    for rate in rates:
        # As far from the one before as ticks must be to be read, whatever lies between.
        if not shown or rate >= shown[-1] * (rates[-1] / rates[0]) ** (1 / MOST_TICKS):
            shown.append(rate)
    return {"tickmode": "array", "tickvals": shown, "ticktext": [f"{r:.1e}" for r in shown]}


def _line(series: Series, index: int) -> go.Scatter:
    colour, symbol = LINE_STYLES[index % len(LINE_STYLES)]
    return _scatter(
        series, colour, symbol, "lines+markers", line={"dash": DASHES[index % 4], "width": 2}
    )


def _points(series: Series, _index: int) -> go.Scatter:
    if series.kind == "front":
        # Steps: up to the next point of a front nothing better was reached.
        line = {"shape": "hv", "width": 1.5, "color": "#666666"}
        return _scatter(series, "#666666", "line-ns", "lines", line=line)
    if series.kind == "knee":
        return _scatter(series, ACCENT, "star", "markers")
    return _scatter(series, *PART_STYLE.get(series.part, OTHER_STYLE), "markers")


def _scatter(series: Series, colour: str, symbol: str, mode: str, **extra) -> go.Scatter:
    hollow = series.hollow or (False,) * len(series.x)
    return go.Scatter(
        x=series.x,
        y=series.y,
        name=text(series.name),
        mode=mode,
        marker={
            "color": colour,
            "size": 9,
            "symbol": [f"{symbol}-open" if empty else symbol for empty in hollow],
            # Hollow symbols are nothing but outline, which must be wide enough to be seen.
            "line": {"width": 1.5 if any(hollow) else 0, "color": colour},
        },
        customdata=[text(words) for words in series.hover],
        hovertemplate="%{customdata}<extra></extra>",
        # What a click on a point opens.
        meta={"locations": list(series.locations)},
        **extra,
    )


def draw_contenders(contenders: Sequence[Contender]) -> go.Figure:
    """Scores on T with intervals, the first on top, single repetitions as small rings."""
    labels = [f"{text(c.role)}<br>{text(str(c.location))}" for c in contenders]
    traces = [_contender_trace(*pair) for pair in zip(contenders, labels, strict=True)]
    singles = [(x, y) for c, y in zip(contenders, labels, strict=True) for x in c.repetitions]
    rings = {"symbol": "circle-open", "size": 6, "color": "#888888"}
    x, y = zip(*singles, strict=True) if singles else ((), ())
    hover = "%{x:.3f}<extra>one repetition</extra>"
    traces.append(go.Scatter(x=x, y=y, mode="markers", marker=rings, hovertemplate=hover))
    figure = blank(
        traces,
        "Contenders",
        52 * len(labels) + 130,
        xaxis={"title": axis_title("score on T"), "automargin": True, "zeroline": False},
        yaxis={"type": "category", "automargin": True, "autorange": "reversed"},
        showlegend=False,
    )
    # Else plotly orders categories as the traces bring them.
    figure.update_yaxes(categoryarray=labels)
    return figure


def _contender_trace(contender: Contender, label: str) -> go.Scatter:
    recommended, score = contender.role == "recommended", contender.score
    colour = ACCENT if recommended else "#0072B2"
    has_interval = not (isnan(contender.low) or isnan(contender.high))
    error = {
        "type": "data",
        "symmetric": False,
        "array": [contender.high - score if has_interval else 0],
        "arrayminus": [score - contender.low if has_interval else 0],
        "width": 6,
        "color": colour,
        "thickness": 2,
    }
    return go.Scatter(
        x=[score],
        y=[label],
        error_x=error,
        mode="markers",
        marker={"size": 12, "color": colour, "symbol": "diamond" if recommended else "circle"},
        hovertemplate=f"{label}<br>%{{x:.3f}}<extra></extra>",
        meta={"locations": [str(contender.location)]},
    )


def draw_depths(spans: tuple[Series, ...]) -> go.Figure:
    """The relative depth that every run recommends, coloured by part."""
    # One legend entry per part: the first span of each carries it.
    leads = {span.part: index for index, span in reversed(list(enumerate(spans)))}
    x_title = axis_title("relative depth (0 lowest layer)")
    return blank(
        [_span_trace(span, leads[span.part] == index) for index, span in enumerate(spans)],
        "Recommended depth",
        40 * len({span.name for span in spans}) + 150,
        xaxis={"title": x_title, "range": [-0.04, 1.04], "zeroline": False},
        yaxis={"type": "category", "automargin": True, "autorange": "reversed"},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        showlegend=True,
    )


def _span_trace(span: Series, in_legend: bool) -> go.Scatter:
    colour, symbol = PART_STYLE.get(span.part, OTHER_STYLE)
    return go.Scatter(
        x=list(span.x),
        y=[text(str(run)) for run in span.y],
        name=span.part,
        legendgroup=span.part,
        showlegend=in_legend,
        mode="lines+markers",
        line={"color": colour, "width": 4},
        marker={"symbol": symbol, "size": 12, "color": colour},
        customdata=[text(words) for words in span.hover],
        hovertemplate="%{customdata}<extra></extra>",
    )
