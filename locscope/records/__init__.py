"""Everything that passes between stages: frozen, plain numbers and strings, no tensors.

A record goes to JSON and back with `dumps` and `loads`; not measured is NaN here, null there.
"""

from locscope.records.codec import dumps, loads
from locscope.records.edits import Edit, Probe
from locscope.records.models import LayerPart, ModelInfo
from locscope.records.outcome import (
    BoundPoint,
    Contender,
    Deployment,
    FitPoint,
    FrontPoint,
    Margin,
    Recommendation,
    ScanVerdict,
    Scorecard,
)
from locscope.records.run import RunInfo, StageCost
from locscope.records.scans import (
    Descriptor,
    ScanOptions,
    ScanResult,
    ScanScore,
    ScanTotal,
    TokenMap,
)
from locscope.records.trials import (
    EditOutcome,
    Epoch,
    Measure,
    Recipe,
    Trial,
    TrialRecord,
    default_batch,
)

__all__ = [
    "BoundPoint",
    "Contender",
    "Deployment",
    "Descriptor",
    "Edit",
    "EditOutcome",
    "Epoch",
    "FitPoint",
    "FrontPoint",
    "LayerPart",
    "Margin",
    "Measure",
    "ModelInfo",
    "Probe",
    "Recipe",
    "Recommendation",
    "RunInfo",
    "ScanOptions",
    "ScanResult",
    "ScanScore",
    "ScanTotal",
    "ScanVerdict",
    "Scorecard",
    "StageCost",
    "TokenMap",
    "Trial",
    "TrialRecord",
    "default_batch",
    "dumps",
    "loads",
]
