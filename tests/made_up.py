"""A made-up model in which tuning costs nothing: every place and rate has a worth that is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from random import Random
from typing import Any

from hand_made import BALANCED

from locscope.locations import PAPER_PARTS, Location
from locscope.records import (
    Descriptor,
    LayerPart,
    Measure,
    ModelInfo,
    Recipe,
    ScanResult,
    ScanScore,
    Trial,
    TrialRecord,
)
from locscope.selection.candidates import candidates, located
from locscope.selection.space import FULL, Space, TrialRequest
from locscope.selection.strategies import strategy

SIZES = {"block": 5000, "attn": 1200, "mlp": 3600, "mlp.up": 1200, "mlp.down": 1201}
EDITS, EPOCHS, RULE = 100, 25, Location.parse("L7.mlp.down")


def info(layers: int = 10, parts: Sequence[str] = PAPER_PARTS) -> ModelInfo:
    grid = tuple(
        LayerPart(Location.at(layer, part), layer, part, SIZES.get(part, 100))
        for layer in range(layers)
        for part in parts
    )
    return ModelInfo(
        "m", "m", "llama", layers, 16, 4, 4, 64, 10**5, "float32", "float32", "cpu", "h", grid
    )


def scan(
    utility: Callable[[int, str], float], layers: int = 10, name: str = "weight-gradient",
    variant: str = "l1", parts: Sequence[str] = PAPER_PARTS,
) -> ScanResult:  # fmt: skip
    scores = [
        ScanScore(variant, layer, part, utility(layer, part))
        for layer in range(layers)
        for part in parts
    ]
    entry = Descriptor(name, name, "a note", "a source", "a:scan")
    return ScanResult(entry, tuple(scores), 10, 10, 0, 0.0)


@dataclass(frozen=True)
class World:
    """The best place is at `peak` in `part`; a look sees a place's worth with `noise`.

    Too high a rate breaks the bound on perplexity, too low a one learns little.
    """

    peak: int = 3
    part: str = "mlp.down"
    layers: int = 10
    noise: float = 0.02
    best_step: float = 0.0
    seed: int = 0
    quarters: bool = False

    def norm(self, layer: int, part: str) -> float:
        """Of the gradient: sets the starting rate, which is near the best one."""
        return (1 + layer / 10) * SIZES.get(part, 100) / 100

    def value_at(self, location: Location | str) -> float:
        """What a location is worth at its own best rate, from 0 to 1."""
        site = Location.parse(str(location)).sites[0]
        away = abs((site.first + site.last) / 2 - self.peak) / self.layers
        part = 0.0 if site.part == self.part else 0.08 + 0.01 * len(site.part)
        wide = 0.02 * (site.last - site.first)
        draw = Random(f"{location} {self.seed}").uniform(0, 0.02)
        return max(0.1, 0.97 - 0.7 * away - part - wide - draw)

    def utility(self, location: Location | str, lr: float) -> float:
        """The score of a full trial."""
        return self.value_at(location) * exp(-((self.steps(location, lr) / 2) ** 2))

    def steps(self, location: Location | str, lr: float) -> float:
        """How many grid steps the rate is above the best one of the place."""
        return log(lr / self.start(location), 3) - self.best_step

    def start(self, location: Location | str) -> float:
        site = Location.parse(str(location)).sites[0]
        return 0.3 / sum(self.norm(n, site.part) for n in range(site.first, site.last + 1))

    def space(
        self, *scans: ScanResult, budget: float | None = None, finalists: int = 3, **more: Any
    ) -> Space:
        gradient = scan(self.norm, self.layers)
        model = info(self.layers)
        where = located(model, PAPER_PARTS, (RULE,), quarters=self.quarters)
        found = candidates(model, gradient, where)
        return Space(
            *(found, scans or (gradient,), BALANCED, EDITS, EPOCHS, self.seed, RULE),
            *(finalists, budget),
            **more,
        )

    def truth(self, sign: int = 1) -> ScanResult:
        """A scan that knows every place's worth, or says the opposite."""
        return scan(
            lambda layer, part: sign * self.value_at(f"L{layer}.{part}"), self.layers, "seer", "v"
        )

    def record(self, ask: TrialRequest) -> TrialRecord:
        fidelity = ask.fidelity
        recipe = Recipe(ask.lr, 8, epochs=fidelity.epochs)
        edits = tuple(f"e{i}" for i in range(fidelity.edits))
        trial = Trial(
            ask.location, recipe, edits, "S", fidelity.rung, 0, "m", "e", quick=fidelity.quick
        )
        work = fidelity.edits * fidelity.epochs
        drift = 0.01 * work / (EDITS * EPOCHS) * exp(1.5 * self.steps(ask.location, ask.lr))
        score = self.utility(ask.location, ask.lr)
        if fidelity.rung != FULL:
            # Few steps show less of a place, and with noise.
            noise = Random(trial.id).gauss(0, self.noise)
            score = min(1.0, max(0.0, score * (0.6 + 0.4 * work / (EDITS * EPOCHS)) + noise))
        measures = (
            Measure("kl", drift, 5, "p"),
            Measure("perplexity_ratio", exp(drift), 5, "p"),
        )
        violated = ("perplexity_ratio",) if exp(drift) > 1.05 and not fidelity.quick else ()
        depth = self.layers - ask.location.lowest
        flops = (3 * work + 5 * fidelity.edits) * depth * 1e6
        return TrialRecord(
            trial, "done", score, "s", measures, (), (), (), 1, 1.0, 0, flops / 1e6, flops, violated
        )

    def search(self, name: str, space: Space, most: int = 500) -> list[tuple[TrialRequest, ...]]:
        """All batches that a strategy asks for."""
        ask, batches = strategy(name), list[tuple[TrialRequest, ...]]()
        while wanted := ask(space, self.records(batches)):
            batches.append(wanted)
            assert len(batches) < most, f"{name} does not end"
        return batches

    def records(self, batches: Sequence[Sequence[TrialRequest]]) -> list[TrialRecord]:
        return [self.record(ask) for batch in batches for ask in batch]


def timed(record: TrialRecord, seconds: float) -> TrialRecord:
    """The same with other seconds."""
    return replace(record, seconds=seconds)
