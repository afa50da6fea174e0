"""What `locscope edit --config` reads of a recommendation: where and how to tune, and for what."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from locscope.errors import UsageError, shown, unknown
from locscope.locations import Location
from locscope.records import Recipe, dumps, loads
from locscope.runs.reading import read_yaml
from locscope.runs.recommendation import (
    DATA_KEYS,
    NAME,
    REFERENCE_KEYS,
    SCHEMA,
    SECTION,
    SECTION_KEYS,
)

_NEEDED = ("location", "recipe", "provenance")
_MANY, _REPEATS = 1_000_000, 1000
RANGES: dict[str, tuple[float, float]] = {
    "lr": (0, 1000.0),
    "batch": (1, _MANY),
    "epochs": (1, _MANY),
    "skip_below": (0, _MANY),
    "stop_below": (0, _MANY),
    "prefixes": (0, _REPEATS),
    "rank": (0, 65_536),
}
"""Of a recipe's numbers, lowest and highest; those of settings, where they are settings too."""
CHOICES = {
    "order": ("breadth-first", "depth-first"),
    "prompt_format": ("raw", "chat", "qa"),
}
LONGEST = 4096
"""Characters of a text, as of a path."""


@dataclass(frozen=True)
class EditConfig:
    """What `locscope edit --config` takes from a recommendation: where and how to tune, and the
    objective with its weights and bounds as written; None where the file says no bounds. `data`
    are settings that say which edits and texts it was found with."""

    model: str
    location: Location
    recipe: Recipe
    objective: str = "balanced"
    weights: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[str, ...] | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


def read_recommendation(path: str | os.PathLike[str]) -> EditConfig:
    """Where and how to tune, from a recommendation (the file, or the run folder that has it).

    A UsageError names the file and the key that is unknown, missing, unreadable, or says
    otherwise at the top than under `locscope`.
    """
    # Not Path.is_dir, which does not answer where a name is too long.
    file = Path(path) / NAME if os.path.isdir(path) else Path(path)
    content = _loaded(file)
    _check_keys(file, "key", content, (*REFERENCE_KEYS, SECTION), (SECTION,))
    section = content[SECTION]
    if not isinstance(section, dict):
        raise UsageError(f"{file}: '{SECTION}' must hold keys ({', '.join(_NEEDED)}, ...)")
    _check_keys(file, f"key under '{SECTION}'", section, SECTION_KEYS, _NEEDED)
    _check_schema(file, section)
    config = EditConfig(
        model=_model(file, section),
        location=_location(file, section),
        recipe=_recipe(file, section),
        objective=_text(file, "objective", section["provenance"].get("objective", "balanced")),
        weights=_weights(file, section),
        bounds=_bounds(file, section),
        data=_data(file, section),
    )
    _check_agreement(file, content, config)
    return config


def _loaded(file: Path) -> dict[str, Any]:
    content = read_yaml(file, "recommendation")
    if not isinstance(content, dict):
        raise UsageError(f"{file} is not a recommendation: it has no keys")
    return content


def _check_keys(
    file: Path, kind: str, content: Mapping[Any, Any], allowed: tuple[str, ...], needed: tuple
) -> None:
    for key in content:
        if key not in allowed:
            raise UsageError(f"{file}: {unknown(kind, str(key), allowed)}")
    for key in needed:
        if key not in content:
            raise UsageError(f"{file}: missing {kind} '{key}'; `locscope search` writes it")


def _check_schema(file: Path, section: Mapping[str, Any]) -> None:
    number = section.get("schema", SCHEMA)
    # Not isinstance: true is an int to Python.
    if type(number) is not int:
        raise UsageError(f"{file}: 'schema' must be a whole number, not {shown(number)}")
    if number > SCHEMA:
        raise UsageError(
            f"{file} was written by a newer locscope (schema {shown(number)}, this one reads up to "
            f"{SCHEMA}): update locscope"
        )


def _model(file: Path, section: Mapping[str, Any]) -> str:
    provenance = section["provenance"]
    model = provenance.get("model") if isinstance(provenance, dict) else None
    if not isinstance(model, str) or not model:
        raise UsageError(f"{file}: missing key under 'provenance' 'model': name the model")
    return _text(file, "model", model)


