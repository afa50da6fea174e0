"""What scans found, as an object."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

from locscope.errors import unknown
from locscope.records import ScanResult
from locscope.report.data.inputs import ReportInputs

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

COLUMNS = ("variant", "location", "layer", "part", "head", "role", "score", "low", "high", "count")


def figure_of(figures: "Mapping[str, go.Figure]", name: str) -> "go.Figure":
    """The figure of that name, or the first whose name holds it, as `tokens-block`.

    Raises:
        UsageError: there is none; near names.
    """
    found = [name] if name in figures else [known for known in figures if name in known]
    if not found:
        raise unknown("figure", name, figures)
    return figures[found[0]]


@final
@dataclass(frozen=True)
class ScanRun:
    """The results of one or several scans of a model, not written anywhere."""

    inputs: ReportInputs

    @property
    def results(self) -> tuple[ScanResult, ...]:
        """One result a scan, in the order in which they were asked for."""
        return self.inputs.scans

    @cached_property
    def figures(self) -> "dict[str, go.Figure]":
        """Heatmaps and curves by name."""
        from locscope.report.draw.gallery import figures

        return figures(self.inputs)

    def to_pandas(self) -> "pd.DataFrame":
        """Every score, a row each: of a location, of a head (-1: none) or of a token role there."""
        import pandas as pd

        rows = [
            {"scan": result.descriptor.name, **{name: getattr(score, name) for name in COLUMNS}}
            for result in self.results
            for score in result.scores
        ]
        return pd.DataFrame(rows, columns=["scan", *COLUMNS])

    def top(self, count: int = 5, scan: str | None = None) -> "pd.DataFrame":
        """The first locations of a scan (None: of the first one) by its first variant.

        Args:
            count: how many.
            scan: name of the scan.

        Returns:
            The rows of `to_pandas`, best first: by the scan's sign, where a low score is better.
            None where the scan could use no edit; its notes say why.

        Raises:
            UsageError: the scan is not among the results.
        """
        names = [result.descriptor.name for result in self.results]
        name = scan or names[0]
        if name not in names:
            raise unknown("scan", name, names)
        result = self.results[names.index(name)]
        frame, sign = self.to_pandas(), result.descriptor.sign
        asked = (frame["scan"] == name) & (frame["role"] == "")
        first = frame.loc[asked & frame["variant"].isin(result.variants[:1])]
        order = first.assign(_order=first["score"] * sign).sort_values("_order", ascending=False)
        return order.drop(columns="_order").head(count).reset_index(drop=True)

    def plot(self, name: str | None = None) -> "go.Figure":
        """A heatmap by a name of `figures`, or by a part of it (the first that holds it).

        Args:
            name: as `tokens-block`; None: the first figure.

        Raises:
            UsageError: no figure has such a name.
        """
        return figure_of(self.figures, name or "")

    def __repr__(self) -> str:
        found = ", ".join(
            f"{result.descriptor.name} ({result.usable} of {result.requests} edits)"
            for result in self.results
        )
        return f"ScanRun({found})"
