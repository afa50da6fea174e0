"""Where the numbers of a run come from: the settings that decide them, versions, what it took."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from os import PathLike

import torch

from locscope.edits import EditSet
from locscope.evaluation.suite import EvalTexts
from locscope.models.load import Loaded
from locscope.records import RunInfo, StageCost, TrialRecord
from locscope.records.codec import fingerprint
from locscope.runs.info import read_info
from locscope.runs.private import without_home, without_secrets
from locscope.settings import SharedSettings
from locscope.tuning.workspace import THREADS, THREADS_ALONE

WITHOUT_EFFECT = frozenset(
    {"device", "offload", "device_memory", "host_memory", "prefix_cache", "workers", "ray"}
)
"""Settings that say where the work is done, not what it is."""


def frozen_settings(
    settings: SharedSettings,
    loaded: Loaded,
    edit_set: EditSet,
    eval_texts: EvalTexts,
    without: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """What a run folder is for, as text: another of these is another run. `without` leaves out
    settings of the verb that may change within a folder."""
    return {
        **{
            name: without_home(str(value))
            for name, value in settings.model_dump().items()
            if name not in WITHOUT_EFFECT | without
        },
        # As it was chosen: `auto` is another one on another device.
        "dtype": loaded.info.dtype,
        "model_hash": loaded.info.hash,
        "edits_hash": edit_set.fingerprint,
        "eval_texts_hash": fingerprint(eval_texts),
    }


def run_info(
    verb: str,
    frozen: dict[str, str],
    seed: int,
    loaded: Loaded,
    edit_set: EditSet,
    notes: Sequence[str],
    costs: Sequence[StageCost],
    command: str = "",
    started: str = "",
    status: str = "done",
) -> RunInfo:
    """The record of a run as a whole."""
    return RunInfo(
        schema_number=1,
        verb=verb,
        status=status,
        settings=frozen,
        settings_hash=fingerprint(frozen),
        seed=seed,
        versions=versions(),
        # Run folders are passed on, and name nobody's home.
        model=replace(loaded.info, name=without_home(loaded.info.name)),
        edits=edit_set.name,
        edits_hash=edit_set.fingerprint,
        edit_count=len(edit_set.edits),
        notes=tuple(map(without_secrets, notes)),
        stages=tuple(costs),
        command=without_secrets(command),
        started=started,
    )


def earlier_costs(folder: PathLike[str]) -> tuple[StageCost, ...]:
    """What earlier runs in the same folder took, where one was finished before."""
    info = read_info(folder)
    return () if info is None else info.stages


def environment(loaded: Loaded) -> tuple[str, ...]:
    """What decides the last digits of a trial, and no setting says: versions, device, threads."""
    device = loaded.info.device
    threads = f"{torch.get_num_threads()}"
    if device == "cpu":
        threads = f"{THREADS} of a trial, {THREADS_ALONE} of one alone"
    if device.startswith("cuda"):
        device = f"{device} ({torch.cuda.get_device_name(device)})"
    return (
        *(f"{name} {number}" for name, number in versions().items()),
        f"device {device}",
        f"threads {threads}",
    )


def other_environments(known: Iterable[TrialRecord], now: Sequence[str]) -> tuple[str, ...]:
    """A note where trials were run in another environment than now; records of older programs do
    not tell theirs."""
    others = [record.environment for record in known if record.environment]
    others = [before for before in others if before != tuple(now)]
    if not others:
        return ()
    gone = dict.fromkeys(part for before in others for part in before if part not in now)
    come = [part for part in now if any(part not in before for before in others)]
    return (
        f"{len(others)} trials of this folder were run with {', '.join(gone)}, and those now with "
        f"{', '.join(come)}: numbers may differ in their last digits",
    )


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    names = ("torch", "transformers", "transformer-lens", "numpy")
    return {
        "locscope": version("locscope"),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }
