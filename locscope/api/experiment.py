"""Trials of one's own: an open folder in which any location is tuned by any recipe.

For questions that `search` does not ask. Trials are records in the folder: what is there is not
run again, and an experiment that was cut off goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

from locscope.api.tables import trials_frame
from locscope.edits import EditSet
from locscope.edits.splits import Split
from locscope.errors import UsageError, unknown
from locscope.locations import Location
from locscope.models.load import Loaded
from locscope.recommendation.finalists import Finalist
from locscope.records import Recipe, ScanResult, Trial, TrialRecord
from locscope.scans.context import ScanContext
from locscope.selection.space import FULL, Fidelity, Space, TrialRequest, at_rung
from locscope.tuning.trial import starting_rate
from locscope.workflows.search.holdout import on_t, validate
from locscope.workflows.search.local_runner import LocalTrialRunner
from locscope.workflows.search.select import scan_context, scan_s, select, space_of
from locscope.workflows.search.stages import Evidence, trial_of

if TYPE_CHECKING:
    import pandas as pd

SETTLED = ("prefixes", "prompt_format")
"""Fields of a recipe by which the rows of the evaluation suite are written."""


@final
class Experiment:
    """What `open_experiment` gives; in the examples of its methods it is `lab`.

    `select`, `validate` and `report` are the ids of the edits in S, V and T.
    """

    def __init__(self, runner: LocalTrialRunner) -> None:
        self._runner, self._plan = runner, runner.plan
        ids, parts = [edit.id for edit in self.edits.edits], self._plan.parts
        self.select = tuple(ids[i] for i in parts.select)
        self.validate = tuple(ids[i] for i in parts.validate)
        self.report = tuple(ids[i] for i in parts.report)

    @property
    def model(self) -> Loaded:
        """The model, untouched between trials."""
        return self._plan.loaded

    @property
    def edits(self) -> EditSet:
        """All edits, as they are used."""
        return self._plan.edit_set

    @property
    def split(self) -> Split:
        """S, V and T as indices of the edits, with the groups of edits that are never parted.

        `locscope.edits.splits` draws further subsets from them.
        """
        return self._plan.parts

    @cached_property
    def scans(self) -> tuple[ScanResult, ...]:
        """The scans that the settings name, on S; the weight gradient first."""
        return scan_s(self._runner)

    @cached_property
    def space(self) -> Space:
        """The candidates, each with the rate at which its trials start."""
        return space_of(self._runner, self.scans)

    def scan_context(self) -> ScanContext:
        """What a function that scans is given, about the edits of S.

        Example:
            >>> set(lab.scan_context().edits) == set(lab.select)
            True
        """
        return scan_context(self._runner)

    def first(self, count: int) -> tuple[str, ...]:
        """The ids of so many edits of S, in an order drawn by the seed.

        More edits include fewer: the rungs of a race are tuned on such subsets.

        Example:
            >>> set(lab.first(2)) < set(lab.first(4)) <= set(lab.select)
            True
        """
        return self._plan.first_of_s(count)

    def starting_rate(self, trial: Trial, first_step: float | None = None) -> float:
        """The learning rate at which a trial's first step is predicted to lower the loss so far.

        Args:
            trial: what `trial` gives; its own rate plays no part.
            first_step: the change of the loss in nats; that of the settings without one.

        Returns:
            The rate, by the gradient of the trial's edits to all that its recipe steps.

        Raises:
            UsageError: no finite gradient tells one, or the model lacks the location.

        Example:
            >>> trial = lab.trial(lab.space.candidates[0].location)
            >>> lab.starting_rate(trial, 2.0) > lab.starting_rate(trial, 1.0) > 0
            True
        """
        wanted = self._plan.first_step if first_step is None else first_step
        return starting_rate(self._runner.workspace, trial, wanted)

    def trial(
        self,
        location: Location | str,
        lr: float | None = None,
        *,
        edits: Sequence[str] | None = None,
        name: str = FULL,
        seed: int | None = None,
        quick: bool = False,
        thorough: bool = False,
        choosing: bool = False,
        **recipe: Any,
    ) -> Trial:
        """A trial to run: a location, a recipe and the edits that are tuned and measured.

        Args:
            location: as `L22.mlp.down`.
            lr: learning rate; without it, the location's starting rate (a candidate's alone).
            edits: their ids; S without any.
            name: what the trial is for; it stands in its record as `rung`.
            seed: of batches and masks; that of the settings without one.
            quick: read probabilities alone, in one pass.
            thorough: ask other forms and multi-hop questions too.
            choosing: something is chosen by it, so drift is read on the texts for choosing.
            recipe: fields of a recipe, as `epochs=5`, `kind="lora"`, `order="depth-first"`.

        Returns:
            The trial, for `run`.

        Raises:
            UsageError: no rate is given and the location is no candidate, an edit is unknown, or a
                field of the recipe is, or it is one that the open experiment has settled.

        Example:
            >>> lab.trial("L1.mlp.down", 1e-3, edits=lab.report, name="on T", epochs=1).split
            'T'
        """
        tuned = self.select if edits is None else tuple(edits)
        self._check(tuned, recipe)
        rate = self.space.of(location).lr if lr is None else lr
        fidelity = Fidelity(name, len(tuned), self._plan.settings.epochs, quick)
        usual = trial_of(self._plan, TrialRequest(Location.parse(str(location)), rate, fidelity))
        return replace(
            usual,
            recipe=replace(usual.recipe, **recipe),
            edits=tuned,
            split=self._split_of(tuned),
            seed=usual.seed if seed is None else seed,
            thorough=thorough,
            choosing=choosing,
        )

    def run(self, trials: Sequence[Trial], stage: str = "trials") -> tuple[TrialRecord, ...]:
        """The records of the trials, in their order; known ones are read, the others run.

        Args:
            trials: what `trial` gives.
            stage: what progress calls them.

        Returns:
            A record for each, with measures, outcomes of single edits, and epochs.

        Raises:
            UsageError: the model lacks a location.
            OutOfMemory: a trial does not fit, even with few tokens at once.

        Example:
            >>> (record,) = lab.run([lab.trial("L1.mlp.down", 1e-3)])
            >>> len(record.outcomes) == len(lab.select)
            True
        """
        return self._runner.trials(stage, trials)

    def recorded(self, trials: Sequence[Trial]) -> tuple[TrialRecord, ...]:
        """The records of those trials that the folder has already; nothing is run.

        Example:
            >>> lab.recorded([lab.trial("L1.mlp.down", 2e-3, name="never run")])
            ()
        """
        known = self._runner.known
        return self.run([trial for trial in trials if trial.id in known])

    def finalists(self, records: Sequence[TrialRecord]) -> tuple[Finalist, ...]:
        """The best locations of trials on S, tuned afresh on V as a search does.

        Args:
            records: of trials on all of S, named `full`, one or more at each location.

        Returns:
            As many as the setting `finalists` says; the one that S and V choose is the first.

        Raises:
            UsageError: none of the trials is named `full`.

        Example:
            >>> first, *others = lab.finalists(lab.choose("depth-rule"))
            >>> {record.trial.split for record in first.on_v}
            {'V'}
        """
        if not at_rung(records, FULL):
            raise UsageError(f"finalists are chosen among trials named '{FULL}': there is none")
        return validate(self._runner, Evidence(self.space, self.scans, tuple(records))).finalists

    def held_out(self, record: TrialRecord) -> tuple[TrialRecord, ...]:
        """What was chosen, tuned afresh on edits that nothing was chosen on.

        Args:
            record: of the trial that was chosen.

        Returns:
            A record for each subset of T; the setting `repetitions` says how many there are.

        Example:
            >>> (chosen,) = lab.run([lab.trial("L1.mlp.down", 1e-3)])
            >>> {record.trial.split for record in lab.held_out(chosen)}
            {'T'}
        """
        subsets = range(len(self._plan.on_t))
        return self.run([on_t(self._plan, record, subset) for subset in subsets], "on T")

    def choose(self, strategy: str, space: Space | None = None) -> tuple[TrialRecord, ...]:
        """All trials that a strategy asks for, in its order.

        Args:
            strategy: a name of `list_strategies`, or a registered one.
            space: another than the experiment's, as with other scans or another budget.

        Returns:
            Their records.

        Raises:
            UsageError: there is no such strategy.

        Example:
            >>> records = lab.choose("depth-rule")
            >>> {record.trial.location for record in records} == {lab.space.depth_rule}
            True
        """
        return select(self._runner, Evidence(space or self.space, self.scans), strategy).selected

    def to_pandas(self, records: Sequence[TrialRecord]) -> "pd.DataFrame":
        """Records as a frame: a row for each, a column for each measure.

        Args:
            records: what `run` gives.

        Returns:
            The frame, in the order of the records.

        Example:
            >>> records = lab.run([lab.trial("L1.mlp.down", 1e-3)])
            >>> lab.to_pandas(records)["location"].tolist()
            ['L1.mlp.down']
        """
        return trials_frame(records)

    def _check(self, edits: Sequence[str], recipe: Mapping[str, Any]) -> None:
        known = {edit.id for edit in self.edits.edits}
        missing = [edit for edit in edits if edit not in known]
        if missing or not edits:
            raise UsageError(f"no edit '{missing[0]}' here" if missing else "a trial needs edits")
        fields = Recipe.__dataclass_fields__
        for name, value in recipe.items():
            if name not in fields:
                raise unknown("field of a recipe", name, fields)
            # The suite's rows were written by the settings: another value would only be recorded.
            if name in SETTLED and value != getattr(self._plan.settings, name):
                raise UsageError(f"{name} is settled when an experiment is opened: give it there")

    def _split_of(self, edits: Sequence[str]) -> str:
        parts = {"S": self.select, "V": self.validate, "T": self.report}
        within = [name for name, ids in parts.items() if set(edits) <= set(ids)]
        return within[0] if within else "all"
