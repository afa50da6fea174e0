"""What of a location is tuned, and how: a table of functions.

A recipe's kind is a function from a `RecipeInput` to the parts that are tuned. A new one is one
function in a file here and one entry in `RECIPES`. The table is plain data: nothing of torch is
imported with it.
"""

from math import inf

from locscope.errors import UsageError, unknown
from locscope.locations import Location
from locscope.records import Descriptor


def _entry(name: str, function: str, title: str, note: str, source: str) -> Descriptor:
    return Descriptor(name, title, note, source, f"locscope.tuning.recipes.{function}")


RECIPES: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        _entry(
            "full",
            "subsets:full",
            "Whole matrices",
            "every weight of the location",
            "LocFT-BF (arXiv 2509.22072)",
        ),
        _entry(
            "half",
            "subsets:half",
            "Half of the matrices",
            "in every layer a random half of the location's attention matrices, of its MLP "
            "matrices and of its norms; where there is one alone, a random half of its rows",
            "HFT (arXiv 2404.18466), category level",
        ),
        _entry(
            "smallest",
            "subsets:smallest",
            "Smallest weights",
            "of every tensor the fifth that is smallest in magnitude before tuning",
            "SaRA (arXiv 2409.06633), its mask as a quantile per tensor",
        ),
        _entry(
            "soft",
            "soft:plan",
            "Softly masked",
            "every weight, but the more general ability leans on a row or head, the smaller its "
            "steps; norms are free",
            "CoFiTune (arXiv 2404.10306), corrected: rows, |gradients|, steps instead of gradients",
        ),
        _entry(
            "budget",
            "subsets:budget",
            "Arbitrary weights",
            "as many weights as the location has, tensors drawn by the seed from all blocks: what "
            "the choice of the location itself is worth",
            "APET (arXiv 2306.02320), of the base's tensors alone",
        ),
        _entry(
            "lora",
            "lora:plan",
            "LoRA",
            "a low-rank change of every matrix of the location, merged before measuring; biases "
            "and norms are frozen",
            "LoRA (arXiv 2106.09685), as PEFT starts and scales it, without dropout",
        ),
        _entry(
            "lofit",
            "lofit:plan",
            "Head offsets",
            "a vector added to the output of every head of the location, or of its layers where "
            "it names no heads; as a bias of attention's output",
            "LoFiT (arXiv 2406.01563), step v",
        ),
        _entry(
            "all",
            "subsets:all_blocks",
            "All blocks",
            "full fine-tuning of every block, wherever the location is; embeddings, final norm "
            "and head stay frozen",
            "full fine-tuning",
        ),
    )
}


NO_RATE_HINT = ("lora", "lofit")
"""Recipes whose best rate the gradient at their start does not tell: their few numbers move the
weights together, far beyond first order (bundled model, L8.mlp: both break it there)."""
CAUTION = 27.0
"""By how much lower the rates of these recipes start: three steps of the grid."""
READ_NEUTRAL = ("soft",)
"""Recipes that look at neutral texts before they tune."""
TUNES_ALL_BLOCKS = ("budget", "all")
"""Recipes that tune blocks wherever the location is, down to the first."""


def recipe_named(kind: str) -> Descriptor:
    """The entry of that name. Raises UsageError where there is none."""
    if kind not in RECIPES:
        raise unknown("recipe", kind, RECIPES)
    return RECIPES[kind]


def rate_for(kind: str, location: Location, l1: float, first_step: float) -> float:
    """The learning rate at which Adam's first step is predicted to lower the loss by `first_step`.

    Adam's first step moves every weight by the rate, so to first order the loss (nats) falls by the
    rate times the L1 norm of the gradient. Recipes in `NO_RATE_HINT` start far lower. Raises
    UsageError where the norm is zero or not finite.
    """
    if not 0 < l1 < inf:
        raise UsageError(
            f"no learning rate for recipe {kind} at {location}: the L1 norm of the edits' gradient "
            f"is {l1:g}; the model may already know them all: leave out the recipe or location, or "
            "name a rate with edit --lr"
        )
    return first_step / l1 / (CAUTION if kind in NO_RATE_HINT else 1.0)
