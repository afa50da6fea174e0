"""Writes what people read from the records of a search: YAML, page, figures, tables."""

from pathlib import Path

from locscope.models.aliases import ALIASES
from locscope.records import ModelInfo, dumps
from locscope.report.gallery import write_figures
from locscope.report.inputs import ReportInputs
from locscope.report.page import render_report
from locscope.runs.atomic import write_atomic
from locscope.runs.recommendation import (
    LLAMA_PATTERNS,
    recommendation_yaml,
    write_recommendation,
)
from locscope.runs.tables import rebuild_tables

LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
"""Families whose modules are named as Llama's, so that LocFT's patterns pick them."""


def publish(folder: Path, inputs: ReportInputs, info: ModelInfo, edits: str) -> None:
    """Writes recommendation.yaml, scorecard.json, report.html, figures and tables."""
    if inputs.recommendation is not None:
        text = recommendation_yaml(
            inputs.recommendation,
            model_path=ALIASES.get(info.name.lower(), info.name),
            data_path=edits,
            patterns=LLAMA_PATTERNS if info.family in LLAMA_LIKE else {},
            why_not=_why_not(info, edits),
        )
        write_recommendation(folder, text)
    if inputs.scorecard is not None:
        write_atomic(folder / "scorecard.json", dumps(inputs.scorecard, indent=2) + "\n")
    write_atomic(folder / "report.html", render_report(inputs))
    write_figures(inputs, folder / "figures")
    rebuild_tables(folder)


def _why_not(info: ModelInfo, edits: str) -> str:
    if info.name == "demo":
        return "the bundled model is not known to it"
    return "the bundled edits are not in a format that it reads" if edits == "demo" else ""
