"""A tuned model in memory, and what was measured of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, final

from torch import Tensor
from transformers import PreTrainedModel

from locscope.evaluation.measures import MEASURES
from locscope.models.load import Loaded
from locscope.models.parts import take
from locscope.models.save import put_changes
from locscope.records import Measure, TrialRecord
from locscope.runs.new_folder import DELTA, check_new_file
from locscope.tuning.trial import Tuned
from locscope.workflows.deltas import save_delta
from locscope.workflows.edit import EditPlan
from locscope.workflows.saving import check_output, save_in_memory, save_tuned

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True)
class Evaluated:
    """Measures of a model by name."""

    measures: Mapping[str, Measure]

    def __getitem__(self, name: str) -> float:
        """The value of a measure; NaN where it was not measured."""
        return self.measures[name].value

    def to_pandas(self) -> "pd.DataFrame":
        """A measure a row: value, 95 % interval, value before tuning, count, protocol."""
        import pandas as pd

        columns = ["value", "low", "high", "before", "count", "protocol"]
        rows = {
            name: [getattr(measure, c) for c in columns] for name, measure in self.measures.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns)

    def __repr__(self) -> str:
        shown = (
            f"{name} {measure.value:.3f}"
            for name, measure in self.measures.items()
            if measure.count
        )
        return f"Evaluated({', '.join(shown)})"


def evaluated(measures: Sequence[Measure]) -> Evaluated:
    """Measures by their names."""
    return Evaluated({measure.name: measure for measure in measures})


@final
@dataclass(frozen=True)
class EditedModel:
    """A tuned model: `model` and `tokenizer` as Hugging Face's, `record` what was done and seen."""

    model: PreTrainedModel
    _tuned: Tuned
    _plan: EditPlan

    @property
    def base(self) -> Loaded:
        """The model that was tuned: untouched, unless it was tuned in place."""
        return self._plan.loaded

    @property
    def record(self) -> TrialRecord:
        """The trial, as a search records it."""
        return self._tuned.record

    @property
    def tokenizer(self) -> object:
        """The tokenizer of the untouched model."""
        return self.base.tokenizer

    @property
    def measures(self) -> Evaluated:
        """What was measured of the tuned model; NaN where it was not asked for."""
        return evaluated([self.record.measure(name) for name in MEASURES])

    @property
    def delta(self) -> dict[str, Tensor]:
        """By slice of a parameter, tuned minus untouched weights (float32, on the host).

        Untouched weights are read from the base: with `inplace` there is none left, a ValueError.
        """
        if self.model is self.base.model:
            raise ValueError("the base was tuned in place: its weights before are gone")
        named = dict(self.base.model.named_parameters())
        return {
            piece.name: values.float() - take(named[piece.name], piece).cpu()
            for piece, values in self._tuned.changes.items()
        }

    def save(self, output: str | PathLike[str]) -> Path:
        """Writes the model as `locscope edit` does: the base's files with the tuned weights.

        Weight files without a tuned tensor are hard links to those of the base where that is
        possible: what changes one in place changes both models. A model that came from memory is
        written by Hugging Face's own `save_pretrained`.

        Args:
            output: a directory that is not there or is empty.

        Returns:
            Its path.

        Raises:
            UsageError: something is there already, or the disk refuses.
        """
        path = Path(output)
        check_output(path, self.base, self._plan.location)
        if self.base.directory is None:
            save_in_memory(self.model, self.base.tokenizer, path)
        else:
            plan = self._plan
            save_tuned(self.base, self._tuned, plan.settings, plan.objective, path)
        return path

    def save_delta(self, file: str | PathLike[str]) -> Path:
        """Writes the changed tensors alone, as `locscope edit --delta` does.

        Args:
            file: a file that is not there, best with the ending `.safetensors`.

        Returns:
            Its path.

        Raises:
            UsageError: something is there already, or the disk refuses.
            ValueError: the model was tuned in place, so that its weights before are gone.
        """
        path = Path(file)
        if self.model is self.base.model:
            raise ValueError("the base was tuned in place: its weights before are gone")
        check_new_file(path, DELTA)
        save_delta(self.base, self._tuned, self._plan.settings, path)
        return path

    def __repr__(self) -> str:
        trial = self.record.trial
        return f"EditedModel({trial.location}, lr {trial.recipe.lr:.3g}: {self.measures!r})"


def edited_model(plan: EditPlan, tuned: Tuned, model: PreTrainedModel) -> EditedModel:
    """The model with the tuned weights put into it."""
    put_changes(model, tuned.changes)
    return EditedModel(model, tuned, plan)
