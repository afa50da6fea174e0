"""What is written down of a run as a whole."""

from dataclasses import dataclass

from locscope.records.codec import Number
from locscope.records.models import ModelInfo


@dataclass(frozen=True)
class StageCost:
    """A stage of a run: wall seconds and how many tasks it had, of which how many were resumed."""

    stage: str
    seconds: Number
    tasks: int
    resumed: int


@dataclass(frozen=True)
class RunInfo:
    """Settings, seeds, versions, timings and cost of a run (`run.json`)."""

    schema_number: int
    verb: str
    status: str
    settings: dict[str, str]
    settings_hash: str
    seed: int
    versions: dict[str, str]
    model: ModelInfo
    edits: str
    edits_hash: str
    edit_count: int
    notes: tuple[str, ...]
    stages: tuple[StageCost, ...]
    command: str = ""
    started: str = ""
