"""What there is to choose from, as data frames."""

from typing import TYPE_CHECKING

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
