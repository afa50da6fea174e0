"""Whether a record that was read can be what a run wrote, beyond the types of its fields."""

from collections.abc import Iterator
from typing import Any

from locscope.errors import UsageError
from locscope.locations import Location
from locscope.records.outcome import Recommendation, Scorecard
from locscope.records.scans import ScanResult
from locscope.records.trials import ProtocolResults, TrialRecord

FINAL = "final"
"""The id of a record of which a run has one."""
_MOST_LAYERS = 10_000


def identity(record: Any) -> str:
    """The id that the file of a record has been named by; empty where it can have any."""
    if isinstance(record, TrialRecord):
        return record.trial.id
    if isinstance(record, ScanResult):
        return record.descriptor.name
    if isinstance(record, ProtocolResults):
        return record.role
    return FINAL if isinstance(record, Recommendation | Scorecard) else ""


def unsound(record: Any) -> str:
    """Why no run wrote this record; empty where one can have.

    Reports and tables rest on it: every location can be read, every layer is one.
    """
    for name, text in _locations(record):
        try:
            Location.parse(text)
        except UsageError:
            return f"its field '{name}' is no location"
    if isinstance(record, Recommendation) and not record.contenders:
        return "its field 'contenders' is empty"
    if isinstance(record, ScanResult):
        for score in record.scores:
            if not (0 <= score.layer < _MOST_LAYERS and -1 <= score.head < _MOST_LAYERS):
                return "its field 'scores' has a layer or head that no model has"
    return ""


def _locations(record: Any) -> Iterator[tuple[str, str]]:
    if isinstance(record, TrialRecord):
        yield "trial.location", record.trial.location
    if isinstance(record, ProtocolResults):
        yield "location", record.location
    if isinstance(record, Recommendation):
        yield from (("contenders.location", one.location) for one in record.contenders[:1])
        if record.deployment is not None:
            yield "deployment.location", record.deployment.location
