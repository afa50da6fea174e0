"""Corrupted prompts: what a fact becomes when the model cannot know its subject.

`swap` puts another subject of as many tokens in its place (one sample); `noise` adds Gaussian noise
to the subject's embeddings (many samples), as ROME does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from locscope.engine.blocks import logits, run_blocks
from locscope.engine.facts import Fact
from locscope.engine.lens import Edit, Lens, place, recorded
from locscope.engine.memory import in_batches
from locscope.records import ScanOptions

PARTNERS = 6
"""Subjects that are tried in a swap until the model's answer changes."""
ROME_SEED = 1


@dataclass(frozen=True)
class Pair:
    """A fact with a corrupted prompt of the same length; `foil` is what the model says to it."""

    fact: Fact
    ids: tuple[int, ...]
    foil: int


def swapped(
    lens: Lens, facts: Sequence[Fact], seed: int, tokens_at_once: int = 16384
) -> tuple[Pair, ...]:
    """The facts that have a partner: a subject of as many tokens that changes the answer.

    Partners in the same relation come first. The first of at most `PARTNERS` whose top token is
    not the answer's is taken; a fact without one is left out.
    """
    tried = [(fact, ids) for fact in facts for ids in _partners(fact, facts, seed)]
    tops = top_tokens(lens, [ids for _, ids in tried], tokens_at_once)
    found: dict[str, Pair] = {}
    for (fact, ids), top in zip(tried, tops, strict=True):
        if fact.edit not in found and top != fact.answer[0]:
            found[fact.edit] = Pair(fact, ids, top)
    return tuple(found[fact.edit] for fact in facts if fact.edit in found)


def _partners(fact: Fact, facts: Sequence[Fact], seed: int) -> list[tuple[int, ...]]:
    """The fact's prompt with the subjects of others, the likeliest partners first."""
    first, stop = fact.span
    own = fact.ids[first:stop]
    others: dict[tuple[int, ...], tuple[bool, bool]] = {}
    for other in facts:
        a, b = other.span
        subject = other.ids[a:b]
        if len(subject) == len(own) and subject != own:
            rank = (other.relation != fact.relation, (a == 0) != (first == 0))
            others[subject] = min(rank, others.get(subject, (True, True)))
    order = np.random.default_rng([seed, *fact.ids]).permutation(len(others))
    shuffled = [list(others)[i] for i in order]
    chosen = sorted(shuffled, key=others.__getitem__)[:PARTNERS]
    return [fact.ids[:first] + subject + fact.ids[stop:] for subject in chosen]


@torch.no_grad()
def top_tokens(
    lens: Lens, prompts: Sequence[tuple[int, ...]], tokens_at_once: int = 16384
) -> list[int]:
    """The token that the model puts first after every prompt."""

    def run(some: Sequence[tuple[int, ...]]) -> list[int]:
        ids, last = padded(some, lens.twin.device)
        hidden = run_blocks(lens.twin, ids)
        return logits(lens.twin, at_last(hidden, last)).argmax(-1).tolist()

    return in_batches(prompts, run, size=len, tokens_at_once=tokens_at_once)


def padded(
    prompts: Sequence[Sequence[int]], device: torch.device
) -> tuple[Int[Tensor, "batch seq"], Int[Tensor, " batch"]]:
    """Prompts as right-padded ids, and the index of each one's last token."""
    rows = [torch.as_tensor(list(prompt)) for prompt in prompts]
    last = torch.tensor([len(row) - 1 for row in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device), last.to(device)


def at_last(
    values: Float[Tensor, "batch seq *rest"], last: Int[Tensor, " batch"]
) -> Float[Tensor, "batch *rest"]:
    """The values of every row at its last token."""
    return values[torch.arange(len(last), device=values.device), last]


@torch.no_grad()
def noise_scale(lens: Lens, facts: Sequence[Fact], multiple: float) -> float:
    """So many standard deviations of the model's own embeddings of the facts' subjects."""
    tokens = torch.tensor([[t for f in facts for t in f.ids[f.span[0] : f.span[1]]]])
    with recorded(lens, place("embed")) as seen:
        run_blocks(lens.twin, tokens.to(lens.twin.device), stop=1)
    return multiple * float(seen[place("embed")].float().std())


def subject_noise(
    fact: Fact, width: int, scale: float, options: ScanOptions, seed: int
) -> Float[Tensor, "samples span width"]:
    """Noise for the subject's embeddings, drawn on the CPU so that all devices see the same.

    The stream `rome` is that of ROME's code: seed 1 anew for every fact, float64 normals.
    """
    first, stop = fact.span
    own = [seed, *fact.ids] if options.stream == "own" else ROME_SEED
    drawn = np.random.RandomState(own).randn(options.samples, stop - first, width)
    return (scale * torch.from_numpy(drawn)).float()


def corrupting(noise: Float[Tensor, "samples span width"], first: int) -> dict[str, Edit]:
    """The edit of the embeddings that adds the noise from token `first` on."""

    def add(value: Tensor) -> Tensor:
        value = value.clone()
        value[:, first : first + noise.shape[1]] += noise.to(value)
        return value

    return {place("embed"): add}
