"""Settings of `locscope scan`, and those of scans that a search shares."""

from typing import Literal, final

from pydantic import BaseModel, Field, field_validator

from locscope.errors import unknown
from locscope.records import ScanOptions
from locscope.scans import SCANS, is_cheap
from locscope.settings.base import SharedSettings

ALL, CHEAP = "all", "cheap"


class ScanChoices(BaseModel):
    """How scans look. Abstract: the settings of verbs that scan take it in."""

    corruption: Literal["default", "swap", "noise"] = Field(
        "default", description="another subject in its place, or noise on its embeddings"
    )
    metric: Literal["default", "probability", "logit-diff"] = Field(
        "default", description="what of the answer is followed"
    )
    noise: float = Field(3.0, gt=0, description="standard deviations of the subjects' embeddings")
    samples: int = Field(10, ge=1, description="draws of noise")
    stream: Literal["own", "rome"] = Field("own", description="random numbers: ours or ROME's")
    window: int = Field(0, ge=0, description="layers restored together; 0: 10 of 32, of ROME's 10")
    steps: int = Field(0, ge=0, description="of integrated gradients; 0: each scan's own")
    ablation: Literal["default", "zero", "mean", "resample"] = Field(
        "default", description="what a head or MLP is replaced by"
    )
    requests: int = Field(100, ge=0, description="edits that scans look at if not cheap; 0: all")

    @property
    def scan_options(self) -> ScanOptions:
        """The choices as scans take them."""
        return ScanOptions(**{name: getattr(self, name) for name in ScanChoices.model_fields})


def scan_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names of scans, with `all` and `cheap` spelt out; a UsageError for one that is unknown."""
    names: list[str] = []
    for name in value:
        if name not in (*SCANS, ALL, CHEAP):
            raise unknown("scan", name, (*SCANS, ALL, CHEAP))
        several = {ALL: list(SCANS), CHEAP: [one for one in SCANS if is_cheap(one)]}
        names += several.get(name, [name])
    return tuple(dict.fromkeys(names))


@final
class ScanSettings(SharedSettings, ScanChoices):
    """What is scanned, and how."""

    scans: tuple[str, ...] = Field(
        (ALL,), validate_default=True, description="names of scans, cheap, or all"
    )
    strict: bool = Field(False, description="refuse edits whose subject is not in the prompt")

    @field_validator("scans")
    @classmethod
    def _known_scans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return scan_names(value)
