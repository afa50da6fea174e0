"""Corrupted prompts: what a fact becomes when the model cannot know its subject.

`swap` puts another subject of as many tokens in its place (one sample); `noise` adds Gaussian noise
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
"""Subjects that are tried in a swap until the model's answer changes."""
ROME_SEED = 1
CORRUPTIONS = {"swap": "a subject of as many tokens", "noise": "noise on the subject"}


@dataclass(frozen=True)
class Noise:
    """Gaussian noise for the embeddings of a subject: how it is drawn.

    The numbers are drawn whenever a batch needs them and never kept: of thousands of facts they
    would be gigabytes.
    """

    samples: int
    scale: float
    seed: int | tuple[int, ...]

    def drawn(self, span: int, width: int) -> Float[Tensor, "samples span width"]:
        """The numbers, on the CPU so that all devices see the same."""
        drawn = np.random.RandomState(self.seed).randn(self.samples, span, width)
        return (self.scale * torch.from_numpy(drawn)).float()


@dataclass(frozen=True)
class CorruptedPair:
    """A fact beside its corrupted prompt of the same length; the distractor of its answer; and
    noise for the embeddings of its subject, one corrupted run for every sample (one for a swap)."""

    fact: Fact
    ids: tuple[int, ...]
    distractor: int
    noise: Noise | None = None

    @property
    def samples(self) -> int:
        """How many corrupted runs there are."""
        return self.noise.samples if self.noise else 1

    def drawn(self, width: int) -> Float[Tensor, "samples span width"]:
        """The noise for its subject, zeros for a swap."""
        span = self.fact.span[1] - self.fact.span[0]
        return self.noise.drawn(span, width) if self.noise else torch.zeros(1, span, width)


def corruption_named(name: str, default: str) -> str:
    """The corruption that an option names, or a scan's own; a UsageError otherwise."""
    chosen = default if name == "default" else name
    if chosen not in CORRUPTIONS:
        raise unknown("corruption", chosen, CORRUPTIONS)
    return chosen


def swapped(
    hooked: HookedModel, facts: Sequence[Fact], seed: int, tokens_at_once: int = 16384
) -> tuple[CorruptedPair, ...]:
    """The facts that have a partner: a subject of as many tokens that changes the answer.

    Partners in the same relation come first. The first of at most `PARTNERS` whose top token is
    not the answer's is taken, and that token is the distractor; a fact without one is left out.
    """
    tried = [(fact, ids) for fact in facts for ids in _partners(fact, facts, seed)]
    tops = top_tokens(hooked.bridged, [ids for _, ids in tried], tokens_at_once)
    found: dict[str, CorruptedPair] = {}
    for (fact, ids), top in zip(tried, tops, strict=True):
        if fact.edit not in found and top != fact.answer[0]:
            found[fact.edit] = CorruptedPair(fact, ids, top)
    return tuple(found[fact.edit] for fact in facts if fact.edit in found)


def left_out(facts: Sequence[Fact], used: Sequence[CorruptedPair]) -> tuple[str, ...]:
    """Says how many facts could not be corrupted, if there are any."""
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
        # Many tokenizers write a word behind a space and one at the beginning in different ways.
        if len(subject) == len(own) and subject != own and other.spaced == fact.spaced:
            stranger = other.relation != fact.relation
            others[subject] = stranger and others.get(subject, True)
    order = np.random.default_rng([seed, *fact.ids]).permutation(len(others))
    shuffled = [list(others)[i] for i in order]
    chosen = sorted(shuffled, key=others.__getitem__)[:PARTNERS]
    return [fact.ids[:first] + subject + fact.ids[stop:] for subject in chosen]


def noised(
    hooked: HookedModel,
    facts: Sequence[Fact],
    distractors: Mapping[str, int],
    options: ScanOptions,
    seed: int,
    given: Sequence[Sequence[int]],
) -> tuple[CorruptedPair, ...]:
    """The facts whose edits have a distractor, with noise in the measure of subjects' embeddings.

    Of the stream `own` these are the facts' subjects as they stand in their prompts. Of `rome` they
    are `given`: the subjects of all edits, scanned or not, tokenised alone, as ROME's
    `collect_embedding_std` takes those of the whole data set.
    """
    if not distractors:
        return ()
    own = [fact.ids[slice(*fact.span)] for fact in facts]
    scale = options.noise * embedding_deviation(hooked, own if options.stream == "own" else given)
    return tuple(
        CorruptedPair(
            fact, fact.ids, distractors[fact.edit], subject_noise(fact, scale, options, seed)
        )
        for fact in facts
        if fact.edit in distractors
    )


@torch.no_grad()
def embedding_deviation(hooked: HookedModel, subjects: Sequence[Sequence[int]]) -> float:
    """The standard deviation of all numbers in the model's own embeddings of the subjects' tokens,
    each as often as it comes."""
    counts = Counter(token for subject in subjects for token in subject)
    with recording(hooked, hook_name("embed")) as seen:
        # A text each, of one token: subjects of many edits are more than any model has positions.
        run_blocks(
            hooked.bridged,
            torch.tensor(list(counts), device=hooked.bridged.device)[:, None],
            stop=0,
        )
    embedded, often = (
        seen[hook_name("embed")][:, 0].double().cpu(),
        torch.tensor([*counts.values()]),
    )
    size = float(often.sum()) * embedded.shape[1]
    mean = float(often.double() @ embedded.sum(1)) / size
    squares = float(often.double() @ (embedded - mean).square().sum(1))
    return (squares / (size - 1)) ** 0.5


def subject_noise(fact: Fact, scale: float, options: ScanOptions, seed: int) -> Noise:
    """Noise for the subject's embeddings.

    The stream `rome` is that of ROME's code: seed 1 anew for every fact, float64 normals.
    """
    own = (seed, *fact.ids) if options.stream == "own" else ROME_SEED
    return Noise(options.samples, scale, own)


def with_noise(
    embeddings: Float[Tensor, "rows seq width"], corrupted_pairs: Sequence[CorruptedPair]
) -> Float[Tensor, "rows seq width"]:
    """Every fact's noise added to its subject: rows are all samples of the first fact, then of the
    next."""
    noised, samples = embeddings.clone(), corrupted_pairs[0].samples
    for i, one in enumerate(corrupted_pairs):
        noise = one.drawn(embeddings.shape[2]).to(noised)
        noised[i * samples : (i + 1) * samples, slice(*one.fact.span)] += noise
    return noised


def corrupting(corrupted_pairs: Sequence[CorruptedPair]) -> dict[str, HookFn]:
    """The edit that adds every fact's noise to its subject's embeddings."""
    return {hook_name("embed"): lambda value: with_noise(value, corrupted_pairs)}
