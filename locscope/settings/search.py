"""Settings of `locscope search` and `locscope check`."""

from typing import Literal, final

from pydantic import Field, field_validator

from locscope.errors import unknown
from locscope.locations import PAPER_PARTS, PARTS
from locscope.scoring.objectives import OBJECTIVES
from locscope.selection.candidates import FIRST_STEP
from locscope.settings.base import SharedSettings
from locscope.settings.scan import CHEAP, ScanChoices, scan_names


@final
class SearchSettings(SharedSettings, ScanChoices):
    """What is searched, and how much is spent on it."""

    strategy: Literal["sweep"] = Field("sweep", description="how candidates are gone through")
    scans: tuple[str, ...] = Field(
        (CHEAP,), validate_default=True, description="names of scans, cheap, or all"
    )
    objective: str = Field("balanced", description="what makes a location good")
    parts: tuple[str, ...] = Field(PAPER_PARTS, description="parts of every layer to try")
    finalists: int = Field(3, ge=1, description="locations whose learning rate is searched")
    repetitions: int = Field(5, ge=1, description="subsets of R that the finalists are tuned on")
    share: float = Field(0.3, gt=0, lt=1, description="share of the edits that choose (S)")
    first_step: float = Field(
        FIRST_STEP, gt=0, description="loss change (nats) that Adam's first step shall predict"
    )
    batch_size: int | None = Field(None, ge=1, description="edits a batch; N/4 within 8..100")
    epochs: int = Field(25, ge=1, description="passes over the edits at most")
    prefixes: int = Field(0, ge=0, description="random-prefix copies of every edit")

    @field_validator("objective")
    @classmethod
    def _known_objective(cls, value: str) -> str:
        if value not in OBJECTIVES:
            raise unknown("objective", value, OBJECTIVES)
        return value

    @field_validator("scans")
    @classmethod
    def _known_scans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return scan_names(value)

    @field_validator("parts")
    @classmethod
    def _known_parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            if part not in PARTS:
                raise unknown("part", part, PARTS)
        return tuple(dict.fromkeys(value))
