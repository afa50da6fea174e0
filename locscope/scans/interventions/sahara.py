"""Sahara: which few heads, attending evenly, turn the representations of all requests the most?

Zhou et al. (arXiv 2410.13708): the states of the last tokens behind the last block, requests x
width, untouched and with a head ablated, each have a leading left singular vector; a head's
importance is the angle between the two. A group grows greedily: given the heads it has, all
ablated together, the head that makes the angle largest joins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from locscope.forward.prompts import Prompts, final_states, prompts_of
from locscope.interp.ablation import HEAD_KINDS, attending_evenly, visit, without_each_head
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookFn, hook_name
from locscope.progress import track
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext

GROUP = 3
"""Heads of the group: the paper's curve is at its top there."""
SETTINGS = f"queries zero at all tokens; rank 1; greedy group of up to {GROUP} heads"


@dataclass(frozen=True)
class Head:
    """A head of a layer."""

    layer: int
    index: int


@dataclass(frozen=True)
class _Request:
    """A prompt, and its residual stream entering the present layer, on the host."""

    ids: tuple[int, ...]
    stream: Float[Tensor, "seq width"] | None = None


@dataclass(frozen=True)
class _Passed:
    """A request behind a layer, and its final state with each head of the layer ablated."""

    after: _Request
    states: Float[Tensor, "heads width"]


def scan(context: ScanContext) -> Findings:
    """Angles in degrees of every head on its own (`angle`), and the group (`group`: 1 / rank of
    its heads in the order in which they joined, 0 for others).

    These belong to all requests together: there are no values of single ones and no intervals. An
    attention's score (head -1) is the mean angle of its heads, and the sum of their group scores.
    The host keeps all prompts' residual streams, and of one layer at a time heads x requests x
    width final states.
    """
    facts = context.facts.all
    if len(facts) < 2:
        notes = ("a direction shared by requests needs two of them", *context.facts.notes)
        return Findings((), 0, SETTINGS, notes)
    untouched = leading(_final_states(context, facts))
    group: list[Head] = []
    found: list[Float[Tensor, "layers heads"]] = []
    for _ in range(min(GROUP, context.loaded.info.layers * context.loaded.info.heads)):
        found.append(_angles(context, facts, group, untouched))
        open_to = found[-1].clone()
        for head in group:
            open_to[head.layer, head.index] = -torch.inf
        group.append(Head(*divmod(int(open_to.argmax()), open_to.shape[1])))
    ranks = torch.zeros_like(found[0])
    for rank, head in enumerate(group, 1):
        ranks[head.layer, head.index] = 1 / rank
    scores = [
        *_scores("angle", found[0], found[0].mean(1), len(facts)),
        *_scores("group", ranks, ranks.sum(1), len(facts)),
    ]
    note = _told(group, [float(a[h.layer, h.index]) for a, h in zip(found, group, strict=True)])
    return Findings(tuple(scores), len(facts), SETTINGS, (note, *context.facts.notes))


def leading(states: Float[Tensor, "*heads requests width"]) -> Float[Tensor, "*heads requests"]:
    """The leading left singular vector, in float64: that of the requests' products."""
    exact = states.double()
    return torch.linalg.eigh(exact @ exact.mT).eigenvectors[..., -1]


def turned(
    one: Float[Tensor, " requests"], other: Float[Tensor, "*heads requests"]
) -> Float[Tensor, "*heads"]:
    """The angle between the lines of unit vectors, in degrees; small ones keep their digits."""
    along = other @ one
    across = (other - along[..., None] * one).norm(dim=-1)
    return torch.rad2deg(torch.atan2(across, along.abs()))


def _angles(
    context: ScanContext,
    facts: Sequence[Fact],
    group: Sequence[Head],
    untouched: Float[Tensor, " requests"],
) -> Float[Tensor, "layers heads"]:
    """The angle that each head makes together with the group."""
    requests = [_Request(fact.ids) for fact in facts]
    angles: list[Tensor] = []
    name = f"sahara, head {len(group) + 1}"
    for layer in track(context.progress, name, range(context.loaded.info.layers)):
        passed = _through(context, requests, layer, group)
        requests = [one.after for one in passed]
        states = torch.stack([one.states for one in passed], dim=1)
        angles.append(torch.stack([turned(untouched, leading(matrix)) for matrix in states]))
    return torch.stack(angles)


def _through(
    context: ScanContext, requests: Sequence[_Request], layer: int, group: Sequence[Head]
) -> list[_Passed]:
    """All requests through one layer, where each of its heads is ablated on top of the group."""
    model, hooked, heads = context.loaded.model, context.hooked, context.loaded.info.heads
    edits = _evenly(group)

    def run(some: Sequence[_Request]) -> list[_Passed]:
        prompts = prompts_of(hooked.bridged, [one.ids for one in some])
        here = visit(hooked, prompts, layer, _streams(prompts, some), HEAD_KINDS, edits)
        even = attending_evenly(hooked, here)
        states = without_each_head(model, hooked, here, even, context.tokens_at_once, edits).cpu()
        after = here.after.cpu()
        return [
            # Copies, so that no request keeps its whole batch alive.
            _Passed(_Request(one.ids, after[i, : len(one.ids)].clone()), states[:, i].clone())
            for i, one in enumerate(some)
        ]

    return context.batched("", requests, run, size=lambda one: heads * len(one.ids))


def _evenly(group: Sequence[Head]) -> dict[str, HookFn]:
    """The edits that make the group's heads attend evenly."""

    def zeroing(layer: int) -> HookFn:
        heads = [head.index for head in group if head.layer == layer]

        def edit(query: Tensor) -> Tensor:
            query = query.clone()
            query[:, :, heads] = 0.0
            return query

        return edit

    return {hook_name("q", layer): zeroing(layer) for layer in {head.layer for head in group}}


def _streams(prompts: Prompts, some: Sequence[_Request]) -> Float[Tensor, "batch seq width"] | None:
    rows = [one.stream for one in some if one.stream is not None]
    if not rows:
        return None
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(prompts.ids.device)


def _final_states(context: ScanContext, facts: Sequence[Fact]) -> Float[Tensor, "requests width"]:
    def run(some: Sequence[Fact]) -> list[Tensor]:
        model = context.loaded.model
        return list(final_states(model, prompts_of(model, [fact.ids for fact in some])).cpu())

    size = lambda fact: len(fact.ids)  # noqa: E731
    return torch.stack(context.batched("", facts, run, size))


def _scores(
    variant: str,
    heads: Float[Tensor, "layers heads"],
    together: Float[Tensor, " layers"],
    count: int,
) -> list[ScanScore]:
    table = torch.cat([together[:, None], heads], dim=1).tolist()
    return [
        ScanScore(variant, layer, "attn", score, head=column - 1, count=count)
        for layer, row in enumerate(table)
        for column, score in enumerate(row)
    ]


def _told(group: Sequence[Head], angles: Sequence[float]) -> str:
    steps = [
        f"L{head.layer} head {head.index} ({angle:.3g} degrees)"
        for head, angle in zip(group, angles, strict=True)
    ]
    return f"greedy group, with the angle that it makes as it grows: {', '.join(steps)}"
