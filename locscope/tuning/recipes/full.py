"""The whole location, every weight its own master."""

from locscope.models.parts import slices
from locscope.tuning.trainable import Ground, Tunable


def plan(ground: Ground) -> Tunable:
    """All weights of the location."""
    return Tunable(slices(ground.model, ground.location), ground.location.lowest)
