"""``recommendation.yaml``: for LocFT's reference code where it can say it, and for `edit --config`.

The reference code (ICT-STAR/LocFT) tunes every parameter whose name contains `rewrite_module` with
the layer filled in, so only one layer and a part with such a pattern can be said in its keys. The
patterns here end in a dot or a name: without it ``model.layers.1`` also picks layers 10 to 19.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from locscope.records import Contender, Deployment, FrontPoint, Margin, Recipe, Recommendation
from locscope.runs.files import explained, write_atomic
from locscope.runs.note import DATA

SCHEMA = 1
NAME = "recommendation.yaml"
LLAMA_PATTERNS: dict[str, str] = {
    "mlp.gate": "model.layers.{}.mlp.gate_proj.",
    "mlp.up": "model.layers.{}.mlp.up_proj.weight",
    "mlp.down": "model.layers.{}.mlp.down_proj.weight",
    "mlp": "model.layers.{}.mlp.",
    "attn.q": "model.layers.{}.self_attn.q_proj.",
    "attn.k": "model.layers.{}.self_attn.k_proj.",
    "attn.v": "model.layers.{}.self_attn.v_proj.",
    "attn.o": "model.layers.{}.self_attn.o_proj.",
    "attn": "model.layers.{}.self_attn.",
    "block": "model.layers.{}.",
}
"""By part, what the reference code looks for in parameter names: Llama, Qwen2, Qwen3, Mistral."""

_HEADER = """\
# Where to fine-tune, as found by locscope. Use it with
#   locscope edit --model MODEL --edits FILE --config recommendation.yaml --output DIR
"""
_REFERENCE = (
    "model_name_or_path data_path save_model_dir layer rewrite_module lr batch_size num_steps"
)
REFERENCE_KEYS = tuple(_REFERENCE.split())
SECTION = "locscope"
DATA_KEYS = ("edits", *DATA, "dtype", "deploy")
"""Settings that say which edits were tuned, in which order, and what was measured besides."""
SECTION_KEYS = (
    *("schema", "sentence", "reference_keys", "location", "recipe", "parameters"),
    *("parameter_count", "score", "measures", "margins", "runner_up", "met", "missed"),
    *("weights", "bounds", "bound_margin", "front", "provenance", "reason", "notes", "deployed"),
    *("held_out", "data", "relaxed", "random_ahead"),
)


def recommendation_yaml(
    rec: Recommendation,
    *,
    model_path: str,
    data_path: str,
    patterns: Mapping[str, str],
    why_not: str = "",
    data: Mapping[str, Any] | None = None,
) -> str:
    """The text of ``recommendation.yaml``: the recipe and measures are those of the edits that
    will be made, `data` are the settings that say which edits and texts these are.

    `patterns` are what LocFT's reference code can look for, by part (`LLAMA_PATTERNS`, or those of
    another family, empty where there are none). `why_not` is a reason against its keys that only
    the caller knows, such as edits in a format that it does not read.
    """
    reason = why_not or _why_not(rec, patterns)
    section = _section(rec, f"left out: {reason}" if reason else "above")
    section["data"] = dict(data or {})
    keys = {} if reason else _reference(rec, model_path, data_path, patterns)
    comment = f"# LocFT's own keys are left out: {reason}.\n" if reason else ""
    return _HEADER + comment + _dumped({**keys, SECTION: section})


def write_recommendation(folder: str | os.PathLike[str], text: str) -> Path:
    """Writes the text to ``recommendation.yaml`` in the run folder and gives the path."""
    path = Path(folder) / NAME
    with explained(f"write {path}"):
        write_atomic(path, text)
    return path


def _reference(
    rec: Recommendation, model_path: str, data_path: str, patterns: Mapping[str, str]
) -> dict[str, Any]:
    site, recipe = rec.location.sites[0], rec.recipe
    return {
        "model_name_or_path": model_path,
        "data_path": data_path,
        # The reference code does not start without it.
        "save_model_dir": "./edited-model",
        "layer": site.first,
        "rewrite_module": patterns[site.part],
        "lr": recipe.lr,
        "batch_size": recipe.batch,
        # Its name for the most epochs.
        "num_steps": recipe.epochs,
    }


def _why_not(rec: Recommendation, patterns: Mapping[str, str]) -> str:
    """Why the reference code cannot tune this; empty where it can."""
    sites = rec.location.sites
    if len(sites) != 1 or sites[0].first != sites[0].last:
        return "it tunes one layer only"
    if sites[0].head is not None:
        return "it tunes whole matrices, not one head"
    if sites[0].part not in patterns:
        return f"no pattern of names picks {sites[0].part} in this model"
    return why_not_recipe(rec.recipe)


def why_not_recipe(recipe: Recipe) -> str:
    """Why a tool that knows rate, batch and epochs alone cannot say it; empty where it can."""
    plain = Recipe(lr=recipe.lr, batch=recipe.batch, epochs=recipe.epochs)
    odd = [f.name for f in fields(Recipe) if getattr(recipe, f.name) != getattr(plain, f.name)]
    return f"it has no such recipe ({', '.join(odd)})" if odd else ""


def _section(rec: Recommendation, reference_keys: str) -> dict[str, Any]:
    best = rec.deployment or rec.best
    runner_up = next((c for c in rec.contenders if c.role == "runner-up"), None)
    names = ("model", "model_hash", "edits", "edits_hash", "seed", "version", "objective")
    return {
        "schema": SCHEMA,
        "sentence": rec.sentence,
        "reference_keys": reference_keys,
        "location": str(best.location),
        "recipe": asdict(rec.recipe),
        "parameters": list(best.parameters),
        "parameter_count": best.parameter_count,
        "score": {"name": rec.score_name, **_score(best)},
        "measures": [asdict(measure) for measure in best.measures],
        "margins": [_with_text(margin) for margin in rec.margins],
        "runner_up": runner_up
        and {
            "location": str(runner_up.location),
            "recipe": asdict(runner_up.recipe),
            **_score(runner_up),
        },
        "met": rec.met,
        "missed": list(rec.missed),
        "weights": dict(rec.weights),
        "bounds": list(rec.bounds),
        "bound_margin": rec.bound_margin,
        "front": [_with_text(point) for point in rec.front],
        "reason": rec.reason,
        "notes": list(rec.notes),
        "relaxed": rec.relaxed,
        "random_ahead": list(map(str, rec.ahead)),
        "deployed": {
            "edits": rec.deployment.edits if rec.deployment else 0,
            "given": rec.deployment.given if rec.deployment else 0,
        },
        "held_out": {
            "edits": rec.best.edits,
            "recipe": asdict(rec.best.recipe),
            **_score(rec.best),
            "measures": [asdict(measure) for measure in rec.best.measures],
        },
        "provenance": {name: getattr(rec, name) for name in names},
    }


def _with_text(record: Margin | FrontPoint) -> dict[str, Any]:
    # By hand: asdict would take the location apart.
    return {**vars(record), "location": str(record.location)}


def _score(measured: Contender | Deployment) -> dict[str, Any]:
    # A deployment is one trial, so it has no repetitions.
    repeated = isinstance(measured, Contender)
    return {
        "value": measured.score,
        "low": measured.low,
        "high": measured.high,
        **({"repetitions": list(measured.repetitions)} if repeated else {}),
    }


def _dumped(content: dict[str, Any]) -> str:
    return yaml.safe_dump(_plain(content), sort_keys=False, allow_unicode=True, width=100)


def _plain(value: Any) -> Any:
    """The value with null for what was not measured, as in every file of a run."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value
