"""Knowledge neurons: the MLP neurons to which the answer's probability is attributed.

Integrated gradients (Dai et al., arXiv 2104.08696, section 3.1): the activations w of a layer's
neurons at the prompt's last token are scaled by k / m, k = 1 .. m, and

    attribution of neuron i = w_i / m * sum over k of dP(answer | k / m * w) / dw_i.

The neurons of a fact are those above 0.2 of the largest attribution of all layers (section 3.2).
Variants: `share` is the share of a fact's neurons that lie in the layer, `attribution` the sum of
their attributions (in probability). The paper's second filter, to neurons that several prompts of a
fact have in common, is left out. Where a norm follows the MLP (Gemma 2 and 3) it undoes the
scaling, and a layer's attributions sum to nothing: they then tell neurons apart, not layers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from locscope.forward.blocks import run_blocks
from locscope.forward.head import logits
from locscope.forward.resume import earlier
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, with_hooks
from locscope.interp.metrics import log_probability
from locscope.models.parts import blocks
from locscope.scans.context import Findings, ScanContext
from locscope.scans.gradients.completeness import completeness_gap, gap_note

STEPS = 20
THRESHOLD = 0.2
"""The paper's m, and its share of the largest attribution."""
NAMED = 5
"""Neurons that the notes name: the commonest ones."""

NORMALISED = (
    "this model normalises what its MLPs write, which undoes the scaling of their neurons: take "
    "the shares of its layers with caution"
)


@dataclass(frozen=True)
class Neurons:
    """The knowledge neurons of one fact: layer, number and attribution (probability) of each.

    `sums` are over all neurons of every layer, also those below the threshold; `effects` are what
    they should be: the answer's probability with the layer's neurons less that without.
    """

    layers: Int[Tensor, " neurons"]
    numbers: Int[Tensor, " neurons"]
    attributions: Float[Tensor, " neurons"]
    sums: Float[Tensor, " all_layers"]
    effects: Float[Tensor, " all_layers"]


@dataclass(frozen=True)
class UntouchedRun:
    """Facts of one length, and the activations at their last token in the untouched run.

    `entering[l]` is the residual stream that enters block l, `neurons[l]` are those of its MLP;
    `answers` holds the first token of every answer, `cache` all keys and values.
    """

    ids: Int[Tensor, "facts seq"]
    answers: Int[Tensor, " facts"]
    entering: tuple[Float[Tensor, "facts 1 width"], ...]
    neurons: tuple[Float[Tensor, "facts count"], ...]
    cache: DynamicCache


def scan(context: ScanContext) -> Findings:
    """Scores of the MLPs; a fact without a neuron of positive attribution cannot be used."""
    steps = context.options.steps or STEPS
    facts = context.facts.all
    by_fact = context.batched(
        "knowledge neurons",
        facts,
        lambda batch: knowledge_neurons(context.hooked, batch, steps),
        size=lambda fact: steps * len(fact.ids),
        # Only the last token runs, against keys and values of equally many tokens before it.
        alike=lambda fact: len(fact.ids),
    )
    used = [fact.edit for fact, own in zip(facts, by_fact, strict=True) if len(own.attributions)]
    if not used:
        none = f"no neuron speaks for the answer of any of {len(facts)} facts"
        return Findings((), 0, notes=(*context.facts.notes, none))
    neurons = [own for own in by_fact if len(own.attributions)]
    layers = context.hooked.layers
    sums = torch.stack([_per_layer(own, layers) for own in neurons])
    # A share of each fact's own neurons: facts with many of them do not count for more.
    counts = torch.stack([own.layers.bincount(minlength=layers) for own in neurons]).float()
    gap = completeness_gap(
        context,
        used,
        torch.stack([own.sums for own in neurons]),
        torch.stack([own.effects for own in neurons]),
    )
    return Findings(
        scores=(
            *context.scores("share", "mlp", used, counts / counts.sum(1, keepdim=True)),
            *context.scores("attribution", "mlp", used, sums),
        ),
        usable=len(used),
        settings=f"probability of the answer's first token, {steps} steps of integrated gradients, "
        f"neurons above {THRESHOLD} of the largest attribution, no filter by rephrases",
        notes=(
            *context.facts.notes,
            *_notes(neurons, len(facts)),
            gap_note(gap, steps, "the neurons of single layers"),
            *([NORMALISED] if _normalises(context) else []),
        ),
        totals=(gap,),
    )


