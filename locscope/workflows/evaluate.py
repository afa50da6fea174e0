"""`evaluate`: what an edited model says to the edits, and how far it is from its base."""

import json
from dataclasses import dataclass, replace
from math import nan

from locscope.edits import EditSet
from locscope.errors import UsageError
from locscope.evaluation.measures import NEEDS_BASE, measure_all
from locscope.evaluation.suite import observe
from locscope.forward.prefix_cache import PrefixCache
from locscope.models.aliases import resolve
from locscope.models.hub import locate
from locscope.models.load import Loaded
from locscope.progress import Progress, stage
from locscope.records import Measure, dumps
from locscope.runs.note import read_note
from locscope.settings import EvaluateSettings
from locscope.workflows.recorded_edits import Asked, edits_to_ask
from locscope.workflows.workspace import open_model, open_workspace, with_text_generator

NO_BASE = "needs the untouched model: give --base"


@dataclass(frozen=True)
class EvaluatePlan:
    """The edited model and what it is compared with; no base where none is known."""

    edited: Loaded
    base: Loaded | None
    asked: Asked

    @property
    def settings(self) -> EvaluateSettings:
        """The settings, with what was recorded of the model."""
        return self.asked.settings

    @property
    def edit_set(self) -> EditSet:
        """The edits that are measured."""
        return self.asked.edit_set


def plan_evaluate(settings: EvaluateSettings) -> EvaluatePlan:
    """Loads both models and the edits; a UsageError where the base is not the recorded one."""
    note = read_note(locate(resolve(settings.model)))
    asked = edits_to_ask(settings, note)
    settings = asked.settings
    edited = open_model(settings)
    name = settings.base or (note.base if note else None)
    base = open_model(settings.model_copy(update={"model": name})) if name else None
    if base and note and not settings.base and base.info.hash != note.base_hash:
        raise UsageError(
            f"the base recorded at saving, {name}, has changed since: give --base to use it"
        )
    if base and base.tokenizer.get_vocab() != edited.tokenizer.get_vocab():
        raise UsageError(f"{settings.model} and its base {name} have different tokenizers")
    return EvaluatePlan(edited, base, asked)


def evaluate(plan: EvaluatePlan, progress: Progress) -> tuple[Measure, ...]:
    """All measures of the edited model; those that need a base are NaN without one."""
    base = plan.base or plan.edited
    for line in plan.edit_set.notes:
        progress.say(line)
    workspace = open_workspace(plan.settings, base, plan.asked.given, progress)
    suite = with_text_generator(workspace.suite, plan.edited)
    prefix_cache, ids = (
        PrefixCache(plan.edited.model, suite.packed),
        [e.id for e in plan.edit_set.edits],
    )
    with stage(progress, "asking the edited model", 1):
        texts = suite.texts_for(choosing=False)
        now = observe(suite, prefix_cache, ids, texts=texts)
    measures = measure_all(now, workspace.before.of(ids).on(texts))
    return measures if plan.base else tuple(map(_without_base, measures))


def evaluate_json(measures: tuple[Measure, ...]) -> str:
    """The measures as the contract's JSON; not measured is null with a reason."""
    found = {measure.name: _plain(measure) for measure in measures}
    return json.dumps({"schema": 1, "measures": found}, indent=2)


def _plain(measure: Measure) -> dict[str, float | int | str | None]:
    found = json.loads(dumps(measure))
    plain = {key: found[key] for key in ("value", "count", "protocol", "low", "high", "before")}
    if plain["value"] is None:
        plain["reason"] = "needs a base" if measure.protocol == NO_BASE else "nothing to judge by"
    return plain


def _without_base(measure: Measure) -> Measure:
    if measure.name in NEEDS_BASE:
        return Measure(measure.name, nan, 0, NO_BASE)
    return replace(measure, before=nan)
