"""What settings of all verbs have in common, and how they are read and refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from locscope.errors import UsageError, unknown
from locscope.runs.files import read_yaml

MOST_SEED = 1 << 32
"""Seeds are below it, as every library's generators want them."""


class SharedSettings(BaseModel):
    """Which model, which edits, and how both are read. Abstract: verbs add what is theirs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field("demo", description="demo, a directory, an alias or a hub id")
    edits: str = Field("demo", description="demo, or a file of edits")
    limit: int | None = Field(None, ge=1, description="use so many edits, chosen by the seed")
    seed: int = Field(0, ge=0, lt=MOST_SEED, description="of every random choice")
    conflicts: Literal["last", "drop"] | None = Field(
        None, description="what to do with prompts that have several targets"
    )
    prompt_format: Literal["raw", "chat", "qa"] = Field("raw", description="how prompts are put")
    neutral: Path | None = Field(None, description="file of neutral texts, one a line")
    abilities: Path | None = Field(None, description="JSON file of abilities to retain")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16")
    trust_remote_code: bool = Field(False, description="run code that a model brings along")
    device_memory: float = Field(8.0, gt=0, description="GiB of cached activations on the device")
    host_memory: float = Field(8.0, gt=0, description="GiB of cached activations on the host")


Settings = TypeVar("Settings", bound=SharedSettings)


def settings_of(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The settings; a UsageError names the first key that is unknown or has a bad value."""
    for name in given:
        if name not in kind.model_fields:
            raise unknown("setting", name, kind.model_fields)
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"setting '{key}' is {first['input']!r}: {first['msg'].lower()}") from None


def read_settings_file(path: Path | None) -> dict[str, Any]:
    """The keys of a YAML settings file (none without a file); dashes and underscores are alike."""
    if path is None:
        return {}
    content = read_yaml(path, "settings")
    if content is not None and not isinstance(content, dict):
        raise UsageError(f"settings {path} hold no keys: write `key: value` lines")
    return {str(key).replace("-", "_"): value for key, value in (content or {}).items()}
