"""Everything that passes between stages: frozen, plain numbers and strings, no tensors.

A record goes to JSON and back with `dumps` and `loads`; not measured is NaN here, null there.
"""

from locscope.records.codec import dumps, loads
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
from locscope.records.run import Edit, LayerPart, ModelInfo, Probe, RunInfo, StageCost
from locscope.records.scans import (
    Descriptor,
    ScanOptions,
    ScanResult,
    ScanScore,
    ScanTotal,
    TokenMap,
)
from locscope.records.trials import (
    COUNT_RUNG,
    EditOutcome,
    Epoch,
    Measure,
    ProtocolResults,
    ProtocolRow,
    Recipe,
    Trial,
    TrialRecord,
    default_batch,
)

__all__ = [
    "COUNT_RUNG",
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
    "ProtocolResults",
    "ProtocolRow",
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
