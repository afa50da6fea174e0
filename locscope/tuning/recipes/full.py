"""The whole location, every weight its own master."""

from locscope.models.parts import slices
from locscope.tuning.trainable import RecipeInput, TrainableSet


def plan(recipe_input: RecipeInput) -> TrainableSet:
    """All weights of the location."""
    return TrainableSet(
        slices(recipe_input.model, recipe_input.location), recipe_input.location.lowest
    )
