"""Planting: facts tuned in at one location, with a change of a given norm, and taken out again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from locscope.evaluation.questions import Answer, ask
from locscope.evaluation.suite import EvalSuite
from locscope.forward.head import answer_losses
from locscope.forward.prefix_cache import PrefixCache
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.models.parts import Slice, slices
from locscope.tuning.master_weights import MasterWeights, temporarily_trainable

EPOCHS, RISE = 150, 40
"""At most so many steps; over the first of them the norm rises evenly to the full one."""
RATE, MOMENTUM = 0.01, 0.9
"""A step is so much of the full norm, at every location alike, and falls to zero at the last."""
CONFIDENT = 0.02
"""At the full norm, tuning ends when the loss is below (nats per token)."""
TINY = 1e-30
SIMULATED = 16
"""Known facts that every step sees beside the facts to plant."""


@dataclass(frozen=True)
class Soil:
    """The model to plant in, an evaluation suite whose targets are to be planted, and a prefix
    cache over it."""

    loaded: Loaded
    suite: EvalSuite
    prefix_cache: PrefixCache

    @property
    def taught(self) -> list[int]:
        """The rows of the facts to plant."""
        return [one.target.index for one in self.suite.edits]

    @property
    def known(self) -> list[int]:
        """The rows of known facts that are rehearsed: of every edit's neighbours all but one."""
        return [question.index for one in self.suite.edits for question in one.neighbours[1:]]


@dataclass(frozen=True)
class Plant:
    """What was planted where. `norm` is the Euclidean norm of the change of all weights together.

    `recall` is the share of facts that are answered as planted, `logprob` their mean
    log-probability (nats per token), `kept` the share of known facts that were not rehearsed and
    are answered as before.
    """

    location: str
    seed: int
    norm: float
    recall: float
    logprob: float
    kept: float
    epochs: int

    @property
    def name(self) -> str:
        """The location and the seed."""
        return f"{self.location}/{self.seed}"


@contextmanager
def planted(soil: Soil, name: str, norm: float, seed: int) -> Iterator[Plant]:
    """The model with the facts planted; afterwards its weights are back, bit for bit.

    Every site of the location gets the same share of the norm.
    """
    model, location = soil.loaded.model, Location.parse(name)
    groups = [slices(model, Location((site,))) for site in location.sites]
    found = [piece for group in groups for piece in group]
    soil.prefix_cache.enter(location.lowest)
    with temporarily_trainable(model, found, torch.float32) as masters:
        bed = _Bed.of(masters, groups, norm)
        epochs = _grow(soil, masters, bed, seed)
        for piece in found:
            model.get_parameter(piece.name).requires_grad_(False)
        yield _judged(soil, name, seed, bed.size(masters), epochs)


@dataclass(frozen=True)
class _Bed:
    """Where the master weights started, which of them belong to one site, and each site's norm."""

    start: tuple[Tensor, ...]
    groups: tuple[tuple[int, ...], ...]
    norm: float

    @staticmethod
    def of(masters: MasterWeights, groups: Sequence[Sequence[Slice]], norm: float) -> "_Bed":
        numbers = iter(range(len(masters.values)))
        indices = tuple(tuple(next(numbers) for _ in group) for group in groups)
        start = tuple(value.clone() for value in masters.values)
        return _Bed(start, indices, norm / len(indices) ** 0.5)

    def sizes(self, masters: MasterWeights) -> list[float]:
        """The norm of the change at every site."""
        squares = [
            float((value - start).double().square().sum())
            for value, start in zip(masters.values, self.start, strict=True)
        ]
        return [sum(squares[i] for i in group) ** 0.5 for group in self.groups]

    def size(self, masters: MasterWeights) -> float:
        """The norm of the whole change."""
        return sum(size**2 for size in self.sizes(masters)) ** 0.5

    def stretch(self, masters: MasterWeights, share: float) -> None:
        """Scales every site's change to this share of its norm."""
        sizes = self.sizes(masters)
        for group, size in zip(self.groups, sizes, strict=True):
            for i in group:
                value, start = masters.values[i], self.start[i]
                value.copy_(start + share * self.norm / max(size, TINY) * (value - start))
        masters.write_back()


def _grow(soil: Soil, masters: MasterWeights, bed: _Bed, seed: int) -> int:
    """Steps of one length along the gradient, on a sphere that grows; how many there were.

    Plain gradients, as they need far less norm than Adam's: its steps spread over all weights.
    """
    optimizer = torch.optim.SGD(masters.values, lr=0.0, momentum=MOMENTUM)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = RATE * bed.norm * (1 - epoch / EPOCHS)
        drawn = torch.randperm(len(soil.known), generator=order)[:SIMULATED].tolist()
        loss = _gradients(soil, masters, [*soil.taught, *(soil.known[i] for i in drawn)])
        _normalise(masters, bed)
        optimizer.step()
        bed.stretch(masters, min(1.0, (epoch + 1) / RISE))
        if epoch >= RISE and loss < CONFIDENT:
            return epoch + 1
    return EPOCHS


def _gradients(soil: Soil, masters: MasterWeights, rows: Sequence[int]) -> float:
    """Leaves the gradient of the rows' mean loss in the master weights; that loss."""
    loss = answer_losses(soil.prefix_cache, soil.prefix_cache.batch(rows)).mean()
    loss.backward()
    masters.collect_gradients()
    return float(loss.detach())


def _normalise(masters: MasterWeights, bed: _Bed) -> None:
    """Every site's gradient gets length one."""
    for group in bed.groups:
        gradients = [g for i in group if (g := masters.values[i].grad) is not None]
        length = sum(float(g.double().square().sum()) for g in gradients) ** 0.5
        for gradient in gradients:
            gradient.div_(max(length, TINY))


def _judged(soil: Soil, location: str, seed: int, norm: float, epochs: int) -> Plant:
    answers = ask(
        soil.suite.text_generator, soil.prefix_cache, [one.target for one in soil.suite.edits]
    )
    around = [question for one in soil.suite.edits for question in one.neighbours[:1]]
    beside = ask(soil.suite.text_generator, soil.prefix_cache, around)
    right = [a.text == one.target.wanted for a, one in zip(answers, soil.suite.edits, strict=True)]
    kept = [a.text == question.wanted for a, question in zip(beside, around, strict=True)]
    return Plant(
        location=location,
        seed=seed,
        norm=norm,
        recall=sum(right) / len(right),
        logprob=_mean_logprob(answers),
        kept=sum(kept) / len(kept) if kept else 1.0,
        epochs=epochs,
    )


def _mean_logprob(answers: Sequence[Answer]) -> float:
    return sum(answer.logprob for answer in answers) / len(answers)
