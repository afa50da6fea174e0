"""Input and output of every scan, and how scores are made of the values of single requests."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import nan
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from locscope.evaluation.suite import EvalSuite
from locscope.forward.batching import in_stage
from locscope.forward.prefix_cache import PrefixCache
from locscope.interp.corruption import CorruptedPair, noised, swapped
from locscope.interp.facts import Fact, Facts, facts_of
from locscope.interp.hooked_model import HookedModel, hooked_model_of
from locscope.interp.metrics import runners_up
from locscope.interp.self_test import check_hooked_model
from locscope.models.load import Loaded
from locscope.progress import Progress
from locscope.records import ScanOptions, ScanScore, ScanTotal, TokenMap
from locscope.scoring.statistics import mean_interval, mean_intervals

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Findings:
    """What a scan found.

    `usable` counts the requests that it could use, `settings` names the options that decided the
    numbers (corruption, metric, steps), `notes` say what a reader should know.
    """

    scores: tuple[ScanScore, ...]
    usable: int
    settings: str = ""
    notes: tuple[str, ...] = ()
    maps: tuple[TokenMap, ...] = ()
    totals: tuple[ScanTotal, ...] = ()


@dataclass(frozen=True)
class ScanContext:
    """The untouched model, the evaluation suite, a prefix cache over it, and ids of scanned edits.

    `groups` hold ids of edits whose values depend on each other: intervals resample groups. What
    several scans need (the hooked model, the facts) is made when the first needs it. `whole` is the
    context from which this one was drawn.
    """

    loaded: Loaded
    suite: EvalSuite
    prefix_cache: PrefixCache
    edits: tuple[str, ...]
    seed: int
    progress: Progress
    options: ScanOptions = field(default_factory=ScanOptions)
    groups: tuple[tuple[str, ...], ...] = ()
    whole: "ScanContext | None" = None

    @cached_property
    def narrowed(self) -> "ScanContext":
        """The context with at most as many edits as the options allow, drawn by the seed."""
        # Cached, and with the hooked model of the whole: costly scans share one draw and its facts.
        most = self.options.requests
        if not most or len(self.edits) <= most:
            return self
        drawn = np.random.default_rng(self.seed).choice(len(self.edits), most, replace=False)
        return replace(self, edits=tuple(self.edits[i] for i in sorted(drawn)), whole=self)

    @cached_property
    def hooked(self) -> HookedModel:
        """The hooked model, after its self-test."""
        if self.whole is not None:
            return self.whole.hooked
        hooked = hooked_model_of(self.loaded.model)
        row = self.suite.of(self.edits)[0].target.row
        check_hooked_model(hooked, self.loaded.model, row.ids)
        self.progress.say("the hooked model passed its self-test")
        return hooked

    @cached_property
    def facts(self) -> Facts:
        """The model's answers to the edits' prompts, and the tokens of their subjects."""
        edits = [questions.edit for questions in self.suite.of(self.edits)]
        return facts_of(
            self.suite.text_generator,
            edits,
            self.suite.prompt_format,
            tokens_at_once=self.tokens_at_once,
        )

    @cached_property
    def subjects(self) -> tuple[tuple[int, ...], ...]:
        """The subjects of all edits, scanned or not, each tokenised alone."""
        tokenizer = self.suite.text_generator.tokenizer
        subjects = [questions.edit.subject for questions in self.suite.edits]
        return tuple(tuple(tokenizer(name)["input_ids"]) for name in subjects if name)

    def corrupted_pairs(self, corruption: str) -> tuple[CorruptedPair, ...]:
        """The facts that can be corrupted in this way, with their corruption.

        The distractor of an answer is what the model says to the swapped subject; with noise it is
        the untouched model's second choice.
        """
        hooked, facts, most = self.hooked, self.facts.with_subject, self.tokens_at_once
        if corruption == "swap":
            return swapped(hooked, facts, self.seed, most)
        distractors = runners_up(hooked, facts, most)
        return noised(hooked, facts, distractors, self.options, self.seed, self.subjects)

    @property
    def tokens_at_once(self) -> int:
        """Tokens of one batch, with padding."""
        return self.prefix_cache.tokens_of_a_scan

    def batched(
        self,
        name: str,
        items: Sequence[Item],
        run: Callable[[Sequence[Item]], Sequence[Result]],
        size: Callable[[Item], int],
        alike: Callable[[Item], Hashable] = lambda _: None,
    ) -> list[Result]:
        """The results of `run` over batches that fit memory, in the order of the items.

        Progress shows a stage of that name; without a name the run is part of another stage.
        """
        return in_stage(
            self.progress,
            name,
            items,
            run,
            size=size,
            tokens_at_once=self.tokens_at_once,
            alike=alike,
        )

    def scores(
        self,
        variant: str,
        part: str,
        used: Sequence[str],
        values: Float[Tensor, "used layers"] | Float[Tensor, "used layers heads"],
        role: str = "",
    ) -> tuple[ScanScore, ...]:
        """Means over requests with intervals, for every layer (and head) of a part.

        `values` are those of the edits `used`, NaN where an edit has none; the interval is a
        bootstrap over groups of edits.
        """
        row = {edit: i for i, edit in enumerate(self.edits)}
        # A row for every scanned edit, also those not used: single values are stored beside ids.
        table = np.full((len(self.edits), *values.shape[1:]), nan)
        table[[row[edit] for edit in used]] = values.double().cpu().numpy()
        columns = table.reshape(len(self.edits), -1)
        # All layers and heads in one go, from the same draws: the bootstrap is made once.
        intervals = mean_intervals(columns, self._group_indices, seed=self.seed)
        heads = values.shape[2] if values.dim() == 3 else 0
        return tuple(
            ScanScore(
                variant=variant,
                layer=i // heads if heads else i,
                part=part,
                score=interval.value,
                head=i % heads if heads else -1,
                role=role,
                low=interval.low,
                high=interval.high,
                count=interval.count,
                values=tuple(columns[:, i].tolist()),
            )
            for i, interval in enumerate(intervals)
        )

    def token_map(
        self, fact: Fact, variant: str, part: str, cells: Float[Tensor, "layers tokens"]
    ) -> TokenMap:
        """A part's values on every token of one fact, to four digits."""
        tokenizer = self.loaded.tokenizer
        return TokenMap(
            edit=fact.edit,
            variant=variant,
            part=part,
            tokens=tuple(str(tokenizer.decode([token])) for token in fact.ids),
            subject=tuple(range(*fact.span)),
            answer=str(tokenizer.decode(list(fact.answer))).strip(),
            # Maps of all facts are kept: with all digits they would be most of a run's records.
            values=tuple(tuple(float(f"{x:.4g}") for x in layer) for layer in cells.tolist()),
        )

    def total(self, name: str, used: Sequence[str], values: Sequence[float]) -> ScanTotal:
        """The mean of one value of each of the edits `used`, with an interval over groups."""
        by_edit = dict(zip(used, values, strict=True))
        column = [by_edit.get(edit, nan) for edit in self.edits]
        mean = mean_interval(column, self._group_indices, seed=self.seed)
        return ScanTotal(name, mean.value, mean.low, mean.high, mean.count, tuple(column))

    @cached_property
    def _group_indices(self) -> tuple[tuple[int, ...], ...]:
        index = {edit: i for i, edit in enumerate(self.edits)}
        return tuple(tuple(index[e] for e in group if e in index) for group in self.groups)
