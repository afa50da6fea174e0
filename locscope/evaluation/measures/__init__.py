"""What is measured of a tuned model: a table of functions, grouped in files by what they measure.

A measure is a function from the evaluation of the model as it is, and that of the untouched model,
to a `Measure`. A new one is one function in a file here and one entry in `MEASURES`.
"""

from collections.abc import Callable, Sequence

from locscope.errors import unknown
from locscope.evaluation.suite import Evaluation
from locscope.plugins import function_of
from locscope.records import Descriptor, Measure

MeasureFunction = Callable[[Evaluation, Evaluation], Measure]


def _entry(function: str, title: str, note: str, source: str, sign: int = 1) -> Descriptor:
    """The entry of `module:function`; the function has the name of its measure."""
    name = function.partition(":")[2]
    return Descriptor(name, title, note, source, f"locscope.evaluation.measures.{function}", sign)


MEASURES: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        _entry(
            "matches:reliability",
            "Reliability",
            "share of edits answered with the new target, after normalisation",
            "LocFT-BF (arXiv 2509.22072), code eval_edit_metric.py",
        ),
        _entry(
            "matches:reliability_strict",
            "Reliability, strict",
            "share of edits answered with exactly the target's tokens and then a stop token",
            "locscope",
        ),
        _entry(
            "matches:generalization",
            "Generalization",
            "share of rephrases answered with the new target, a mean per edit",
            "LocFT-BF (arXiv 2509.22072)",
        ),
        _entry(
            "locality:locality",
            "Locality",
            "share of neighbours whose greedy tokens, over the length of the stated answer (or to "
            "the first punctuation), are the untouched model's, a mean per edit",
            "locscope, after EasyEdit (arXiv 2308.07269) and ROME (arXiv 2202.05262)",
        ),
        _entry(
            "locality:locality_span",
            "Locality, free continuation",
            "share of neighbours whose answer to its first full stop, or ten tokens of it, is the "
            "untouched model's: hardly any of a model that only completes texts",
            "locscope",
        ),
        _entry(
            "locality:locality_tokens",
            "Locality, teacher-forced",
            "share of the tokens of neighbours' stated answers with the untouched model's arg-max, "
            "given the stated tokens before; measured by thorough trials",
            "EasyEdit (arXiv 2308.07269), locality acc",
        ),
        _entry(
            "locality:format_leakage",
            "Format leakage",
            "share of neighbours that now stop where the untouched model went on",
            "locscope",
            -1,
        ),
        _entry(
            "matches:neighbour_accuracy",
            "Neighbours' stated answers",
            "share of neighbours answered with the answer that the edit set states",
            "CounterFact (arXiv 2202.05262)",
        ),
        _entry(
            "probabilities:token_accuracy",
            "Teacher-forced token accuracy",
            "share of target tokens that are the arg-max given those before: not reliability",
            "EasyEdit (arXiv 2308.07269)",
        ),
        _entry(
            "probabilities:target_probability",
            "Target probability",
            "probability of the new target, a geometric mean over its tokens, a mean per edit",
            "locscope, after the rewrite score of arXiv 2202.05262",
        ),
        _entry(
            "probabilities:rephrase_probability",
            "Rephrase probability",
            "the same after the edit's rephrases",
            "locscope",
        ),
        _entry(
            "probabilities:neighbour_kept",
            "Neighbours' probability kept",
            "min(1, p/p0) of the neighbours' tokens that locality compares, a mean per edit",
            "locscope",
        ),
        _entry(
            "matches:forms",
            "Worst other form",
            "share answered with the new target in the form that does worst",
            "ORT (arXiv 2506.07795)",
        ),
        _entry(
            "matches:multihop",
            "Multi-hop",
            "share of multi-hop questions answered as they follow from the edit",
            "MQuAKE (arXiv 2305.14795)",
        ),
        _entry(
            "drift:perplexity_ratio",
            "Perplexity ratio, pooled",
            "exp of the mean token loss on neutral text, tuned over untouched: 1 is untouched",
            "locscope, after arXiv 2402.09656",
            -1,
        ),
        _entry(
            "drift:mean_perplexity_ratio",
            "Mean of sentence perplexities, ratio",
            "arithmetic mean of the sentences' perplexities without BOS, tuned over untouched: a "
            "few unlikely sentences decide it, so it may fall where the pooled ratio rises",
            "ME-PPL (arXiv 2402.09656, ppl.py)",
            -1,
        ),
        _entry(
            "drift:kl",
            "KL drift",
            "KL(untouched || tuned) on neutral text, nats per token",
            "locscope",
            -1,
        ),
        _entry(
            "drift:retention",
            "Retention",
            "accuracy on the abilities over that of the untouched model, both corrected for chance",
            "locscope",
        ),
    )
}


NEEDS_BASE = frozenset(
    {
        *("locality", "locality_span", "locality_tokens"),
        *("format_leakage", "neighbour_kept"),
        *("perplexity_ratio", "mean_perplexity_ratio", "kl", "retention"),
    }
)
"""Measures that compare with the untouched model."""
THOROUGH = frozenset({"forms", "multihop", "mean_perplexity_ratio", "locality_tokens"})
"""Measures that only a thorough trial takes: no choice can go by them."""
UNLISTED = frozenset({"mean_perplexity_ratio"})
"""Measures that a table for people leaves out, because they are easily taken for another one that
the table shows. Records, JSON and reports of protocols have them."""
QUICK_MEASURES = ("target_probability", "rephrase_probability", "neighbour_kept")
"""Measures of the edits that a quick evaluation can tell."""
QUICK_DRIFT = ("perplexity_ratio", "kl")


def load_measure(name: str) -> MeasureFunction:
    """The function of an entry, imported now. Raises UsageError for a name not in the table."""
    if name not in MEASURES:
        raise unknown("measure", name, MEASURES)
    return function_of(MEASURES[name].function)


def measure_all(now: Evaluation, before: Evaluation) -> tuple[Measure, ...]:
    """Every measure of the table; of a quick evaluation those that it can tell.

    Raises ValueError where the two evaluations have not read the same neutral texts.
    """
    if now.texts != before.texts:
        raise ValueError(f"drift on texts '{now.texts}' beside that on '{before.texts}'")
    names = (*QUICK_MEASURES, *QUICK_DRIFT) if now.quick else tuple(MEASURES)
    return tuple(load_measure(name)(now, before) for name in names)


def listed(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """The measures that a table for people shows."""
    return tuple(measure for measure in measures if measure.name not in UNLISTED)