def _text(file: Path, key: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or len(value) > LONGEST:
        raise UsageError(
            f"{file}: '{key}' is {shown(value)}: write a text of at most {LONGEST} characters "
            "without NUL"
        )
    return value


def _location(file: Path, section: Mapping[str, Any]) -> Location:
    try:
        return Location.parse(str(section["location"]))
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _weights(file: Path, section: Mapping[str, Any]) -> dict[str, float]:
    weights = section.get("weights") or {}
    if not isinstance(weights, dict):
        raise UsageError(f"{file}: 'weights' must hold a number for each measure")
    for name, value in weights.items():
        if not _is_number(value) or not 0 < value <= _MANY:
            raise UsageError(
                f"{file}: {shown(name)} under 'weights' is {shown(value)}: give a number above 0, "
                f"at most {_MANY}"
            )
    return {name: float(value) for name, value in weights.items()}


def _is_number(value: object) -> bool:
    # Not isinstance: true is an int to Python.
    return type(value) in (int, float)


def _bounds(file: Path, section: Mapping[str, Any]) -> tuple[str, ...] | None:
    bounds = section.get("bounds")
    if bounds is None or (
        isinstance(bounds, list) and all(isinstance(bound, str) for bound in bounds)
    ):
        return None if bounds is None else tuple(bounds)
    raise UsageError(f"{file}: 'bounds' must be a list, as [perplexity_ratio<=1.05]")


def _data(file: Path, section: Mapping[str, Any]) -> dict[str, Any]:
    data = section.get("data") or {}
    if not isinstance(data, dict):
        raise UsageError(f"{file}: 'data' must hold settings, as edits: my-edits.jsonl")
    _check_keys(file, "key under 'data'", data, DATA_KEYS, ())
    count = data.get("deploy")
    if count is not None and (type(count) is not int or count < 1):
        raise UsageError(f"{file}: 'deploy' under 'data' is {shown(count)}: give a number from 1")
    return data


def _recipe(file: Path, section: Mapping[str, Any]) -> Recipe:
    recipe = section["recipe"]
    if not isinstance(recipe, dict):
        raise UsageError(f"{file}: 'recipe' must hold keys (lr, batch, ...)")
    allowed = tuple(field.name for field in fields(Recipe))
    needed = tuple(field.name for field in fields(Recipe) if field.default is MISSING)
    _check_keys(file, "key under 'recipe'", recipe, allowed, needed)
    for key, value in recipe.items():
        _check_value(file, key, value)
    try:
        # Through JSON, so that the file is held to the types of the record.
        read = loads(Recipe, json.dumps(recipe))
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        found = shown(recipe.get(key))
        raise UsageError(f"{file}: '{key}' under 'recipe' cannot be read: it is {found}") from error
    for key, (lowest, highest) in RANGES.items():
        value = getattr(read, key)
        # A rate of 0 tunes nothing; NaN is in no range.
        if not lowest <= value <= highest or (key == "lr" and value == 0):
            raise UsageError(
                f"{file}: '{key}' under 'recipe' is {shown(value)}: give a number from {lowest:g} "
                f"to {highest:g}" + (", above 0" if key == "lr" else "")
            )
    return read


def _check_value(file: Path, key: str, value: Any) -> None:
    """A UsageError for what the record would take for something else: true for 1, null for NaN."""
    if key in RANGES and (isinstance(value, bool) or value is None):
        raise UsageError(f"{file}: '{key}' under 'recipe' is {value}: give a number")
    if key in CHOICES and value not in CHOICES[key]:
        found, known = shown(value), " or ".join(CHOICES[key])
        raise UsageError(f"{file}: '{key}' under 'recipe' is {found}: there are {known}")


def _check_agreement(file: Path, content: Mapping[str, Any], config: EditConfig) -> None:
    """Top keys edited by hand would be without effect here: better said than ignored."""
    recipe = json.loads(dumps(config.recipe))
    # LocFT's names on the left, ours on the right.
    same = {"lr": "lr", "batch_size": "batch", "num_steps": "epochs"}
    pairs = {top: (content[top], recipe[under]) for top, under in same.items() if top in content}
    if "layer" in content:
        pairs["layer"] = (content["layer"], config.location.lowest)
    for top, (value, under) in pairs.items():
        if not _equal(value, under):
            raise UsageError(
                f"{file}: '{top}' is {shown(value)}, but {under} under '{SECTION}': make them "
                f"agree (`locscope edit` goes by '{SECTION}')"
            )


def _equal(first: Any, second: Any) -> bool:
    # YAML 1.1 reads 5e-4, without a dot, as a text.
    try:
        return first is not True and math.isclose(float(first), float(second), rel_tol=1e-9)
    except (TypeError, ValueError, OverflowError):
        return False
