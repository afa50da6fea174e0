"""Settings of `locscope evaluate`."""

from typing import final

from pydantic import Field

from locscope.settings.base import SharedSettings


@final
class EvaluateSettings(SharedSettings):
    """What an edited model is compared with."""

    base: str | None = Field(None, description="the untouched model; default: recorded at saving")
