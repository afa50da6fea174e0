"""The look that all figures share: colours that the colour-blind tell apart, fonts, axes.

Text from records goes through `text`: plotly reads its labels as a little HTML.
"""

import html
import textwrap

import plotly.graph_objects as go

ACCENT = "#D81B60"
"""What is recommended, in every figure."""
FONT = {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 13}


def text(words: str) -> str:
    """Words from records as plotly labels: nothing in them is markup."""
    # Quotes stay: plotly shows the entity and not the quote.
    return html.escape(words, quote=False).replace("\n", "<br>")


def axis_title(words: str) -> dict:
    """An axis title, broken so that it fits a narrow screen."""
    # Plotly does not break lines, and a phone shows about forty letters.
    lines = "\n".join(textwrap.wrap(words, 40))
    return {"text": text(lines), "font": {"size": FONT["size"]}, "standoff": 8}


def blank(traces: list, title: str, height: int, **layout) -> go.Figure:
    """A figure with everything that all have in common; `layout` wins."""
    base = {
        # Plotly's own template would be 7 kB in every file.
        "template": "none",
        "title": {"text": text(title), "x": 0, "xref": "paper"},
        "font": FONT,
        "height": height,
        "margin": {"l": 60, "r": 16, "t": 64, "b": 52},
        "hoverlabel": {"align": "left"},
        "paper_bgcolor": "white",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }
    return go.Figure(traces, {**base, **layout})
