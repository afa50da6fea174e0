"""What a run is given (edits and a model), and what is written of the run as a whole."""

from dataclasses import dataclass

from locscope.records.codec import At, Number


@dataclass(frozen=True)
class Probe:
    """A prompt with the answer that is stated for it (empty where none is).

    `kind` tells forms apart: `question`, `choice`; empty for neighbours and multi-hop questions.
    """

    prompt: str
    answer: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Edit:
    """A prompt and its new target, with whatever the edit set has for judging it.

    `old` is the answer that the data set states for the time before (empty where it states none).
    The answers of `forms` and `multihop` are those after the edit, those of `neighbours` stay.
    """

    id: str
    prompt: str
    target: str
    subject: str = ""
    old: str = ""
    rephrases: tuple[str, ...] = ()
    neighbours: tuple[Probe, ...] = ()
    forms: tuple[Probe, ...] = ()
    multihop: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class LayerPart:
    """One part of one layer: its name (`L22.mlp.down`) and how many weights it has."""

    location: At
    layer: int
    part: str
    parameters: int


@dataclass(frozen=True)
class ModelInfo:
    """A loaded model in plain words.

    `name` is what the user wrote, `source` the directory name or hub id it led to, `hash` a digest
    of configuration and weights, `stored` the dtype of the weights on disk.
    """

    name: str
    source: str
    family: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    vocabulary: int
    parameters: int
    dtype: str
    stored: str
    device: str
    hash: str
    grid: tuple[LayerPart, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that its layers have."""
        # A dictionary keeps the order of the layers, which a set would lose.
        return tuple(dict.fromkeys(cell.part for cell in self.grid))


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
