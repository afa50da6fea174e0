"""What of a location is tuned, and how: a table, one file each.

A recipe's kind is a function from a `RecipeInput` to a `TrainableSet`. A new one is one file here
and one entry in `RECIPES`. The table is plain data: nothing of torch is imported with it.
"""

from locscope.errors import unknown
from locscope.records import Descriptor


def _entry(name: str, title: str, note: str, source: str) -> Descriptor:
    return Descriptor(name, title, note, source, f"locscope.tuning.recipes.{name}:plan")


RECIPES: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        _entry(
            "full",
            "Whole matrices",
            "every weight of the location",
            "LocFT-BF (arXiv 2509.22072)",
        ),
        _entry(
            "half",
            "Half of the matrices",
            "in every layer a random half of the location's attention matrices, of its MLP "
            "matrices and of its norms; where there is one alone, a random half of its rows",
            "HFT (arXiv 2404.18466), category level",
        ),
        _entry(
            "smallest",
            "Smallest weights",
            "of every tensor the fifth that is smallest in magnitude before tuning",
            "SaRA (arXiv 2409.06633), its mask as a quantile per tensor",
        ),
        _entry(
            "soft",
            "Softly masked",
            "every weight, but the more general ability leans on a row or head, the smaller its "
            "steps; norms are free",
            "CoFiTune (arXiv 2404.10306), corrected: rows, |gradients|, steps instead of gradients",
        ),
        _entry(
            "budget",
            "Arbitrary weights",
            "as many weights as the location has, tensors drawn by the seed from all blocks: what "
            "the choice of the place itself is worth",
            "APET (arXiv 2306.02320), of the base's tensors alone",
        ),
        _entry(
            "lora",
            "LoRA",
            "a low-rank change of every matrix of the location, merged before measuring; biases "
            "and norms are frozen",
            "LoRA (arXiv 2106.09685), as PEFT starts and scales it, without dropout",
        ),
        _entry(
            "lofit",
            "Head offsets",
            "a vector added to the output of every head of the location, or of its layers where "
            "it names no heads; as a bias of attention's output",
            "LoFiT (arXiv 2406.01563), step v",
        ),
        _entry(
            "all",
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


def recipe_named(kind: str) -> Descriptor:
    """The entry of that name; a UsageError where there is none."""
    if kind not in RECIPES:
        raise unknown("recipe", kind, RECIPES)
    return RECIPES[kind]


TUNES_ALL_BLOCKS = ("budget", "all")
"""Recipes that tune blocks wherever the location is, down to the first."""
