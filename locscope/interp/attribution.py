"""Attribution patching: the effect of patching any clean activation into a corrupted run.

To first order and from one backward pass: the effect of a node n is estimated as
(n(clean) - n(corrupted)) . d metric / d n, with the gradient at the corrupted run (denoising).
Above zero, the clean activation brings the answer back. Nanda 2023; with gradients averaged between
corrupted and clean embeddings after EAP-IG (arXiv 2403.17806); with the corrections of AtP*
(arXiv 2403.00745) for saturated attention (QK fix) and for direct and indirect effects that cancel
(GradDrop).
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, with_hooks
from locscope.interp.slopes import Activations, Endpoints, activations, at_all_layers, gradients

COMPONENTS = {
    "block": "resid_post",
    "attn": "attn_out",
    "mlp": "mlp_out",
    "head": "z",
    "attn.q": "q",
    "attn.k": "k",
    "attn.v": "v",
}
"""Scored components with their activations. The block is the residual stream behind it; the
components after `mlp` have estimates by head, k and v by key-value head."""

ENTRY = "entry"
"""The stream that enters block 0, whose integrated estimates sum to the whole effect if there are
enough steps. Shape (rows, 1, tokens)."""

Estimates = dict[str, Tensor]
"""By component the estimates of all nodes: (rows, layers, tokens), or with a last axis of heads."""


def estimated(
    hooked: HookedModel, ends: Endpoints, metric: str, steps: int = 1
) -> dict[str, Estimates]:
    """The estimates of all nodes by variant.

    Variants are `attribution`, `integrated` where there is more than one step, and `atp-star`.
    """
    hooks = at_all_layers(hooked, *COMPONENTS.values())
    # Once, also where a component is the stream that enters.
    both = list(dict.fromkeys((*hooks, hook_name("resid_pre", 0))))
    clean = activations(hooked, ends, 1.0, both)
    extra = at_all_layers(hooked, "pattern", "scores")
    corrupted = activations(hooked, ends, 0.0, [*both, *extra])
    slopes = [*hooks, *at_all_layers(hooked, "pattern")]
    # First, so that no other graph is held meanwhile.
    integrated = {}
    if steps > 1:
        integrated["integrated"] = _integrated(hooked, ends, clean, corrupted, metric, steps)
    passes = gradients(hooked, ends, 0.0, slopes, metric, drop=hooked.layers > 1)
    plain = next(passes)
    attribution = _products(hooked, clean, corrupted, plain)
    # GradDrop has nothing to drop in a model of one layer.
    dropped = passes if hooked.layers > 1 else [plain]
    corrected = _corrected(hooked, ends, clean, corrupted, dropped)
    return {"attribution": attribution, **integrated, "atp-star": corrected}


def _integrated(
    hooked: HookedModel,
    ends: Endpoints,
    clean: Activations,
    corrupted: Activations,
    metric: str,
    steps: int,
) -> Estimates:
    """With the gradient's mean over `steps` points between the embeddings (EAP-IG's `inputs`).

    Each point is at the middle of its step. The estimates of the embeddings themselves, `ENTRY`,
    sum to the metric's clean value less its corrupted one, with an error that falls with the square
    of the steps.
    """
    entry = hook_name("resid_pre", 0)
    hooks = list(dict.fromkeys((*at_all_layers(hooked, *COMPONENTS.values()), entry)))
    total: Activations = {}
    for step in range(steps):
        slopes = next(gradients(hooked, ends, (step + 0.5) / steps, hooks, metric))
        total = {name: total.get(name, 0.0) + slopes[name] / steps for name in hooks}
    whole = (_change(clean, corrupted, entry) * total[entry]).sum(-1)
    return {**_products(hooked, clean, corrupted, total), ENTRY: whole[:, None]}


def _corrected(
    hooked: HookedModel,
    ends: Endpoints,
    clean: Activations,
    corrupted: Activations,
    passes: Iterable[Activations],
) -> Estimates:
    """AtP*: QK fix and GradDrop (sections 3.1.1 and 3.1.2); never below zero.

    For queries and keys attention is computed anew, and is linear only from its pattern on. Each of
    the backward passes drops the gradient of one layer's attention and MLP; the estimate is the sum
    of the absolute values over layers - 1.
    """
    of_queries = _with_clean(hooked, ends, clean, corrupted, "q", "pattern")
    of_keys = _with_clean(hooked, ends, clean, corrupted, "k", "scores")
    total: Estimates = {}
    for slopes in passes:
        estimates = _products(hooked, clean, corrupted, slopes)
        estimates |= _fixed(hooked, corrupted, of_queries, of_keys, slopes)
        # Absolute values before they are added: effects that cancel are what GradDrop is there for.
        total = {kind: total.get(kind, 0.0) + estimates[kind].abs() for kind in estimates}
    layers = hooked.layers
    # The pass that drops a node's own layer gives nothing. The stream behind a block goes on past
    # whatever is dropped above it, so that all passes give something: there it is the mean.
    return {kind: total[kind] / max(1, layers - (kind != "block")) for kind in total}


def _change(clean: Activations, corrupted: Activations, name: str) -> Tensor:
    # In float32: half precision rounds a small change of a large activation away.
    return clean[name].float() - corrupted[name].float()


def _products(
    hooked: HookedModel, clean: Activations, corrupted: Activations, slopes: Activations
) -> Estimates:
    """(clean - corrupted) . gradient for every node."""

    def product(name: str) -> Tensor:
        return (_change(clean, corrupted, name) * slopes[name]).sum(-1)

    return {
        component: torch.stack([product(name) for name in at_all_layers(hooked, kind)], dim=1)
        for component, kind in COMPONENTS.items()
    }


def _with_clean(
    hooked: HookedModel,
    ends: Endpoints,
    clean: Activations,
    corrupted: Activations,
    kind: str,
    wanted: str,
) -> Activations:
    """The `wanted` activation of all layers with clean queries (keys) at all tokens."""

    def put(value: Tensor) -> HookFn:
        return lambda _: value.clone()

    edits = {name: put(clean[name]) for name in at_all_layers(hooked, kind)}
    # One pass serves all layers: every layer's z is put back, so that those above it see the
    # corrupted run.
    edits |= {name: put(corrupted[name]) for name in at_all_layers(hooked, "z")}
    with with_hooks(hooked, edits):
        return activations(hooked, ends, 0.0, at_all_layers(hooked, wanted))


def _fixed(
    hooked: HookedModel,
    corrupted: Activations,
    of_queries: Activations,
    of_keys: Activations,
    slopes: Activations,
) -> Estimates:
    """The estimates for queries and keys, linear from the attention pattern on."""
    queries, keys = [], []
    for layer in range(hooked.layers):
        pattern, scores = hook_name("pattern", layer), hook_name("scores", layer)
        moved = of_queries[pattern].float() - corrupted[pattern].float()
        queries.append((moved * slopes[pattern]).sum(-1).transpose(1, 2))
        single = _of_single_keys(corrupted[scores], of_keys[scores], slopes[pattern])
        shared = slopes[hook_name("k", layer)].shape[2]
        # Query heads that share a key are neighbours.
        keys.append(single.transpose(1, 2).unflatten(2, (shared, -1)).sum(-1))
    return {"attn.q": torch.stack(queries, 1), "attn.k": torch.stack(keys, 1)}


def _of_single_keys(
    scores: Float[Tensor, "rows heads seq seq"],
    patched: Float[Tensor, "rows heads seq seq"],
    slope: Float[Tensor, "rows heads seq seq"],
) -> Float[Tensor, "rows heads seq"]:
    """sum (pattern' - pattern) . slope with one key at a time patched (AtP*, algorithm 4).

    One new score moves its own weight from p to p', and all others of the row by the factor
    (1 - p') / (1 - p).
    """
    scores, patched, slope = scores.double(), patched.double(), slope.double()
    whole = scores.logsumexp(-1, keepdim=True)
    weight = (scores - whole).exp()
    new = torch.sigmoid(patched - (whole + torch.log1p(-weight)))
    others = (weight * slope).sum(-1, keepdim=True) - weight * slope
    # A token that attends to itself alone has no other weights: 0 / 0 counts as 0.
    elsewhere = others / (1 - weight).clamp_min(torch.finfo(torch.double).tiny)
    return ((new - weight) * (slope - elsewhere)).sum(-2).float()
