"""What there is to choose from, and trials, as data frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from locscope.records import TrialRecord
from locscope.workflows.listing import listing

if TYPE_CHECKING:
    import pandas as pd


def _table(kind: str) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(listing(kind), columns=["name", "note"]).set_index("name")


def list_models() -> "pd.DataFrame":
    """Aliases of models, and the hub ids that they stand for.

    Example:
        >>> import locscope
        >>> "demo" in locscope.list_models().index
        True
    """
    return _table("models")


def list_edits() -> "pd.DataFrame":
    """Formats of edits that `load_edits` recognises.

    Example:
        >>> import locscope
        >>> "counterfact" in locscope.list_edits().index
        True
    """
    return _table("edits")


def list_scans() -> "pd.DataFrame":
    """Localisation methods, and how to read their scores.

    Example:
        >>> import locscope
        >>> "causal-tracing" in locscope.list_scans().index
        True
    """
    return _table("scans")


def list_measures() -> "pd.DataFrame":
    """Measures of edits and of collapse.

    Example:
        >>> import locscope
        >>> "reliability" in locscope.list_measures().index
        True
    """
    return _table("measures")


def list_strategies() -> "pd.DataFrame":
    """Ways to go through the candidates.

    Example:
        >>> import locscope
        >>> "race" in locscope.list_strategies().index
        True
    """
    return _table("strategies")


def list_objectives() -> "pd.DataFrame":
    """What can make a location good.

    Example:
        >>> import locscope
        >>> "balanced" in locscope.list_objectives().index
        True
    """
    return _table("objectives")


def list_recipes() -> "pd.DataFrame":
    """What of a location can be tuned, and how.

    Example:
        >>> import locscope
        >>> "lora" in locscope.list_recipes().index
        True
    """
    return _table("recipes")


def trials_frame(records: Sequence[TrialRecord]) -> "pd.DataFrame":
    """A row for each record, a column for each measure, in the order of the records."""
    import pandas as pd

    rows = [
        {
            "location": str(record.trial.location),
            "lr": record.trial.recipe.lr,
            "rung": record.trial.rung,
            "split": record.trial.split,
            "seed": record.trial.seed,
            "edits": len(record.trial.edits),
            "score": record.score,
            "violated": "; ".join(record.violated),
            **{measure.name: measure.value for measure in record.measures},
        }
        for record in records
    ]
    return pd.DataFrame(rows)
