"""Settings of `locscope edit` and `locscope evaluate`."""

from typing import Literal, final

from pydantic import field_validator

from locscope.settings.base import (
    BATCH_SIZE,
    DATA,
    EPOCHS,
    PREFIXES,
    RATE,
    TUNING,
    SharedSettings,
    setting,
)
from locscope.tuning.recipes import RECIPES, recipe_named


@final
class EditSettings(SharedSettings):
    """Where and how to tune; without a rate, the one at which trials of a search start."""

    location: str | None = setting(None, "where to tune, as L22.mlp.down", TUNING)
    recipe: str = setting(
        "full", "what of the location is tuned, and how; see list recipes", TUNING, choices=RECIPES
    )
    lr: float | None = setting(
        None, "learning rate of Adam", TUNING, unset="where a search starts", gt=0, le=RATE
    )
    batch_size: int | None = BATCH_SIZE
    epochs: int = EPOCHS
    prefixes: int = PREFIXES
    evaluate: Literal["full", "quick", "none"] = setting(
        "full",
        "what is measured: full; quick, which decodes nothing: probabilities and drift; none",
        TUNING,
    )

    @field_validator("recipe")
    @classmethod
    def _known_recipe(cls, value: str) -> str:
        return recipe_named(value).name


@final
class EvaluateSettings(SharedSettings):
    """What an edited model is compared with."""

    base: str | None = setting(None, "the untouched model", DATA, unset="recorded at saving")
