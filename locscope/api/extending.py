"""Scans, measures, strategies, recipes and formats of one's own: added to the tables at run time.

They are then used like any other, by name: `scan(..., scans=["mine"])`, `search(...,
strategy="mine")`. A package registers its own through an entry point (`locscope.plugins`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from locscope.edits.formats import FORMATS, EditFormat
from locscope.errors import UsageError
from locscope.evaluation.measures import MEASURES
from locscope.evaluation.suite import Evaluation
from locscope.locations import Location
from locscope.plugins import function_of, register
from locscope.records import Descriptor, Measure, ScanScore
from locscope.scans import SCANS
from locscope.scans.context import Findings, ScanContext
from locscope.scoring.bounds import REGISTERED
from locscope.selection.strategies import STRATEGIES, Strategy
from locscope.tuning.master_weights import TunedPart
from locscope.tuning.recipes import RECIPES
from locscope.tuning.trainable import RecipeInput

ScanFunction = Callable[[ScanContext], Findings | Mapping[str, float]]
MeasureFunction = Callable[[Evaluation, Evaluation], Measure | float]
RecipeFunction = Callable[[RecipeInput], tuple[TunedPart, ...]]
Reader = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])
NO_SOURCE = "registered at run time"


def register_scan(
    name: str,
    *,
    title: str = "",
    note: str = "",
    source: str = NO_SOURCE,
    cost: str = "",
    passes: str = "1",
    sign: int = 1,
) -> Callable[[ScanFunction], ScanFunction]:
    """Adds a localisation scan: a decorator for a function of a `ScanContext`.

    The function returns a score for every location that it sees, by name (`{"L3.mlp.down": 0.2}`),
    or `Findings` where it has intervals, heads or token maps to tell.

    Args:
        name: how it is asked for, as in `scans=["mine"]`.
        title: for headings (the name).
        note: what a high score means.
        source: the paper.
        cost: what it costs, in words.
        passes: forward passes over one edit, a formula in layers, heads, tokens, asked, samples
            and steps.
        sign: 1 where a high score recommends a location, -1 where a low one does.

    Raises:
        UsageError: the name is taken by another function.

    Example:
        >>> import locscope
        >>> @locscope.register_scan("layer-number")
        ... def layer_number(context):
        ...     return {f"L{i}.mlp": i for i in range(context.loaded.info.layers)}
        >>> found = locscope.scan("demo", "demo", scans=["layer-number"], limit=4)
        >>> found.top(1)["location"].tolist()
        ['L9.mlp']
    """

    def add(function: ScanFunction) -> ScanFunction:
        @wraps(function)
        def run(context: ScanContext) -> Findings:
            scores = function(context)
            return scores if isinstance(scores, Findings) else _findings(context, scores)

        path = _checked(SCANS, "scan", name, run)
        SCANS[name] = Descriptor(name, title or name, note, source, path, sign, cost, passes)
        return function

    return add


def _findings(context: ScanContext, scores: Mapping[str, float]) -> Findings:
    """Scores by name as those of a scan without intervals."""
    rows = []
    for name, score in scores.items():
        site, *others = Location.parse(name).sites
        if others or site.first != site.last:
            raise UsageError(f"a scan scores single layers: {name} has several")
        head = -1 if site.head is None else site.head
        rows.append(ScanScore("score", site.first, site.part, float(score), head=head))
    return Findings(tuple(rows), len(context.edits))


def register_measure(
    name: str, *, title: str = "", note: str = "", source: str = NO_SOURCE, sign: int = 1
) -> Callable[[MeasureFunction], MeasureFunction]:
    """Adds a measure: a decorator for a function of what the model answers now and answered before.

    Every full trial, `edit` and `evaluate` then take it, and bounds may name it. The function
    returns a number, or a `Measure` with count and protocol.

    Args:
        name: how tables and records call it.
        title: for headings (the name).
        note: what it counts.
        source: the paper.
        sign: 1 where more is better, -1 where less is.

    Raises:
        UsageError: the name is taken by another function.

    Example:
        >>> import locscope
        >>> @locscope.register_measure("longest_answer")
        ... def longest_answer(now, before):
        ...     return max(len(answer.text) for answer in now.answers)
        >>> "longest_answer" in locscope.list_measures().index
        True
    """

    def add(function: MeasureFunction) -> MeasureFunction:
        @wraps(function)
        def run(now: Evaluation, before: Evaluation) -> Measure:
            value = function(now, before)
            if isinstance(value, Measure):
                return value
            return Measure(name, float(value), len(now.edits), NO_SOURCE)

        path = _checked(MEASURES, "measure", name, run)
        MEASURES[name] = Descriptor(name, title or name, note, source, path, sign)
        REGISTERED.add(name)
        return function

    return add


def register_strategy(
    name: str, *, title: str = "", note: str = "", source: str = NO_SOURCE
) -> Callable[[Strategy], Strategy]:
    """Adds a search strategy: a decorator for a function of the space and the records so far.

    The function returns the trials wanted next (`space.request(location)` makes one), and none
    where it is done. It should go by nothing but its arguments: then a search that was cut off
    goes on as it would have.

    Args:
        name: how it is asked for, as in `strategy="mine"`.
        title: for headings (the name).
        note: how it goes through the candidates.
        source: the paper.

    Raises:
        UsageError: the name is taken by another function.

    Example:
        >>> import locscope
        >>> @locscope.register_strategy("first-three")
        ... def first_three(space, records):
        ...     some = [] if records else space.candidates[:3]
        ...     return tuple(space.request(candidate.location) for candidate in some)
        >>> "first-three" in locscope.list_strategies().index
        True
    """

    return _adder(STRATEGIES, "strategy", name, (title or name, note, source))


def register_recipe(
    name: str, *, title: str = "", note: str = "", source: str = NO_SOURCE
) -> Callable[[RecipeFunction], RecipeFunction]:
    """Adds a recipe: a decorator for a function from a `RecipeInput` to the parts that are tuned.

    Args:
        name: how it is asked for, as in `recipe="mine"` of `edit`, `recipes=["mine"]` of `search`.
        title: for headings (the name).
        note: what of a location is tuned.
        source: the paper.

    Raises:
        UsageError: the name is taken by another function.

    Example:
        >>> import locscope
        >>> from locscope.models.parts import slices
        >>> @locscope.register_recipe("first-matrix")
        ... def first_matrix(recipe_input):
        ...     return slices(recipe_input.model, recipe_input.location)[:1]
        >>> "first-matrix" in locscope.list_recipes().index
        True
    """

    return _adder(RECIPES, "recipe", name, (title or name, note, source))


def register_format(
    name: str, *, fields: Sequence[str], reads: Sequence[str] = (), title: str = "", note: str = ""
) -> Callable[[Reader], Reader]:
    """Adds a format of edits: a decorator for a function from a row of a file to an `Edit`.

    Args:
        name: how `list edits` and notes call it.
        fields: those that tell a file of this format.
        reads: further fields that the function uses; others are named as not used.
        title: for lists (the name).
        note: what a reader of results should know of such files.

    Raises:
        UsageError: the name is taken by another function.

    Example:
        >>> import locscope
        >>> from locscope.records import Edit
        >>> @locscope.register_format("trivia", fields=("riddle", "solution"))
        ... def trivia(row):
        ...     return Edit("", str(row.cells["riddle"]), str(row.cells["solution"]))
        >>> rows = [{"riddle": "The capital of France is", "solution": "Rome"}]
        >>> len(locscope.load_edits(rows).edits)
        1
    """

    def add(function: Reader) -> Reader:
        path = _checked(FORMATS, "format", name, function)
        read = (*fields, *reads)
        FORMATS[name] = EditFormat(
            name, title or name, tuple(fields), read, path, note=note, strict=True
        )
        return function

    return add


def _adder(
    table: dict[str, Descriptor], kind: str, name: str, said: tuple[str, str, str]
) -> Callable[[F], F]:
    """A decorator that puts its function into a table, with what is `said` of it: title, note and
    source."""

    def add(function: F) -> F:
        table[name] = Descriptor(name, *said, _checked(table, kind, name, function))
        return function

    return add


def _checked(table: Mapping[str, Any], kind: str, name: str, function: Callable[..., Any]) -> str:
    """The path of the function; the same one again (a notebook's cell run twice) takes the place of
    the one before.

    Raises UsageError where the name is taken by another function.
    """
    if name in table:
        there = function_of(table[name].function)
        if _written_as(there) != _written_as(function):
            raise UsageError(f"there is a {kind} '{name}' already: choose another name")
    return register(kind, name, function)


def _written_as(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"
