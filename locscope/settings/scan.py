"""Settings of `locscope scan`, and those of scans that a search shares."""

from typing import Literal, final

from pydantic import BaseModel, field_validator

from locscope.errors import unknown
from locscope.records import ScanOptions
from locscope.scans import SCANS as SCAN_TABLE
from locscope.scans import is_cheap
from locscope.settings.base import LAYERS, MANY, MOST_SEED, SCANS, SharedSettings, setting

ALL, CHEAP = "all", "cheap"
SCAN_NAMES = "names of scans with commas between, cheap, or all"


class ScanChoices(BaseModel):
    """How scans measure. Abstract: a base of the settings of verbs that scan."""

    # "default" and 0 leave the choice to each scan: sources differ in it.

    corruption: Literal["default", "swap", "noise"] = setting(
        "default",
        "of patching scans: swap (another subject) or noise (on its embeddings)",
        SCANS,
        unset="each scan's own",
    )
    metric: Literal["default", "probability", "logit-diff"] = setting(
        "default",
        "what of the answer is followed: probability or logit-diff",
        SCANS,
        unset="each scan's own",
    )
    noise: float = setting(
        3.0, "noise, in standard deviations of the subjects' embeddings", SCANS, gt=0, le=MANY
    )
    samples: int = setting(10, "draws of noise", SCANS, ge=1, le=MANY)
    stream: Literal["own", "rome"] = setting(
        "own", "random numbers of the noise: own or rome", SCANS
    )
    window: int = setting(
        0,
        "layers restored together",
        SCANS,
        unset="10 of 32; 10 with stream rome",
        ge=0,
        le=LAYERS,
    )
    steps: int = setting(
        0, "steps of integrated gradients", SCANS, unset="each scan's own", ge=0, le=MANY
    )
    ablation: Literal["default", "zero", "mean", "resample"] = setting(
        "default",
        "heads and MLPs are replaced by: zero, mean or resample",
        SCANS,
        unset="each scan's own",
    )
    requests: int = setting(
        100, "edits that a scan reads if it is not cheap; 0: all", SCANS, ge=0, le=MOST_SEED
    )

    @property
    def scan_options(self) -> ScanOptions:
        """The choices as scans take them."""
        return ScanOptions(**{name: getattr(self, name) for name in ScanChoices.model_fields})


def scan_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """Names of scans, with those that `all` and `cheap` stand for.

    Raises UsageError, with near names, where there is no such scan.
    """
    names: list[str] = []
    for name in value:
        if name not in (*SCAN_TABLE, ALL, CHEAP):
            raise unknown("scan", name, (*SCAN_TABLE, ALL, CHEAP))
        several = {ALL: list(SCAN_TABLE), CHEAP: [scan for scan in SCAN_TABLE if is_cheap(scan)]}
        names += several.get(name, [name])
    # Each once, as `cheap` beside a name may hold that name.
    return tuple(dict.fromkeys(names))


@final
class ScanSettings(SharedSettings, ScanChoices):
    """What is scanned, and how."""

    scans: tuple[str, ...] = setting((ALL,), SCAN_NAMES, SCANS, validate_default=True)
    strict: bool = setting(False, "refuse edits whose subject is not in the prompt", SCANS)

    @field_validator("scans")
    @classmethod
    def _known_scans(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return scan_names(value)
