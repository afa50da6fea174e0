"""What Adam's first step is predicted to do, whatever a recipe tunes."""

from math import inf

from locscope.errors import UsageError
from locscope.forward.losses import answer_losses
from locscope.forward.prefix_cache import chunks
from locscope.locations import Location
from locscope.records import Trial
from locscope.tuning.master_weights import temporarily_trainable
from locscope.tuning.recipes import NO_RATE_HINT
from locscope.tuning.trainable import RecipeInput, trainable_set_of
from locscope.tuning.trial import TrialContext, stored_dtype

CAUTION = 27.0
"""By how much lower rates start where the gradient does not tell them: three steps of the grid."""


def starting_rate(context: TrialContext, trial: Trial, first_step: float) -> float:
    """The rate at which the trial's first step is predicted to lower the loss so far (nats).

    Far lower for a recipe whose gradient does not tell its rate. A UsageError where
    no finite gradient tells.
    """
    norm = gradient_l1(context, trial)
    if not 0 < norm < inf:
        kind, place = trial.recipe.kind, trial.location
        raise UsageError(
            f"no learning rate for recipe {kind} at {place}: the edits' gradient is {norm:g}; "
            "leave it out of --recipes, or name a rate with edit --lr"
        )
    return first_step / norm / (CAUTION if trial.recipe.kind in NO_RATE_HINT else 1.0)


def gradient_l1(context: TrialContext, trial: Trial) -> float:
    """L1 norm of the gradient of the edits' mean loss (nats) to all that the recipe steps.

    Adam's first step moves each of them by the rate, so to first order the rate times this is how
    far the loss falls. Prefixed copies are left out; the model is as before afterwards.
    """
    model, prefix_cache = context.loaded.model, context.prefix_cache
    place = Location.parse(trial.location)
    tunable = trainable_set_of(
        RecipeInput(model, place, trial.recipe, trial.seed, context.importances)
    )
    prefix_cache.enter(tunable.lowest)
    rows = [one.target.index for one in context.suite.of(trial.edits)]
    with temporarily_trainable(
        model, tunable.parts, stored_dtype(context.loaded), tunable.unbiased
    ) as masters:
        for some in chunks(prefix_cache.packed.lengths, rows, prefix_cache.tokens_at_once):
            (answer_losses(prefix_cache, prefix_cache.batch(some)).sum() / len(rows)).backward()
        masters.collect_gradients()
        found = [value.grad for value in masters.values if value.grad is not None]
        return sum(float(gradient.double().abs().sum()) for gradient in found)
