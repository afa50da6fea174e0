"""Sahara: the few heads whose ablation turns the representations of all requests the most.

Zhou et al. (arXiv 2410.13708): the final states of the last tokens, requests x width, untouched and
with a head ablated (it attends evenly), each have a leading left singular vector; a head's
importance is the angle between the two. A group grows greedily: given the heads it has, all ablated
together, the head that makes the angle largest joins.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from locscope.forward.prompts import final_states, prompts_of
from locscope.interp.ablation import HEAD_KINDS, attending_evenly, visit, without_each_head
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookFn, hook_name
from locscope.progress import track
from locscope.records import ScanScore
from locscope.scans.context import Findings, ScanContext

GROUP = 3
"""Heads of the group: the paper's curve peaks there."""
SETTINGS = f"queries zero at all tokens; rank 1; greedy group of up to {GROUP} heads"

Group = Bool[Tensor, "layers heads"]
"""True for the heads of the group."""


def scan(context: ScanContext) -> Findings:
    """Angles in degrees of every head on its own (`angle`), and the group (`group`).

    In `group` a head has 1 / its rank in the order of joining, 0 outside the group. Both belong to
    all requests together: there are no values of single requests and no intervals. An attention's
    score (head -1) is the mean angle of its heads, and the sum of their group scores. The host
    keeps all prompts' residual streams, and of one layer at a time the final states of
    heads x requests.
    """
    facts, info = context.facts.all, context.loaded.info
    if len(facts) < 2:
        notes = ("a direction shared by requests needs two of them", *context.facts.notes)
        return Findings((), 0, SETTINGS, notes)
    untouched = leading(_final_states(context, facts))
    ranks = torch.zeros(info.layers, info.heads, dtype=torch.float64)
    alone, steps = ranks, list[str]()
    for rank in range(1, 1 + min(GROUP, ranks.numel())):
        angles = _angles(context, facts, ranks > 0, untouched)
        alone = angles if rank == 1 else alone
        layer, head = divmod(int(angles.masked_fill(ranks > 0, -torch.inf).argmax()), info.heads)
        ranks[layer, head] = 1 / rank
        steps.append(f"L{layer} head {head} ({float(angles[layer, head]):.3g} degrees)")
    scores = [
        *_scores("angle", alone, alone.mean(1), len(facts)),
        *_scores("group", ranks, ranks.sum(1), len(facts)),
    ]
    note = f"greedy group, with the angle that it makes as it grows: {', '.join(steps)}"
    return Findings(tuple(scores), len(facts), SETTINGS, (note, *context.facts.notes))


def leading(states: Float[Tensor, "*heads requests width"]) -> Float[Tensor, "*heads requests"]:
    """The leading left singular vector, in float64."""
    # In float64: the Gram matrix squares the states, and their rounding with them.
    exact = states.double()
    # That of the Gram matrix, requests x requests, which is small: `eigh` sorts ascending.
    return torch.linalg.eigh(exact @ exact.mT).eigenvectors[..., -1]


def turned(
    first: Float[Tensor, " requests"], other: Float[Tensor, "*heads requests"]
) -> Float[Tensor, "*heads"]:
    """The angle between the lines through unit vectors, in degrees."""
    along = other @ first
    across = (other - along[..., None] * first).norm(dim=-1)
    # The arc cosine would lose the digits of small angles; the sign of a line has no meaning.
    return torch.rad2deg(torch.atan2(across, along.abs()))


def _angles(
    context: ScanContext, facts: Sequence[Fact], group: Group, untouched: Float[Tensor, " requests"]
) -> Float[Tensor, "layers heads"]:
    """The angle that each head makes together with the group."""
    streams: list[Tensor] | None = None
    angles: list[Tensor] = []
    name = f"sahara, head {int(group.sum()) + 1}"
    for layer in track(context.progress, name, range(len(group))):
        streams, states = _through(context, facts, streams, layer, group)
        angles.append(torch.stack([turned(untouched, leading(matrix)) for matrix in states]))
    return torch.stack(angles)


def _through(
    context: ScanContext,
    facts: Sequence[Fact],
    streams: Sequence[Float[Tensor, "_ width"]] | None,
    layer: int,
    group: Group,
) -> tuple[list[Float[Tensor, "_ width"]], Float[Tensor, "heads requests width"]]:
    """Runs one layer, from every request's residual stream (None at layer 0), on the host.

    Gives the streams behind it, and the final states with each of its heads ablated in addition to
    the group.
    """
    model, hooked = context.loaded.model, context.hooked
    edits = _evenly(group)

    def run(batch: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        prompts = prompts_of(hooked.bridged, [facts[i].ids for i in batch])
        before = None
        if streams is not None:
            rows = [streams[i] for i in batch]
            before = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(prompts.ids.device)
        here = visit(hooked, prompts, layer, before, HEAD_KINDS, edits)
        even = attending_evenly(hooked, here)
        states = without_each_head(model, hooked, here, even, context.tokens_at_once, edits).cpu()
        after = here.after.cpu()
        # Copies, so that no request keeps its whole batch alive.
        return [
            (after[row, : len(facts[i].ids)].clone(), states[:, row].clone())
            for row, i in enumerate(batch)
        ]

    size = lambda i: group.shape[1] * len(facts[i].ids)  # noqa: E731
    passed = context.batched("", range(len(facts)), run, size)
    after, states = zip(*passed, strict=True)
    return list(after), torch.stack(states, dim=1)


def _evenly(group: Group) -> dict[str, HookFn]:
    """The edits that make the group's heads attend evenly."""

    def zeroing(heads: Bool[Tensor, " heads"]) -> HookFn:
        def edit(query: Tensor) -> Tensor:
            query = query.clone()
            query[:, :, heads.to(query.device)] = 0.0
            return query

        return edit

    return {hook_name("q", n): zeroing(heads) for n, heads in enumerate(group) if heads.any()}


def _final_states(context: ScanContext, facts: Sequence[Fact]) -> Float[Tensor, "requests width"]:
    def run(batch: Sequence[Fact]) -> list[Tensor]:
        model = context.loaded.model
        return list(final_states(model, prompts_of(model, [fact.ids for fact in batch])).cpu())

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
