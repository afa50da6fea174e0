"""What Adam's first step is predicted to do, whatever a recipe tunes."""

from locscope.engine.loss import answer_losses
from locscope.engine.trunk import chunks
from locscope.locations import Location
from locscope.records import Trial
from locscope.tuning.masters import borrowed
from locscope.tuning.trial import Bench, stored_dtype
from locscope.tuning.tunable import Ground, tunable_of


def gradient_l1(bench: Bench, trial: Trial) -> float:
    """L1 norm of the gradient of the edits' mean loss (nats) to all that the recipe steps.

    Adam's first step moves each of them by the rate, so to first order the rate times this is how
    far the loss falls. Prefixed copies are left out; the model is as before afterwards.
    """
    model, trunk = bench.loaded.model, bench.trunk
    place = Location.parse(trial.location)
    tunable = tunable_of(Ground(model, place, trial.recipe, trial.seed, bench.importances))
    trunk.enter(tunable.lowest)
    rows = [one.target.index for one in bench.exam.of(trial.edits)]
    with borrowed(model, tunable.parts, stored_dtype(bench.loaded), tunable.unbiased) as masters:
        for some in chunks(trunk.sheet.lengths, rows, trunk.tokens_at_once):
            (answer_losses(trunk, trunk.batch(some)).sum() / len(rows)).backward()
        masters.collect_gradients()
        found = [value.grad for value in masters.values if value.grad is not None]
        return sum(float(gradient.double().abs().sum()) for gradient in found)
