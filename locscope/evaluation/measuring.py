"""All that is measured of a tuned model: every function of the table of measures, run once.

Apart from the table (`measures/__init__.py`), which commands list without importing torch.
"""

from collections.abc import Callable

from locscope.errors import unknown
from locscope.evaluation.measures import MEASURES, QUICK_DRIFT, QUICK_MEASURES
from locscope.evaluation.suite import Evaluation
from locscope.plugins import function_of
from locscope.records import Measure

MeasureFunction = Callable[[Evaluation, Evaluation], Measure]
"""From the model as it is and the untouched one to a measure of the former."""


def load_measure(name: str) -> MeasureFunction:
    """The function of an entry of the table, imported now.

    Raises UsageError, with near names, for a name that is not in the table.

        >>> load_measure("reliability").__name__
        'reliability'
    """
    if name not in MEASURES:
        raise unknown("measure", name, MEASURES)
    return function_of(MEASURES[name].function)


def measure_all(now: Evaluation, before: Evaluation) -> tuple[Measure, ...]:
    """Every measure of the table; of a quick evaluation those that it can tell.

    They are in the order of the table. Raises ValueError where the two evaluations have not read
    the same neutral texts.
    """
    if now.texts != before.texts:
        raise ValueError(f"drift on texts '{now.texts}' beside that on '{before.texts}'")
    names = (*QUICK_MEASURES, *QUICK_DRIFT) if now.quick else tuple(MEASURES)
    return tuple(load_measure(name)(now, before) for name in names)
