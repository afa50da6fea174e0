"""What Adam's first step is predicted to do, whatever a recipe tunes."""

from locscope.interp.gradients import mean_gradient
from locscope.progress import Progress, Silent
from locscope.records import Trial
from locscope.tuning.master_weights import temporarily_trainable
from locscope.tuning.recipes import rate_for
from locscope.tuning.trial import TrialContext, entered_parts, stored_dtype

_SILENT = Silent()


def starting_rate(context: TrialContext, trial: Trial, first_step: float) -> float:
    """The rate at which the trial's first step is predicted to lower the loss so far (nats).

    Raises UsageError where no finite gradient tells one.
    """
    return rate_for(trial.recipe.kind, trial.location, gradient_l1(context, trial), first_step)


def gradient_l1(context: TrialContext, trial: Trial, progress: Progress = _SILENT) -> float:
    """L1 norm of the gradient of the edits' mean loss (nats) to all that the recipe steps.

    Adam's first step moves each of them by the rate, so to first order the rate times this is how
    far the loss falls. Prefixed copies are left out; the model is as before afterwards.
    """
    model, prefix_cache = context.loaded.model, context.prefix_cache
    parts = entered_parts(context, trial)
    rows = [questions.target.index for questions in context.suite.of(trial.edits)]
    with temporarily_trainable(model, parts, stored_dtype(context.loaded)) as masters:
        weights = {piece.name: model.get_parameter(piece.name) for piece in masters.slices}
        gradient = mean_gradient(prefix_cache, rows, weights, progress, "weight gradient")
        masters.pull_back(gradient)
        gradients = [value.grad for value in masters.values if value.grad is not None]
        # In double: millions of float32 terms lose digits that the rate shows.
        return sum(float(gradient.double().abs().sum()) for gradient in gradients)
