"""Knowledge neurons: which neurons of the MLPs the answer's probability is owed to.

Integrated gradients (Dai et al., arXiv 2104.08696, section 3.1): the activations w of a layer's
neurons at the prompt's last token are scaled by k / m, k = 1 .. m, and

    attribution of neuron i = w_i / m * sum over k of dP(answer | k / m * w) / dw_i.

The neurons of a fact are those above 0.2 of the largest attribution of all layers (section 3.2).
Variants: `share` is the part of a fact's neurons that lies in the layer, `attribution` the sum of
theirs there (in probability). The paper's second filter, neurons that several prompts of a fact
have in common, is left out. Where a norm follows the MLP (Gemma 2 and 3) it undoes the scaling, so
that a layer's attributions sum to nothing: they then tell neurons apart, not layers.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from locscope.scans.gradients.completeness import completeness_gap, told

STEPS = 20
THRESHOLD = 0.2
NAMED = 5
"""So many of the commonest neurons are named in the notes."""

NORMALISED = (
    "this model normalises what its MLPs write, which undoes the scaling of their neurons: take "
    "the shares of its layers with caution"
)


@dataclass(frozen=True)
class Neurons:
    """The knowledge neurons of one fact: layer, number and attribution (probability) of each.

    `sums` are the attributions of all neurons of every layer, kept or not, `effects` what they
    should sum up to: the answer's probability with the layer's neurons less that without.
    """

    layers: Int[Tensor, " kept"]
    numbers: Int[Tensor, " kept"]
    attributions: Float[Tensor, " kept"]
    sums: Float[Tensor, " all_layers"]
    effects: Float[Tensor, " all_layers"]


@dataclass(frozen=True)
class Integrated:
    """What every neuron of a layer adds to the probability of the facts' answers, and what all of
    them add together, as measured."""

    attributions: Float[Tensor, "facts count"]
    effects: Float[Tensor, " facts"]


@dataclass(frozen=True)
class Untouched:
    """Facts of one length, and what stands at their last token while the model answers them.

    `entering[l]` is the residual stream that enters block l, `neurons[l]` are those of its MLP;
    `answers` holds the first token of every answer, `cache` all keys and values.
    """

    ids: Int[Tensor, "facts seq"]
    answers: Int[Tensor, " facts"]
    entering: tuple[Float[Tensor, "facts 1 width"], ...]
    neurons: tuple[Float[Tensor, "facts count"], ...]
    cache: DynamicCache


def scan(context: ScanContext) -> Findings:
    """Scores of the MLPs; a fact without a neuron that speaks for its answer cannot be used."""
    steps = context.options.steps or STEPS
    facts = context.facts.all

    def run(some: Sequence[Fact]) -> list[Neurons]:
        return knowledge_neurons(context.hooked, some, steps)

    found = context.batched(
        "knowledge neurons",
        facts,
        run,
        size=lambda fact: steps * len(fact.ids),
        alike=lambda fact: len(fact.ids),
    )
    used = {
        fact.edit: some for fact, some in zip(facts, found, strict=True) if len(some.attributions)
    }
    if not used:
        none = f"no neuron speaks for the answer of any of {len(facts)} facts"
        return Findings((), 0, notes=(*context.facts.notes, none))
    sums = torch.stack([_per_layer(some, context.hooked.layers) for some in used.values()])
    counts = torch.stack([_per_layer(_ones(some), context.hooked.layers) for some in used.values()])
    shares = counts / counts.sum(1, keepdim=True)
    gap = completeness_gap(
        context,
        list(used),
        torch.stack([some.sums for some in used.values()]),
        torch.stack([some.effects for some in used.values()]),
    )
    return Findings(
        scores=(
            *context.scores("share", "mlp", list(used), shares),
            *context.scores("attribution", "mlp", list(used), sums),
        ),
        usable=len(used),
        settings=f"probability of the answer's first token, {steps} steps of integrated gradients, "
        f"neurons above {THRESHOLD} of the largest attribution, no filter by rephrases",
        notes=(
            *context.facts.notes,
            *_notes(list(used.values()), len(facts)),
            told(gap, steps, "the neurons of single layers"),
            *([NORMALISED] if _normalises(context) else []),
        ),
        totals=(gap,),
    )


def knowledge_neurons(hooked: HookedModel, facts: Sequence[Fact], steps: int) -> list[Neurons]:
    """The neurons above the threshold of every one of some facts of one length."""
    run = run_untouched(hooked, facts)
    rows, layers, numbers, values = [], [], [], []
    sums, effects = torch.zeros(2, len(facts), hooked.layers)
    largest = torch.zeros(len(facts), device=hooked.bridged.device)
    for layer in range(hooked.layers):
        one = integrated_gradients(hooked, run, layer, steps)
        attributions = one.attributions
        sums[:, layer], effects[:, layer] = attributions.sum(1).cpu(), one.effects.cpu()
        largest = torch.maximum(largest, attributions.amax(1))
        # The largest so far only grows: what is below its threshold now will be in the end.
        row, number = (attributions > THRESHOLD * largest[:, None]).nonzero().unbind(1)
        rows.append(row.cpu())
        numbers.append(number.cpu())
        layers.append(torch.full_like(rows[-1], layer))
        values.append(attributions[row, number].cpu())
    row, value, limit = torch.cat(rows), torch.cat(values), THRESHOLD * largest.cpu()
    layer, number, kept = torch.cat(layers), torch.cat(numbers), value > limit[row]
    mine = [kept & (row == i) for i in range(len(facts))]
    return [
        Neurons(layer[some], number[some], value[some], sums[i], effects[i])
        for i, some in enumerate(mine)
    ]


@torch.no_grad()
def run_untouched(hooked: HookedModel, facts: Sequence[Fact]) -> Untouched:
    """Runs some facts of one length."""
    ids = torch.tensor([fact.ids for fact in facts], device=hooked.bridged.device)
    answers = torch.tensor([fact.answer[0] for fact in facts], device=hooked.bridged.device)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> HookFn:
        def edit(value: Tensor) -> None:
            seen[name] = value[:, -1:].clone()

        return edit

    entering, neurons = (
        [hook_name(kind, layer) for layer in range(hooked.layers)]
        for kind in ("resid_pre", "neurons")
    )
    cache = DynamicCache()
    with with_hooks(hooked, {name: keep(name) for name in (*entering, *neurons)}):
        run_blocks(hooked.bridged, ids, cache=cache)
    return Untouched(
        ids,
        answers,
        tuple(seen[name] for name in entering),
        tuple(seen[name][:, 0] for name in neurons),
        cache,
    )


def integrated_gradients(hooked: HookedModel, run: Untouched, layer: int, steps: int) -> Integrated:
    """What every neuron adds to the probability of the answer on the way from zero, by right sums.

    All steps and the start of the way run as rows of one batch, from the layer on, and of the last
    token alone: the tokens before it do not see it, so that their keys and values are those of the
    untouched run.
    """
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
    return Integrated(neurons.float() * mean, along[:, -1] - along[:, 0])


def _repeated(values: Tensor, steps: int) -> Tensor:
    return values.repeat_interleave(steps, 0)


def _ones(neurons: Neurons) -> Neurons:
    return replace(neurons, attributions=torch.ones_like(neurons.attributions))


def _per_layer(neurons: Neurons, layers: int) -> Float[Tensor, " layers"]:
    """The sum of the neurons' attributions in every layer."""
    return torch.zeros(layers).index_add(0, neurons.layers, neurons.attributions)


def _normalises(context: ScanContext) -> bool:
    """Whether a norm follows the MLP before its output is added to the stream."""
    return hasattr(blocks(context.loaded.model)[0], "post_feedforward_layernorm")


def _notes(found: Sequence[Neurons], asked: int) -> tuple[str, ...]:
    pairs = [zip(one.layers.tolist(), one.numbers.tolist(), strict=True) for one in found]
    times = Counter(pair for some in pairs for pair in some)
    commonest = sorted(times, key=lambda pair: (-times[pair], pair))[:NAMED]
    named = ", ".join(f"L{i}.mlp neuron {n} (in {times[i, n]})" for i, n in commonest)
    mean = sum(times.values()) / len(found)
    notes = (f"{mean:.1f} neurons a fact; the commonest in {len(found)} facts: {named}",)
    without = asked - len(found)
    return (*notes, f"{without} facts have no neuron that speaks for them") if without else notes
