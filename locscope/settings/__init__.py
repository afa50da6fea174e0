"""Validated settings, one model per verb, shared by the command line, YAML files and code."""

from locscope.settings.base import SharedSettings, read_settings_file, settings_of
from locscope.settings.editing import EditSettings, EvaluateSettings
from locscope.settings.scan import ScanSettings
from locscope.settings.search import SearchSettings

__all__ = [
    "EditSettings",
    "EvaluateSettings",
    "ScanSettings",
    "SearchSettings",
    "SharedSettings",
    "read_settings_file",
    "settings_of",
]
