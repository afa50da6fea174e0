"""locscope in Jupyter: a search or a finished run as an object whose figures are Plotly's.

from locscope import notebook
run = notebook.search(limit=60)       # settings as on the command line
run                                   # the recommendation and its contenders
run.figures["score"]                  # any figure of the report
run.trials                            # all trials as a data frame
scans = notebook.scan(scans=["causal-tracing", "head-ablation"], limit=60)
scans.scores                          # every score of every location, head and token role
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from locscope.records import Recommendation
    from locscope.report.data.inputs import ReportInputs

__all__ = ["Run", "load", "scan", "search"]


@dataclass(frozen=True)
class Run:
    """A finished search or scan in its folder."""

    folder: Path
    inputs: ReportInputs

    @property
    def recommendation(self) -> Recommendation | None:
        """Where to tune, with its evidence."""
        return self.inputs.recommendation

    @cached_property
    def figures(self) -> dict[str, go.Figure]:
        """The figures of the report by name."""
        from locscope.report.draw.gallery import figures

        return figures(self.inputs)

    @property
    def trials(self) -> pd.DataFrame:
        """All trials of the run."""
        import pandas as pd

        return pd.read_parquet(self.folder / "trials.parquet")

    @property
    def scores(self) -> pd.DataFrame:
        """What all scans of the run say of every location, head and token role."""
        import pandas as pd

        return pd.read_parquet(self.folder / "scans.parquet")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from io import StringIO

        from rich.console import Console

        from locscope.report.output.terminal import terminal_summary

        console = Console(file=StringIO(), record=True, width=100)
        console.print(terminal_summary(self.inputs))
        page = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>", clear=False)
        return {"text/html": page, "text/plain": console.export_text()}


def search(output: str | Path | None = None, *, fresh: bool = False, **settings: Any) -> Run:
    """Searches, or goes on with the run in that folder; settings as on the command line."""
    from locscope.progress import Silent
    from locscope.settings import SearchSettings, settings_of
    from locscope.workflows.search.plan import plan_search
    from locscope.workflows.search.run import search as run

    plan = plan_search(settings_of(SearchSettings, settings), Path(output) if output else None)
    found = run(plan, Silent(), fresh=fresh)
    return Run(found.folder, found.inputs)


def scan(output: str | Path | None = None, *, fresh: bool = False, **settings: Any) -> Run:
    """Scans, adding to the run in that folder; settings as on the command line."""
    from locscope.progress import Silent
    from locscope.settings import ScanSettings, settings_of
    from locscope.workflows.scan import plan_scan
    from locscope.workflows.scan import scan as run

    wanted = settings_of(ScanSettings, settings)
    plan = plan_scan(wanted, Path(output) if output else None, Silent())
    found = run(plan, Silent(), fresh=fresh)
    return Run(found.folder, found.inputs)


def load(folder: str | Path) -> Run:
    """A finished run from its folder; nothing of a model is needed."""
    from locscope.workflows.report import load_run

    return Run(Path(folder), load_run(Path(folder)))
