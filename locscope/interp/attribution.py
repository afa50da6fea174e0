"""Attribution patching: what patching any clean activation into a corrupted run would do, to first
order, from one backward pass.

The effect of a node n is estimated as (n(clean) - n(corrupted)) . d metric / d n, the gradient
taken at the corrupted run (denoising): above zero, the clean activation brings the answer back.
Nanda 2023; averaged along the way from corrupted to clean embeddings after EAP-IG
(arXiv 2403.17806); with the corrections of AtP* (arXiv 2403.00745) for attention that is saturated
(QK fix) and for direct and indirect effects that cancel (GradDrop).
"""

from collections.abc import Iterable
from dataclasses import dataclass

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
"""What is scored, and its activation. The block is the residual stream behind it; those after
`mlp` are told by head: k and v by key-value head, as many as there are."""

ENTRY = "entry"
"""The stream that enters block 0: of its tokens the integrated estimates sum up to the whole effect
if there are enough steps. Shape (rows, 1, tokens)."""

Estimates = dict[str, Tensor]
"""By component, the estimate of every node: (rows, layers, tokens), or with heads behind."""


@dataclass(frozen=True)
class Seen:
    """Activations of the clean and of the corrupted run."""

    clean: Activations
    corrupted: Activations

    def change(self, name: str) -> Tensor:
        """Clean less corrupted."""
        return self.clean[name].float() - self.corrupted[name].float()


def estimated(
    hooked: HookedModel, ends: Endpoints, metric: str, steps: int = 1
) -> dict[str, Estimates]:
    """The estimates of every node by variant: `attribution`, `integrated` where there is more than
    one step, `atp-star`."""
    hooks = at_all_layers(hooked, *COMPONENTS.values())
    # Once, also where a component is the stream that enters.
    both = list(dict.fromkeys((*hooks, hook_name("resid_pre", 0))))
    clean = activations(hooked, ends, 1.0, both)
    extra = at_all_layers(hooked, "pattern", "scores")
    seen = Seen(clean, activations(hooked, ends, 0.0, [*both, *extra]))
    slopes = [*hooks, *at_all_layers(hooked, "pattern")]
    # First, so that no other graph is held meanwhile.
    more = {"integrated": _integrated(hooked, ends, seen, metric, steps)} if steps > 1 else {}
    passes = gradients(hooked, ends, 0.0, slopes, metric, drop=hooked.layers > 1)
    plain = next(passes)
    found = {"attribution": _products(hooked, seen, plain), **more}
    return found | {
        "atp-star": _corrected(hooked, ends, seen, passes if hooked.layers > 1 else [plain])
    }


def _integrated(
    hooked: HookedModel, ends: Endpoints, seen: Seen, metric: str, steps: int
) -> Estimates:
    """With the gradient's mean over `steps` points on the straight way between the embeddings
    (EAP-IG's `inputs`), each at the middle of its stretch.

    Of the embeddings, the way's own ends, the estimates sum up to the metric's clean value less
    its corrupted one, with an error that falls with the square of the steps: they are told as
    `ENTRY`, so that it can be seen.
    """
    entry = hook_name("resid_pre", 0)
    hooks = list(dict.fromkeys((*at_all_layers(hooked, *COMPONENTS.values()), entry)))
    total: Activations = {}
    for step in range(steps):
        found = next(gradients(hooked, ends, (step + 0.5) / steps, hooks, metric))
        total = {name: total.get(name, 0.0) + found[name] / steps for name in hooks}
    way = (seen.change(entry) * total[entry]).sum(-1)
    return {**_products(hooked, seen, total), ENTRY: way[:, None]}


def _corrected(
    hooked: HookedModel, ends: Endpoints, seen: Seen, passes: Iterable[Activations]
) -> Estimates:
    """AtP*: QK fix and GradDrop (sections 3.1.1 and 3.1.2); never below zero.

    For queries and keys attention is computed anew, and is linear only from its pattern on. Then
    one backward pass for every layer, in which that layer's attention and MLP let no gradient
    through; the estimate is the sum of the absolute values over layers - 1, as the pass of a node's
    own layer gives nothing. No pass takes everything from the stream behind a block, as it goes on
    past whatever is dropped above: there it is the mean. Models of one layer have nothing to drop.
    """
    attention = _attention(hooked, ends, seen)
    total: Estimates = {}
    for slopes in passes:
        found = _products(hooked, seen, slopes) | _fixed(hooked, attention, slopes)
        total = {kind: total.get(kind, 0.0) + found[kind].abs() for kind in found}
    layers = hooked.layers
    return {kind: total[kind] / max(1, layers - (kind != "block")) for kind in total}


def _products(hooked: HookedModel, seen: Seen, slopes: Activations) -> Estimates:
    """Change . gradient for every node."""
    return {
        component: torch.stack(
            [(seen.change(name) * slopes[name]).sum(-1) for name in at_all_layers(hooked, kind)],
            dim=1,
        )
        for component, kind in COMPONENTS.items()
    }


@dataclass(frozen=True)
class _Attention:
    """Of every layer in the corrupted run: the pattern, and what it becomes with clean queries; the
    masked scores, and what they become with clean keys."""

    pattern: tuple[Float[Tensor, "rows heads seq seq"], ...]
    of_queries: tuple[Float[Tensor, "rows heads seq seq"], ...]
    scores: tuple[Float[Tensor, "rows heads seq seq"], ...]
    of_keys: tuple[Float[Tensor, "rows heads seq seq"], ...]


def _attention(hooked: HookedModel, ends: Endpoints, seen: Seen) -> _Attention:
    queries = _patched(hooked, ends, seen, "q", "pattern")
    keys = _patched(hooked, ends, seen, "k", "scores")
    pattern, scores = at_all_layers(hooked, "pattern"), at_all_layers(hooked, "scores")
    own = seen.corrupted
    return _Attention(
        tuple(own[name] for name in pattern), queries, tuple(own[name] for name in scores), keys
    )


def _patched(
    hooked: HookedModel, ends: Endpoints, seen: Seen, kind: str, wanted: str
) -> tuple[Tensor, ...]:
    """An activation of attention with clean queries (keys) at all tokens, in all layers at once:
    every layer's z is put back, so that the layers above it see the corrupted run."""

    def put(value: Tensor) -> HookFn:
        return lambda _: value.clone()

    edits = {name: put(seen.clean[name]) for name in at_all_layers(hooked, kind)}
    edits |= {name: put(seen.corrupted[name]) for name in at_all_layers(hooked, "z")}
    with with_hooks(hooked, edits):
        found = activations(hooked, ends, 0.0, at_all_layers(hooked, wanted))
    return tuple(found[name] for name in at_all_layers(hooked, wanted))


def _fixed(hooked: HookedModel, attention: _Attention, slopes: Activations) -> Estimates:
    """The estimates for queries and keys, linear from the attention pattern on."""
    queries, keys = [], []
    for layer in range(hooked.layers):
        slope = slopes[hook_name("pattern", layer)]
        moved = attention.of_queries[layer].float() - attention.pattern[layer].float()
        queries.append((moved * slope).sum(-1).transpose(1, 2))
        single = _of_single_keys(attention.scores[layer], attention.of_keys[layer], slope)
        shared = slopes[hook_name("k", layer)].shape[2]
        # Query heads that share a key lie side by side.
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
    # A token that sees nothing but itself cannot look elsewhere: 0 over 0 stands for 0.
    elsewhere = others / (1 - weight).clamp_min(torch.finfo(torch.double).tiny)
    return ((new - weight) * (slope - elsewhere)).sum(-2).float()
