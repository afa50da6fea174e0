"""Localisation scans: the table of all of them.

A scan is a function from a `ScanContext` to `Findings`. A new one is one file in the folder of its
kind (`gradients`, `interventions`, `readouts`) and one entry in `SCANS`; results carry the entry,
so a report needs nothing of this package. The table is plain data: nothing of torch is imported
with it.
"""

from locscope.models.families import EXPERTS, LATENT
from locscope.records import Descriptor
from locscope.scans.cost import NAMES, passes


def _entry(
    name: str,
    function: str,
    title: str,
    *,
    note: str,
    source: str,
    cost: str,
    passes: str,
    sign: int = 1,
    blind: tuple[str, ...] = (),
) -> Descriptor:
    path = f"locscope.scans.{function}"
    return Descriptor(name, title, note, source, path, sign, cost, passes, blind)


# TransformerLens cuts what heads of latent attention write by a wrong width, and of a mixture the
# experts' units are not seen: what stands in their place is the output of all experts.
_HEADS, _NEURONS = (LATENT,), (EXPERTS,)


SCANS: dict[str, Descriptor] = {
    entry.name: entry
    for entry in (
        _entry(
            "causal-tracing",
            "interventions.causal_tracing:scan",
            "Causal tracing",
            note="how much of the answer comes back when one clean state is restored in a run "
            "whose subject is corrupted; high: this state carries the fact; a location is scored "
            "at the last subject token, attn at the last token of the prompt",
            source="ROME (arXiv 2202.05262, section 2; code causal_trace.py)",
            cost="about a forward pass per token, layer and sample, from the restored layer on",
            passes="3 + 0.5 * tokens * samples * layers",
            blind=_HEADS,
        ),
        _entry(
            "attribution-patching",
            "gradients.attribution_patching:scan",
            "Attribution patching",
            note="first-order estimate of what patching the clean state into the corrupted run "
            "does; above zero: the state speaks for the answer, below: against it",
            source="Nanda 2023; AtP* (arXiv 2403.00745); EAP-IG (arXiv 2403.17806)",
            cost="some forward passes, a backward pass per layer, forward and backward per step",
            passes="13 + 2 * layers + 3 * steps",
            blind=_HEADS,
        ),
        _entry(
            "weight-gradient",
            "gradients.weight_gradient:scan",
            "Weight gradient",
            note="how strongly the loss of the edits pulls at each location's weights before any "
            "tuning; high: a small step there changes the edits most; neutral-ratio: as "
            "compared with neutral text's pull, neutral-cosine: above zero where both pull alike",
            source="first-order saliency; |w g| after Molchanov et al. (arXiv 1906.10771)",
            cost="a forward and a backward pass over each edit, alone, and over neutral texts",
            passes="6 + 3 * neutral",
        ),
        _entry(
            "head-ablation",
            "interventions.head_ablation:scan",
            "Head ablation",
            note="what the answer loses when a head is silenced; above zero: the head is needed; "
            "attn sums up its heads, without sign",
            source="exact ablation; resample after Chan et al. 2022 (causal scrubbing)",
            cost="a forward pass per head, from its layer on",
            passes="1 + 0.5 * layers * heads",
            blind=_HEADS,
        ),
        _entry(
            "head-gradient",
            "gradients.head_gradient:scan",
            "Head gradient",
            note="first-order estimate of head ablation; above zero: the head is needed; attn sums "
            "up its heads, without sign",
            source="Michel et al. (arXiv 1905.10650), with sign",
            cost="three forward and two backward passes",
            passes="7",
            blind=_HEADS,
        ),
        _entry(
            "mlp-ablation",
            "interventions.mlp_ablation:scan",
            "MLP ablation",
            note="what the answer loses when an MLP is silenced; above zero: the MLP is needed",
            source="exact ablation; resample after Chan et al. 2022 (causal scrubbing)",
            cost="a forward pass per layer, from that layer on",
            passes="1 + 0.5 * layers",
        ),
        _entry(
            "knowledge-neurons",
            "gradients.knowledge_neurons:scan",
            "Knowledge neurons",
            note="share of the neurons with the highest integrated gradient that lie in each MLP; "
            "high: many of the fact's neurons are here",
            source="Dai et al. (arXiv 2104.08696)",
            cost="forward and backward of one token per layer and integration step, from that "
            "layer on",
            passes="2 + 30 * layers / tokens",
            blind=_NEURONS,
        ),
        _entry(
            "ships",
            "interventions.ships:scan",
            "Ships: shift of the answer's distribution",
            note="KL(untouched || head attends evenly) at the last token; high: the head decides; "
            "attn is the mean of its heads",
            source="Ships and Sahara (arXiv 2410.13708), query heads set to zero",
            cost="a forward pass per head, from its layer on",
            passes="1 + 0.5 * layers * heads",
            blind=_HEADS,
        ),
        _entry(
            "sahara",
            "interventions.sahara:scan",
            "Sahara: shift of the representations",
            note="angle (degrees) by which the subspace of final states turns when a head attends "
            "evenly, and the group found greedily; high: the head shapes the answers",
            source="Ships and Sahara (arXiv 2410.13708), greedy group",
            cost="a forward pass per head, from its layer on, for every head of the group",
            passes="1 + 1.5 * layers * heads",
            blind=_HEADS,
        ),
        _entry(
            "lofit-heads",
            "gradients.lofit_heads:scan",
            "LoFiT heads",
            note="norm of a scale learned on each head's output under an L1 penalty, while all "
            "weights are frozen; high: the edits want this head changed",
            source="LoFiT (arXiv 2406.01563), step A",
            cost="five epochs of training one vector per head",
            passes="15",
            blind=_HEADS,
        ),
        _entry(
            "stealth-dimension",
            "readouts.stealth_dimension:scan",
            "Stealth dimension",
            note="intrinsic dimension of the MLP's inputs: high means that one prompt can be "
            "changed there with few others noticing; capped by the number of texts",
            source="Stealth edits (arXiv 2406.12670)",
            cost="a forward pass over the prompts and two over the neutral texts",
            passes="1 + 2 * neutral",
        ),
        _entry(
            "probe",
            "readouts.probe:scan",
            "Probe",
            note="how much better than the commonest answer a linear probe reads the old answer "
            "from the state after each layer (cross-validated); above zero: it can be read",
            source="linear probing (Alain and Bengio, arXiv 1610.01644)",
            cost="a forward pass over prompts, rephrases and neighbours, and five logistic "
            "regressions per layer",
            passes="1",
        ),
        _entry(
            "logit-lens",
            "readouts.logit_lens:scan",
            "Logit lens",
            note="log-probability of the answer if the model stopped after this layer, as gained "
            "over the layer before; above zero: the answer appears here",
            source="nostalgebraist 2020; TransformerLens logit_lens",
            cost="one forward pass and the head per layer",
            passes="2",
        ),
        _entry(
            "direct-logit-attribution",
            "readouts.direct_logit_attribution:scan",
            "Direct logit attribution",
            note="what each component writes itself in the direction of the answer against its "
            "rival, in logits; above zero: it writes the answer",
            source="Elhage et al. 2021, with the final norm's scale held",
            cost="two forward passes",
            passes="2",
            blind=_HEADS,
        ),
        _entry(
            "dropout-kl",
            "gradients.dropout_kl:scan",
            "Dropout KL",
            note="how strongly the agreement of two passes with dropout depends on each unit; "
            "high: general ability leans on this location, so that tuning it costs more",
            source="CoFiTune (arXiv 2404.10306), absolute gradients per text, no labels",
            cost="two forward passes over neutral texts and a backward pass through both",
            passes="6 * neutral",
            sign=-1,
            blind=(*_NEURONS, *_HEADS),
        ),
        _entry(
            "step-forecast",
            "gradients.step_forecast:scan",
            "Step forecast",
            note="gain on rephrases over damage to neighbours of Adam's first step here, to first "
            "order; high: the edits go in with little else moved; a hypothesis",
            source="locscope",
            cost="a forward and a backward pass per edit, rephrase and neighbour",
            passes="3 * asked",
            blind=(EXPERTS,),
        ),
        _entry(
            "depth-rule",
            "controls:depth_rule",
            "Depth rule",
            note="nearness of the layer to the depth that LocFT-BF took for other models",
            source="LocFT-BF (arXiv 2509.22072), proportional transfer",
            cost="nothing",
            passes="0",
        ),
        _entry(
            "random",
            "controls:random",
            "Random",
            note="a random number: what a scan must beat",
            source="the null",
            cost="nothing",
            passes="0",
        ),
    )
}


CHEAP_PASSES = 10
"""A cheap scan takes at most so many forward passes over a request, whatever the model's size."""


def is_cheap(name: str) -> bool:
    """Whether a scan's cost is low and grows neither with the model's size nor with its prompts."""
    # So large that a formula which names one of the four sizes lies above the bound.
    large = {**dict.fromkeys(NAMES, 1e6), "neutral": 1.0, "samples": 1.0, "steps": 1.0}
    return passes(SCANS[name].passes, large) <= CHEAP_PASSES
