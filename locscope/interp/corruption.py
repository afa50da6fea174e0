"""Corrupted prompts: facts from which the model cannot tell the subject.

`swap` replaces the subject by another of as many tokens (one sample); `noise` adds Gaussian noise
to the subject's embeddings (many samples), as ROME does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from locscope.errors import unknown
from locscope.forward.blocks import run_blocks
from locscope.forward.prompts import top_tokens
from locscope.interp.facts import Fact
from locscope.interp.hooked_model import HookedModel, HookFn, hook_name, recording
from locscope.records import ScanOptions

PARTNERS = 6
"""Most subjects that a swap tries until the model's answer changes."""
ROME_SEED = 1
"""The seed of ROME's code, which it sets anew for every fact."""
CORRUPTIONS = {"swap": "a subject of as many tokens", "noise": "noise on the subject"}


@dataclass(frozen=True)
class CorruptedPair:
    """A fact with its corrupted prompt of the same length, and the distractor of its answer.

    Noise for the embeddings of its subject has one corrupted run per sample, drawn from `seed` and
    multiplied by `scale`; without a seed (a swap) there is none.
    """

    fact: Fact
    ids: tuple[int, ...]
    distractor: int
    samples: int = 1
    scale: float = 0.0
    seed: int | tuple[int, ...] | None = None

    def noise(self, width: int) -> Float[Tensor, "samples span width"]:
        """The noise for its subject, zeros for a swap."""
        shape = self.samples, self.fact.span[1] - self.fact.span[0], width
        if self.seed is None:
            return torch.zeros(shape)
        # Drawn whenever a batch needs it, as that of thousands of facts would take gigabytes; on
        # the CPU, so that all devices see the same.
        # RandomState, and no newer generator: ROME's numbers rest on its stream.
        drawn = np.random.RandomState(self.seed).randn(*shape)
        return (self.scale * torch.from_numpy(drawn)).float()


def corruption_named(name: str, default: str) -> str:
    """The corruption that an option names, or a scan's own.

    Raises UsageError where there is no corruption of that name.
    """
    chosen = default if name == "default" else name
    if chosen not in CORRUPTIONS:
        raise unknown("corruption", chosen, CORRUPTIONS)
    return chosen


def swapped(
    hooked: HookedModel, facts: Sequence[Fact], seed: int, tokens_at_once: int = 16384
) -> tuple[CorruptedPair, ...]:
    """The facts that have a partner: another subject of as many tokens that changes the answer.

    Partners in the same relation come first. Of at most `PARTNERS` the first is taken whose top
    token is not the answer's; that token is the distractor. A fact without one is left out.
    """
    trials = [(fact, ids) for fact in facts for ids in _partners(fact, facts, seed)]
    # All partners of all facts at once, though most facts need one: batches are full that way.
    tops = top_tokens(hooked.bridged, [ids for _, ids in trials], tokens_at_once)
    pairs: dict[str, CorruptedPair] = {}
    for (fact, ids), top in zip(trials, tops, strict=True):
        if fact.edit not in pairs and top != fact.answer[0]:
            pairs[fact.edit] = CorruptedPair(fact, ids, top)
    return tuple(pairs[fact.edit] for fact in facts if fact.edit in pairs)


def left_out(facts: Sequence[Fact], used: Sequence[CorruptedPair]) -> tuple[str, ...]:
    """A note of how many facts could not be corrupted, if there are any."""
    lost = len(facts) - len(used)
    if not lost:
        return ()
    return (
        f"{lost} of {len(facts)} facts were not used: no other subject of as many tokens changes "
        "the answer (--corruption noise needs none)",
    )


def _partners(fact: Fact, facts: Sequence[Fact], seed: int) -> list[tuple[int, ...]]:
    """The fact's prompt with the subjects of others, the likeliest partners first."""
    first, stop = fact.span
    own = fact.ids[first:stop]
    others: dict[tuple[int, ...], bool] = {}
    for other in facts:
        subject = other.ids[slice(*other.span)]
        # Many tokenizers encode a word behind a space and one at the beginning in different ways.
        if len(subject) == len(own) and subject != own and other.spaced == fact.spaced:
            stranger = other.relation != fact.relation
            others[subject] = stranger and others.get(subject, True)
    order = np.random.default_rng([seed, *fact.ids]).permutation(len(others))
    shuffled = [list(others)[i] for i in order]
    # Sorting keeps the drawn order among partners that are equally likely.
    chosen = sorted(shuffled, key=others.__getitem__)[:PARTNERS]
    return [fact.ids[:first] + subject + fact.ids[stop:] for subject in chosen]


def noised(
    hooked: HookedModel,
    facts: Sequence[Fact],
    distractors: Mapping[str, int],
    options: ScanOptions,
    seed: int,
    every_subject: Sequence[Sequence[int]],
) -> tuple[CorruptedPair, ...]:
    """The facts whose edits have a distractor, with noise scaled by their subjects' embeddings.

    The stream `own` measures the facts' subjects as they stand in their prompts. `rome` measures
    `every_subject`: those of all edits, scanned or not, tokenised alone, as ROME's
    `collect_embedding_std` takes those of the whole data set.
    """
    if not distractors:
        return ()
    own = options.stream == "own"
    subjects = [fact.ids[slice(*fact.span)] for fact in facts] if own else every_subject
    scale = options.noise * embedding_deviation(hooked, subjects)
    return tuple(
        CorruptedPair(
            fact,
            fact.ids,
            distractors[fact.edit],
            options.samples,
            scale,
            # From the fact's own tokens, so that no batch decides it; ROME sets one seed per fact.
            (seed, *fact.ids) if own else ROME_SEED,
        )
        for fact in facts
        if fact.edit in distractors
    )


@torch.no_grad()
def embedding_deviation(hooked: HookedModel, subjects: Sequence[Sequence[int]]) -> float:
    """The standard deviation of all entries of the embeddings of the subjects' tokens.

    A token counts as often as it occurs.
    """
    counts = Counter(token for subject in subjects for token in subject)
    with recording(hooked, hook_name("embed")) as seen:
        # One text per token: all subjects together are longer than the model has positions.
        run_blocks(
            hooked.bridged,
            torch.tensor(list(counts), device=hooked.bridged.device)[:, None],
            stop=0,
        )
    embedded = seen[hook_name("embed")][:, 0].double().cpu()
    often = torch.tensor([*counts.values()])
    size = float(often.sum()) * embedded.shape[1]
    mean = float(often.double() @ embedded.sum(1)) / size
    # Centred before they are squared: a difference of large sums would lose the digits.
    squares = float(often.double() @ (embedded - mean).square().sum(1))
    return (squares / (size - 1)) ** 0.5


def with_noise(
    embeddings: Float[Tensor, "rows seq width"], corrupted_pairs: Sequence[CorruptedPair]
) -> Float[Tensor, "rows seq width"]:
    """The embeddings with every fact's noise added to its subject.

    Rows are all samples of the first fact, then of the next.
    """
    noisy, samples = embeddings.clone(), corrupted_pairs[0].samples
    for i, pair in enumerate(corrupted_pairs):
        noise = pair.noise(embeddings.shape[2]).to(noisy)
        noisy[i * samples : (i + 1) * samples, slice(*pair.fact.span)] += noise
    return noisy


def corrupting(corrupted_pairs: Sequence[CorruptedPair]) -> dict[str, HookFn]:
    """The edit that adds every fact's noise to its subject's embeddings."""
    return {hook_name("embed"): lambda value: with_noise(value, corrupted_pairs)}
