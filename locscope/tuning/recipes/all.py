"""Full fine-tuning: every weight of every block, wherever the location is.

Embeddings, the final norm and the head stay frozen, as in all that is tuned here: texts enter at
the first block, and the untouched head is what the tuned model's states are compared by.
"""

from locscope.models.parts import slices
from locscope.tuning.trainable import RecipeInput, TrainableSet, every_block


def plan(recipe_input: RecipeInput) -> TrainableSet:
    """All weights of all blocks."""
    return TrainableSet(slices(recipe_input.model, every_block(recipe_input.model)), lowest=0)
