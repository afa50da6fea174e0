"""Whether a record that was read can be what a run wrote, beyond the types of its fields."""

from typing import Any

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

    Reports and tables rest on it: a location is recommended, every layer is one.
    """
    if isinstance(record, Recommendation):
        if not record.contenders:
            return "its field 'contenders' is empty"
        if not isinstance(record.best.location, Location):
            return "its field 'contenders.location' is no location"
    if isinstance(record, ScanResult):
        for score in record.scores:
            if not (0 <= score.layer < _MOST_LAYERS and -1 <= score.head < _MOST_LAYERS):
                return "its field 'scores' has a layer or head that no model has"
    return ""
