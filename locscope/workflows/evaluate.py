"""`evaluate`: what an edited model says to the edits, and how far it is from its base."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

from locscope.edits import EditSet
from locscope.errors import UsageError
from locscope.evaluation.measures import NEEDS_BASE
from locscope.evaluation.measuring import measure_all
from locscope.evaluation.suite import observe
from locscope.forward.prefix_cache import PrefixCache
from locscope.integrations.harness import manager_of, task_measures
from locscope.models.aliases import resolve
from locscope.models.hub import locate
from locscope.models.load import Loaded
from locscope.progress import Progress, stage
from locscope.records import Measure, dumps
from locscope.runs.note import EditNote, read_note
from locscope.settings import EvaluateSettings
from locscope.workflows.early.edits import load_edits
from locscope.workflows.recorded_edits import as_recorded, edits_to_ask
from locscope.workflows.workspace import open_model, open_workspace, with_text_generator

NO_BASE = "needs the untouched model: give --base"
GONE = "needs the untouched model, recorded as "
"""How the protocol begins of what a base is needed for that is no longer where it was."""


@dataclass(frozen=True)
class EvaluatePlan:
    """The edited model and what it is compared with; `no_base` is why there is nothing.

    The settings have what was recorded of the model. Of the edits that are `given`, which the
    evaluation suite is about, those of `edit_set` are measured.
    """

    edited: Loaded
    base: Loaded | None
    settings: EvaluateSettings
    given: EditSet
    edit_set: EditSet
    no_base: str = NO_BASE


def plan_evaluate(settings: EvaluateSettings) -> EvaluatePlan:
    """Loads both models and the edits; a UsageError where the base is not the recorded one.

    A recorded base that is not there any more is no reason to refuse: what needs it is left out.
    """
    note = read_note(locate(resolve(settings.model)))
    named = bool(settings.model_fields_set & {"edits", "limit"})
    settings = as_recorded(settings, note)
    given = load_edits(settings)
    edit_set = edits_to_ask(settings, note, given, named=named)
    edited = open_model(settings)
    if note and not settings.base and not _is_there(note.base):
        lost = f"{GONE}{note.base}, which is not there: give --base"
        return EvaluatePlan(edited, None, settings, given, edit_set, lost)
    base = _base(settings, note)
    # Drift compares token by token.
    if base and base.tokenizer.get_vocab() != edited.tokenizer.get_vocab():
        raise UsageError(
            f"{settings.model} and its base {base.info.name} have different tokenizers"
        )
    return EvaluatePlan(edited, base, settings, given, edit_set)


def _base(settings: EvaluateSettings, note: EditNote | None) -> Loaded | None:
    """The base that is given, or else the recorded one, which has to be as it was."""
    if settings.base:
        return open_model(settings.model_copy(update={"model": settings.base}))
    if note is None:
        return None
    try:
        base = open_model(settings.model_copy(update={"model": note.base}))
    except UsageError as error:
        raise UsageError(
            f"cannot use the base recorded at saving ({error}): give --base"
        ) from error
    if base.info.hash != note.base_hash:
        raise UsageError(
            f"the base recorded at saving, {note.base}, has changed since: give --base to use it"
        )
    return base


def evaluate(plan: EvaluatePlan, progress: Progress) -> tuple[Measure, ...]:
    """All measures of the edited model; those that need a base are NaN without one."""
    # The edited model stands in for a base: what needs one is left out at the end.
    base = plan.base or plan.edited
    for line in plan.edit_set.notes:
        progress.say(line)
    if plan.no_base != NO_BASE:
        progress.say(f"not everything is measured: some of it {plan.no_base}")
    workspace = open_workspace(plan.settings, base, plan.given, progress)
    suite = with_text_generator(workspace.suite, plan.edited)
    prefix_cache, ids = (
        PrefixCache(plan.edited.model, suite.packed),
        [e.id for e in plan.edit_set.edits],
    )
    with stage(progress, "asking the edited model", 1, share=40):
        texts = suite.texts_for(choosing=False)
        # On the half for reporting, as the trial was measured when the model was tuned.
        now = observe(suite, prefix_cache, ids, texts=texts)
    measures = measure_all(now, workspace.before.of(ids).on(texts))
    if plan.base:
        return measures
    return tuple(_without_base(measure, plan.no_base) for measure in measures)


def check_tasks(tasks: Sequence[str], include_path: Path | None) -> None:
    """Raises UsageError for tasks that lm-evaluation-harness does not know, or without it."""
    if tasks:
        manager_of(tuple(tasks), include_path)


def evaluate_tasks(
    plan: EvaluatePlan,
    tasks: Sequence[str],
    progress: Progress,
    include_path: Path | None = None,
    limit: int | None = None,
) -> tuple[Measure, ...]:
    """What lm-evaluation-harness measures of both models, `limit` items of each task (all)."""
    with stage(progress, f"tasks {', '.join(tasks)}", 1, share=45):
        return task_measures(plan.edited, plan.base, tuple(tasks), include_path, limit)


def evaluate_json(measures: tuple[Measure, ...]) -> str:
    """The measures as the contract's JSON; not measured is null with a reason."""
    found = {measure.name: _plain(measure) for measure in measures}
    return json.dumps({"schema": 1, "measures": found}, indent=2)


def _plain(measure: Measure) -> dict[str, float | int | str | None]:
    found = json.loads(dumps(measure))
    plain = {key: found[key] for key in ("value", "count", "protocol", "low", "high", "before")}
    if plain["value"] is None:
        plain["reason"] = _reason(measure.protocol)
    return plain


def _reason(protocol: str) -> str:
    """Why nothing was measured."""
    if protocol.startswith(GONE):
        return protocol
    return "needs a base" if protocol == NO_BASE else "nothing to judge by"


def _is_there(base: str) -> bool:
    """Whether the files of a model can be found by its name."""
    try:
        locate(resolve(base))
    except UsageError:
        return False
    return True


def _without_base(measure: Measure, reason: str) -> Measure:
    if measure.name in NEEDS_BASE:
        return Measure(measure.name, nan, 0, reason)
    return replace(measure, before=nan)
