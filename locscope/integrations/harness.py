"""lm-evaluation-harness in this process: its tasks asked of models that are loaded, and samples of
them as abilities that a search has to retain. Extra `eval`."""

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from math import isfinite, nan
from pathlib import Path
from typing import Any

from locscope.errors import UsageError, unknown
from locscope.models.load import Loaded
from locscope.records import Measure
from locscope.records.codec import fingerprint
from locscope.runs.files import explained, write_atomic

SURE = 1.96
"""Standard errors on either side of a 95 % interval."""
BATCH = 8


@cache
def manager_of(tasks: tuple[str, ...], include_path: Path | None = None) -> Any:
    """The harness's manager of tasks, which knows all of these.

    `include_path` is a folder of task files of one's own. Raises UsageError, with near names, for a
    task that it does not know, and where the harness is not installed.
    """
    try:
        from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError(
            "tasks need lm-evaluation-harness, which is not installed: pip install 'locscope[eval]'"
        ) from None
    if include_path is not None and not include_path.is_dir():
        raise UsageError(f"no folder {include_path} of task files: give one with --include-path")
    own = {"include_path": str(include_path)} if include_path else {}
    with _quiet():
        # Its own fourteen thousand tasks take seconds to be listed.
        manager = TaskManager(**own, include_defaults=not own)
        if own and not set(tasks) <= set(manager.all_tasks):
            manager = TaskManager(**own, include_defaults=True)
    for task in tasks:
        if task not in manager.all_tasks:
            raise unknown("task", task, manager.all_tasks)
    return manager


def task_measures(
    edited: Loaded,
    base: Loaded | None,
    tasks: tuple[str, ...],
    include_path: Path | None = None,
    limit: int | None = None,
) -> tuple[Measure, ...]:
    """What the harness measures of the model, named `task metric`; `before` is the base's.

    `limit` is the number of items of each task (all). Raises UsageError where a task cannot be run,
    as one whose data are not on this machine while there is no network.
    """
    manager = manager_of(tasks, include_path)
    now = _results(edited, tasks, manager, limit)
    before = _results(base, tasks, manager, limit) if base else {}
    return tuple(_measure(name, found, before) for name, found in now.items())


def abilities_file(
    folder: Path, tasks: tuple[str, ...], include_path: Path | None, count: int, seed: int
) -> Path:
    """Writes a sample of tasks of multiple choice as abilities to retain; returns the file.

    Its prompts are the harness's, with examples where a task has some; they are judged as all
    abilities are, by the right choice as the greedy answer. Raises UsageError for other tasks.
    """
    manager = manager_of(tasks, include_path)
    items = [item for task in tasks for item in _items(task, manager, count, seed)]
    path = folder / f"abilities-{'-'.join(tasks)[:60]}-{fingerprint(items)[:8]}.json"
    with explained(f"write {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(items, indent=1, ensure_ascii=False) + "\n")
    return path


def _items(task: str, manager: Any, count: int, seed: int) -> list[dict[str, str | float]]:
    """So many items of a task, spread over its parts where it has some."""
    found = [_of_part(task, part, count) for part in _parts(task, manager, seed)]
    # One of each part in turn: of fifty-seven subjects each gets a few.
    rounds = [row[i] for i in range(max(map(len, found))) for row in found if i < len(row)]
    return rounds[:count]


def _parts(task: str, manager: Any, seed: int) -> list[Any]:
    from lm_eval.tasks import get_task_dict  # pyright: ignore[reportMissingImports]

    with _explained_task(task), _quiet():
        parts = list(_leaves(get_task_dict([task], manager)))
    for part in parts:
        part.set_fewshot_seed(seed)
        if part.OUTPUT_TYPE != "multiple_choice":
            raise UsageError(
                f"task {task} is no multiple choice, so that a search could not judge it at every "
                "trial: give it to `locscope evaluate --tasks`"
            )
    return parts


def _of_part(task: str, part: Any, count: int) -> list[dict[str, str | float]]:
    with _explained_task(task), _quiet():
        # As one process of one: the harness would share its items out.
        part.build_all_requests(limit=count, rank=0, world_size=1)
    rows = []
    # A request a choice; the first of each item has its text.
    for request in part.instances:
        if request.idx == 0:
            choices, right = part.doc_to_choice(request.doc), part.doc_to_target(request.doc)
            answer = choices[right] if isinstance(right, int) else str(right)
            prompt = {"task": task, "prompt": request.args[0], "answer": answer.strip()}
            rows.append({**prompt, "chance": 1 / len(choices)})
    return rows


def _leaves(tree: Mapping[Any, Any]) -> Iterator[Any]:
    for value in tree.values():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield value


def _results(
    loaded: Loaded, tasks: Sequence[str], manager: Any, limit: int | None
) -> dict[str, tuple[float, float, int, str]]:
    """By `task metric`, the value, its standard error, the items and the protocol."""
    from lm_eval import simple_evaluate  # pyright: ignore[reportMissingImports]
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

    with _explained_task(",".join(tasks)), _quiet():
        model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=BATCH)
        found = simple_evaluate(
            model=model, tasks=list(tasks), limit=limit, task_manager=manager, log_samples=False
        )
    return {
        f"{task} {key.partition(',')[0]}": (value, *_about(found, task, key))
        for task in tasks
        for key, value in found["results"].get(task, {}).items()
        if isinstance(value, int | float) and "_stderr," not in key and "," in key
    }


def _about(found: Mapping[str, Any], task: str, key: str) -> tuple[float, int, str]:
    metric, _, filtered = key.partition(",")
    error = found["results"][task].get(f"{metric}_stderr,{filtered}")
    parts = [task, *found.get("group_subtasks", {}).get(task, [])]
    counts = [found["n-samples"][part]["effective"] for part in parts if part in found["n-samples"]]
    shots = found.get("n-shot", {}).get(task, 0)
    protocol = f"lm-evaluation-harness {version('lm_eval')}, {shots} shots, filter {filtered}"
    return float(error) if isinstance(error, int | float) else nan, sum(counts), protocol


def _measure(
    name: str,
    found: tuple[float, float, int, str],
    before: Mapping[str, tuple[float, float, int, str]],
) -> Measure:
    value, error, items, protocol = found
    # The harness gives the error alone, and none for some metrics.
    half = SURE * error if isfinite(error) else nan
    earlier = before[name][0] if name in before else nan
    return Measure(name, value, items, protocol, value - half, value + half, earlier)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the harness prints goes to stderr, where all but results goes; it logs errors alone."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _explained_task(task: str) -> Iterator[None]:
    """Turns what goes wrong within a task (no data, no network, a key) into one line."""
    try:
        yield
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"task {task} cannot be run ({lines[0][:200]}): its data have to be on this machine, "
            "or there has to be a network"
        ) from error
