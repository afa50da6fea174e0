"""Writes what people read from the records of a search: YAML, exports, page, figures, tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from locscope.edits import BUNDLED
from locscope.integrations.exports import About, write_exports
from locscope.models.aliases import ALIASES, DEMO
from locscope.models.families import FAMILIES, NAMELESS, Family, named_like_llama
from locscope.records import Deployment, ModelInfo, Recommendation, TrialRecord, dumps
from locscope.report.data.inputs import ReportInputs, standing
from locscope.report.draw.gallery import write_figures
from locscope.report.output.page import render_report
from locscope.runs.files import explained, write_atomic
from locscope.runs.note import absolute
from locscope.runs.private import without_home
from locscope.runs.recommendation import (
    DATA_KEYS,
    LLAMA_PATTERNS,
    NAME,
    SECTION,
    recommendation_yaml,
    write_recommendation,
)
from locscope.runs.tables import write_tables

WHOLE = ("limit", "seed", "deploy")
"""Settings of `DATA_KEYS` that are whole numbers."""


@dataclass(frozen=True)
class Found:
    """What a search or scan ends with: where the results lie, and what they are; `usable` is false
    where no scan that was asked for could use any edit."""

    folder: Path
    inputs: ReportInputs
    usable: bool = True


def publish(folder: Path, inputs: ReportInputs, info: ModelInfo, edits: str) -> None:
    """Writes recommendation.yaml, exports, scorecard.json, report.html, figures and tables.

    Each is written whole or not at all. Raises LocscopeError where the disk is full, UsageError
    where it takes nothing for another reason.
    """
    with explained(f"write the report of {folder}"):
        _publish(folder, inputs, info, edits)


def _publish(folder: Path, inputs: ReportInputs, info: ModelInfo, edits: str) -> None:
    if inputs.recommendation is not None:
        text = recommendation_yaml(
            inputs.recommendation,
            model_path="demo" if info.name == "demo" else without_home(_path_of(info)),
            data_path=without_home(edits),
            patterns=LLAMA_PATTERNS if named_like_llama(info.family) else {},
            why_not=_why_not(info, edits),
            data=data_of(inputs.run.settings, inputs.recommendation.deployment),
        )
        write_recommendation(folder, text)
        about = about_of(info, inputs.recommendation, inputs.trials)
        write_exports(folder, inputs.recommendation, about, first=_locft(text))
    if inputs.scorecard is not None:
        write_atomic(folder / "scorecard.json", dumps(inputs.scorecard, indent=2) + "\n")
    # Behind what other programs read: page, figures and tables can be made again from records.
    write_atomic(folder / "report.html", render_report(inputs))
    write_figures(inputs, folder / "figures")
    write_tables(folder, inputs.trials, inputs.scans)


def data_of(settings: Mapping[str, str], made: Deployment | None) -> dict[str, str | int]:
    """The settings that say which edits and texts a search had, as `edit --config` takes them;
    those of a run are written as text, None where they were left out. `deploy` is there where
    fewer edits were deployed than given, whoever said so."""
    given = {name: settings[name] for name in DATA_KEYS if settings.get(name, "None") != "None"}
    found = {name: int(text) if name in WHOLE else text for name, text in given.items()}
    if "edits" in found:
        found["edits"] = absolute(str(found["edits"]))
    # What was asked for gives way to what was made: without --deploy there is a limit too.
    found.pop("deploy", None)
    if made is not None and made.edits < made.given:
        found["deploy"] = made.edits
    return found


def about_of(
    info: ModelInfo, recommendation: Recommendation, trials: Sequence[TrialRecord]
) -> About:
    """What exports need to know besides the recommendation."""
    tried = [
        record
        for record in trials
        if record.trial.recipe.kind == "lora" and record.trial.location == recommendation.location
    ]
    return About(
        model=without_home(_path_of(info)),
        depth=info.layers,
        family=named_family(info.family),
        lora=_told(tried),
    )


def _path_of(info: ModelInfo) -> str:
    """The model as other tools can load it."""
    return str(DEMO) if info.name == "demo" else ALIASES.get(info.name.lower(), info.name)


def _told(tried: Sequence[TrialRecord]) -> TrialRecord | None:
    """The first repetition on T, of which no choice was made; else the best on S."""
    held = [record for record in tried if record.trial.split == "T"]
    if held:
        return min(held, key=lambda record: record.trial.rung)
    return max(tried, key=standing, default=None)


def named_family(name: str) -> Family:
    """The family of that name, where its modules can be named: not one that is in no table, nor one
    with experts, which are no modules."""
    found = FAMILIES.get(name, NAMELESS)
    return NAMELESS if found.experts else found


def _locft(text: str) -> str:
    """What the exports say of LocFT's reference code, given the text of recommendation.yaml."""
    keys = yaml.safe_load(text)[SECTION]["reference_keys"]
    said = "its keys stand at the top" if keys == "above" else f"its keys are {keys}"
    return f"../{NAME}: LocFT's reference code; {said}."


def _why_not(info: ModelInfo, edits: str) -> str:
    if info.name == "demo":
        return "the bundled model is not known to it"
    return "the bundled edits are not in a format that it reads" if edits in BUNDLED else ""