def knowledge_neurons(hooked: HookedModel, facts: Sequence[Fact], steps: int) -> list[Neurons]:
    """The neurons above the threshold for each of several facts of one length."""
    run = run_untouched(hooked, facts)
    rows, layers, numbers, values = [], [], [], []
    sums, effects = torch.zeros(2, len(facts), hooked.layers)
    largest = torch.zeros(len(facts), device=hooked.bridged.device)
    for layer in range(hooked.layers):
        attributions, effect = integrated_gradients(hooked, run, layer, steps)
        sums[:, layer], effects[:, layer] = attributions.sum(1).cpu(), effect.cpu()
        largest = torch.maximum(largest, attributions.amax(1))
        # The largest so far only grows: a neuron below its threshold now stays below it.
        row, number = (attributions > THRESHOLD * largest[:, None]).nonzero().unbind(1)
        rows.append(row.cpu())
        numbers.append(number.cpu())
        layers.append(torch.full_like(rows[-1], layer))
        values.append(attributions[row, number].cpu())
    row, value, limit = torch.cat(rows), torch.cat(values), THRESHOLD * largest.cpu()
    layer, number, above = torch.cat(layers), torch.cat(numbers), value > limit[row]
    masks = [above & (row == i) for i in range(len(facts))]
    return [
        Neurons(layer[mask], number[mask], value[mask], sums[i], effects[i])
        for i, mask in enumerate(masks)
    ]


@torch.no_grad()
def run_untouched(hooked: HookedModel, facts: Sequence[Fact]) -> UntouchedRun:
    """Runs facts of one length."""
    ids = torch.tensor([fact.ids for fact in facts], device=hooked.bridged.device)
    answers = torch.tensor([fact.answer[0] for fact in facts], device=hooked.bridged.device)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> HookFn:
        def edit(value: Tensor) -> None:
            # Only the last token is needed: whole activations of all layers would not fit.
            seen[name] = value[:, -1:].clone()

        return edit

    entering, neurons = (
        [hook_name(kind, layer) for layer in range(hooked.layers)]
        for kind in ("resid_pre", "neurons")
    )
    cache = DynamicCache()
    with with_hooks(hooked, {name: keep(name) for name in (*entering, *neurons)}):
        run_blocks(hooked.bridged, ids, cache=cache)
    return UntouchedRun(
        ids,
        answers,
        tuple(seen[name] for name in entering),
        tuple(seen[name][:, 0] for name in neurons),
        cache,
    )


def integrated_gradients(
    hooked: HookedModel, run: UntouchedRun, layer: int, steps: int
) -> tuple[Float[Tensor, "facts count"], Float[Tensor, " facts"]]:
    """What every neuron of a layer adds to the answer's probability, and the effect of all of them.

    Attributions are integrated from neurons at zero by right sums; the effect is measured.
    """
    # All steps and the start at zero are rows of one batch. It runs from the layer on and has the
    # last token alone: earlier tokens do not see it, so their keys and values are the untouched.
    neurons, rows = run.neurons[layer], steps + 1
    scales = torch.arange(rows, device=neurons.device).to(neurons) / steps
    points = (neurons[:, None] * scales[:, None]).flatten(0, 1).requires_grad_(True)
    ids, entering = _repeated(run.ids[:, -1:], rows), _repeated(run.entering[layer], rows)
    above = range(layer, hooked.layers)
    cache = earlier(run.cache, run.ids.shape[1] - 1, above, lambda part: _repeated(part, rows))
    with (
        torch.enable_grad(),
        with_hooks(hooked, {hook_name("neurons", layer): lambda _: points[:, None]}),
    ):
        final = run_blocks(hooked.bridged, ids, layer, entering, cache=cache)
        answers = _repeated(run.answers, rows)
        wanted = log_probability(logits(hooked.bridged, final[:, 0]), answers).exp()
    (gradient,) = torch.autograd.grad(wanted.sum(), points)
    mean = gradient.float().view(-1, rows, neurons.shape[1])[:, 1:].mean(1)
    along = wanted.detach().view(-1, rows)
    return neurons.float() * mean, along[:, -1] - along[:, 0]


def _repeated(values: Tensor, steps: int) -> Tensor:
    return values.repeat_interleave(steps, 0)


def _per_layer(neurons: Neurons, layers: int) -> Float[Tensor, " layers"]:
    """The sum of the neurons' attributions in every layer."""
    return torch.zeros(layers).index_add(0, neurons.layers, neurons.attributions)


def _normalises(context: ScanContext) -> bool:
    """Whether a norm follows the MLP before its output is added to the stream."""
    # Gemma 2 and 3 name it so; other families have no such norm.
    return hasattr(blocks(context.loaded.model)[0], "post_feedforward_layernorm")


def _notes(by_fact: Sequence[Neurons], facts: int) -> tuple[str, ...]:
    pairs = [zip(own.layers.tolist(), own.numbers.tolist(), strict=True) for own in by_fact]
    times = Counter(pair for of_fact in pairs for pair in of_fact)
    commonest = sorted(times, key=lambda pair: (-times[pair], pair))[:NAMED]
    named = ", ".join(f"L{i}.mlp neuron {n} (in {times[i, n]})" for i, n in commonest)
    mean = sum(times.values()) / len(by_fact)
    notes = (f"{mean:.1f} neurons a fact; the commonest in {len(by_fact)} facts: {named}",)
    without = facts - len(by_fact)
    return (*notes, f"{without} facts have no neuron that speaks for them") if without else notes
