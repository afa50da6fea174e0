"""What a reader wants to know first: where, at what rate, for what, with what effect, how sure."""

from collections.abc import Iterable

from locscope.locations import Location, Site
from locscope.records import Contender, Deployment, Measure
from locscope.report.data import words
from locscope.report.data.inputs import ReportInputs

PART_WORDS = {
    "block": "the whole block",
    "attn": "attention (all four projections)",
    "attn.q": "the query projection of attention",
    "attn.k": "the key projection of attention",
    "attn.v": "the value projection of attention",
    "attn.o": "the output projection of attention",
    "mlp": "the whole MLP",
    "mlp.gate": "the gate projection of the MLP",
    "mlp.up": "the up projection of the MLP",
    "mlp.down": "the down projection of the MLP",
}


def headline(inputs: ReportInputs) -> str:
    """Where to tune in a few words; empty where nothing is recommended."""
    recommendation = inputs.recommendation
    if recommendation is None or inputs.best is None:
        return ""
    made = recommendation.deployment or inputs.best
    return f"Tune {made.location} at learning rate {words.rate(recommendation.recipe.lr)}"


def answers(inputs: ReportInputs) -> tuple[tuple[str, str], ...]:
    """Questions with their answers, each in a line; none where nothing is recommended."""
    recommendation, best = inputs.recommendation, inputs.best
    if recommendation is None or best is None:
        return ()
    made, recipe = recommendation.deployment or best, recommendation.recipe
    how = f"{recipe.kind} tuning, learning rate {words.rate(recipe.lr)}, batch {recipe.batch}, "
    return (
        ("Where", _where(inputs, made)),
        ("How", f"{how[:1].upper()}{how[1:]}at most {recipe.epochs} epochs"),
        ("For", _edits(inputs, made)),
        ("What it does", words.sentence(_effect(made.measures))),
        ("How sure", words.sentence(_certainty(inputs, best))),
    )


def site_in_words(site: Site, layers: int) -> str:
    """What a site is of the model.

    Example:
        >>> site_in_words(Location.parse("L5-9.mlp").sites[0], 12)
        'the whole MLP of layers 5 to 9 (of 0 to 11)'
    """
    part = PART_WORDS.get(site.part, site.part)
    if site.head is not None:
        part = f"head {site.head} of attention"
    one = site.first == site.last
    where = f"layer {site.first}" if one else f"layers {site.first} to {site.last}"
    return f"{part} of {where} (of 0 to {layers - 1})"


def _where(inputs: ReportInputs, made: Contender | Deployment) -> str:
    model = inputs.run.model
    sites = Location.parse(str(made.location)).sites
    named = "; ".join(site_in_words(site, model.layers) for site in sites)
    share = made.parameter_count / model.parameters if model.parameters else 0
    weights = f"{words.millions(made.parameter_count)} weights, {share:.2%} of the model"
    return f"{made.location}: {named}; {weights}"


def _edits(inputs: ReportInputs, made: Contender | Deployment) -> str:
    if isinstance(made, Deployment):
        few = f" of the {made.given:,}" if made.edits < made.given else ""
        return f"{made.edits:,}{few} edits of {inputs.run.edits}, all tuned at once"
    return f"held-out edits of {inputs.run.edits}, {made.edits} at a time"


def _effect(measures: Iterable[Measure]) -> str:
    named = {measure.name: measure for measure in measures if measure.value == measure.value}
    said = [
        f"{words_for} {named[name].value:.1%}{_before(named[name])}"
        for name, words_for in (
            ("reliability", "new answer given"),
            ("generalization", "after a rephrase"),
            ("locality", "neighbours kept"),
        )
        if name in named
    ]
    if "perplexity_ratio" in named:
        said.append(f"perplexity of other text × {words.number(named['perplexity_ratio'].value)}")
    return ", ".join(said) or "not measured"


def _before(measure: Measure) -> str:
    # Locality is against the untouched model itself, whose own is 1 by definition.
    if measure.before != measure.before or measure.name == "locality":
        return ""
    return f" (was {measure.before:.1%})"


def _certainty(inputs: ReportInputs, best: Contender) -> str:
    recommendation = inputs.recommendation
    bounds = words.interval(best.low, best.high) or "no interval"
    said = [f"held out, score {words.number(best.score)} {bounds} on {best.edits} edits at a time"]
    margins = {m.over: m for m in recommendation.margins} if recommendation else {}
    for over, m in margins.items():
        if m.value == m.value:
            unclear = m.low <= 0 <= m.high
            verdict = "a tie" if unclear else ("better" if m.value > 0 else "worse")
            name = m.location if over == "random" else f"the {over} {m.location}"
            said.append(f"against {name}: {verdict} ({m.value:+.3f})")
    return "; ".join(said)
