"""A search or a run of scans in its folder, as an object."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from locscope.api.scanned import figure_of
from locscope.errors import UsageError
from locscope.locations import Location
from locscope.records import Recipe, Recommendation, Scorecard
from locscope.report.data.inputs import ReportInputs

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

WIDE = ("reliability", "generalization", "locality", "perplexity_ratio", "kl", "retention")
"""Measures that become columns of `Run.trials`."""


@final
@dataclass(frozen=True)
class Recommended:
    """Where to tune and how, and what that gave on the edits to be made; `record` has the rest."""

    location: str
    recipe: Recipe
    measures: Mapping[str, float]
    met: bool
    sentence: str
    record: Recommendation

    @property
    def lr(self) -> float:
        """The learning rate of Adam."""
        return self.recipe.lr

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {self.measures[name]:.3f}" for name in WIDE[:4])
        met = "meets all bounds" if self.met else "does not meet all bounds"
        batch, epochs = self.recipe.batch, self.recipe.epochs
        return (
            f"Recommended({self.location}, lr {self.lr:.3g}, batch {batch}, {epochs} epochs: "
            f"{shown}; {met})"
        )


@final
@dataclass(frozen=True)
class Run:
    """A finished run in its folder. Everything is read from its records and tables."""

    folder: Path
    inputs: ReportInputs

    @property
    def recommendation(self) -> Recommended | None:
        """Where to tune, with what it gave; None for a run of scans alone."""
        found = self.inputs.recommendation
        if found is None:
            return None
        given = found.deployment or found.best
        return Recommended(
            location=str(given.location),
            recipe=given.recipe,
            measures={measure.name: measure.value for measure in given.measures},
            met=found.met,
            sentence=found.sentence,
            record=found,
        )

    def trials(self, *, wide: bool = True, rung: str | None = None) -> "pd.DataFrame":
        """The trials, one a row; rungs are not mixed.

        Args:
            wide: measures as columns.
            rung: of which rung (`rung 1`, `full`, `deployed`, ...; None: `full`, or all that there
                are where a run has no full trials).

        Returns:
            A frame with location, `first_layer`, `last_layer`, part, recipe and what was measured.
        """
        frame = self._table("trials")
        wanted = rung or ("full" if "full" in set(frame["rung"]) else None)
        if wanted is not None:
            frame = frame[frame["rung"] == wanted]
        ends = [Location.parse(text) for text in frame["location"]]
        frame = frame.assign(
            first_layer=[end.lowest for end in ends], last_layer=[end.highest for end in ends]
        )
        if wide:
            values = self._table("measures").pivot_table(
                index="trial", columns="measure", values="value", aggfunc="last"
            )
            columns = [name for name in WIDE if name in values.columns]
            frame = frame.join(values[columns], on="trial")
        return frame.sort_values("score", ascending=False, ignore_index=True)

    @property
    def measures(self) -> "pd.DataFrame":
        """Every measure of every trial, with interval and count."""
        return self._table("measures")

    @property
    def edits(self) -> "pd.DataFrame":
        """What became of every edit in every trial."""
        return self._table("edits")

    @property
    def scans(self) -> "pd.DataFrame":
        """Every score of every location, head and token role."""
        return self._table("scans")

    @property
    def scorecard(self) -> Scorecard | None:
        """How well each scan said what tuning then showed."""
        return self.inputs.scorecard

    @cached_property
    def figures(self) -> "dict[str, go.Figure]":
        """The figures of the report by name."""
        from locscope.report.draw.gallery import figures

        return figures(self.inputs)

    def plot(self, name: str = "score") -> "go.Figure":
        """A figure of the report by a name of `figures`, or by a part of it.

        Raises:
            UsageError: there is none of that name; the names that there are.
        """
        return figure_of(self.figures, name)

    def report(self) -> Path:
        """The path of the report, one self-contained HTML file."""
        return self.folder / "report.html"

    def _table(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            raise UsageError(f"{path} is missing: `locscope report {self.folder}` writes it again")
        return pd.read_parquet(path)

    def __repr__(self) -> str:
        what = self.recommendation or f"{len(self.inputs.scans)} scans"
        return f"Run({str(self.folder)!r}: {what!r})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """The result as the terminal shows it, once."""
        from io import StringIO

        from locscope.display import console
        from locscope.report.output.terminal import terminal_summary

        # Rich would else display by itself what it prints within a notebook: twice the same.
        shown = console(file=StringIO(), record=True, width=100, force_jupyter=False)
        shown.print(terminal_summary(self.inputs))
        page = shown.export_html(inline_styles=True, code_format="<pre>{code}</pre>", clear=False)
        return {"text/html": page, "text/plain": shown.export_text()}


def open_run(folder: str | PathLike[str]) -> Run:
    """A finished run from its folder; nothing of a model is needed.

    Args:
        folder: of a search or of scans.

    Returns:
        The run.

    Raises:
        UsageError: the folder is no run's, or the run has nothing to show yet.

    Example:
        >>> import locscope
        >>> run = locscope.search(output="my-run", progress=False, **example.SMALL)
        >>> locscope.open_run("my-run").recommendation.location == run.recommendation.location
        True
    """
    from locscope.workflows.report import load_run

    return Run(Path(folder), load_run(Path(folder)))
