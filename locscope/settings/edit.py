"""Settings of `locscope edit`."""

from typing import final

from pydantic import Field, field_validator

from locscope.settings.base import SharedSettings
from locscope.tuning.recipes import recipe_named


@final
class EditSettings(SharedSettings):
    """Where and how to tune; without a rate, the one at which trials of a search start."""

    location: str | None = Field(None, description="as L22.mlp.down")
    recipe: str = Field("full", description="what of the location is tuned, and how")
    lr: float | None = Field(None, gt=0, description="learning rate of Adam")
    batch_size: int | None = Field(None, ge=1, description="edits a batch; N/4 within 8..100")
    epochs: int = Field(25, ge=1, description="passes over the edits at most")
    prefixes: int = Field(0, ge=0, description="random-prefix copies of every edit")

    @field_validator("recipe")
    @classmethod
    def _known_recipe(cls, value: str) -> str:
        return recipe_named(value).name
