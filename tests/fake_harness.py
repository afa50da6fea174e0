"""As much of lm-evaluation-harness as we call, by the same names, for tests where it is not.

It reads the task files that the tests write. `tests/integrations/test_harness.py` asks the same of
it and, where it is installed, of the real one.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from locscope.integrations import harness

DEFAULTS = ("mmlu", "gsm8k")
"""Of the tasks that it brings along."""


class TaskManager:
    """The tasks of a folder, and its own."""

    def __init__(self, include_path: str | None = None, include_defaults: bool = True) -> None:
        files = sorted(Path(include_path).glob("*.yaml")) if include_path else []
        self.read = {one["task"]: one for one in (yaml.safe_load(f.read_text()) for f in files)}
        self.all_tasks = [*self.read, *(DEFAULTS if include_defaults else ())]


class Task:
    """A task with its items; an instance is one choice of one of them."""

    def __init__(self, read: Mapping[str, Any]) -> None:
        self.OUTPUT_TYPE = read["output_type"]
        lines = Path(read["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()
        self.docs = [json.loads(line) for line in lines]
        self.instances: list[SimpleNamespace] = []

    def set_fewshot_seed(self, seed: int) -> None:
        """It has no examples to draw."""

    def doc_to_choice(self, doc: Mapping[str, Any]) -> list[str]:
        return doc["choices"]

    def doc_to_target(self, doc: Mapping[str, Any]) -> int:
        return doc["answer"]

    def build_all_requests(self, *, limit: int | None, rank: int, world_size: int) -> None:
        assert (rank, world_size) == (0, 1)
        self.instances = [
            SimpleNamespace(idx=i, doc=doc, args=(doc["question"], f" {choice}"))
            for doc in self.docs[:limit]
            for i, choice in enumerate(doc["choices"])
        ]


def get_task_dict(names: Sequence[str], manager: TaskManager) -> dict[str, Task]:
    """Its tasks by name."""
    return {name: Task(manager.read[name]) for name in names}


def accuracy(model: Any, tokenizer: Any, docs: Sequence[Mapping[str, Any]]) -> float:
    """The share of items whose right choice has the greatest log-likelihood, one by one."""
    right = 0
    for doc in docs:
        sums = []
        for choice in doc["choices"]:
            start = tokenizer(doc["question"])["input_ids"]
            ids = tokenizer(f"{doc['question']} {choice}")["input_ids"]
            with torch.no_grad():
                said = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
            sums.append(sum(float(said[i - 1, ids[i]]) for i in range(len(start), len(ids))))
        right += sums.index(max(sums)) == doc["answer"]
    return right / len(docs)


def simple_evaluate(
    model: Any,
    tasks: Sequence[str],
    limit: int | None,
    task_manager: TaskManager,
    log_samples: bool,
) -> dict[str, Any]:
    """Its results, in its own keys."""
    results: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    for name, task in get_task_dict(tasks, task_manager).items():
        docs = task.docs[:limit]
        share = accuracy(model.pretrained, model.tokenizer, docs)
        error = (share * (1 - share) / (len(docs) - 1)) ** 0.5
        results[name] = {"alias": name, "acc,none": share, "acc_stderr,none": error}
        counts[name] = {"original": len(task.docs), "effective": len(docs)}
    shots = dict.fromkeys(tasks, 0)
    return {"results": results, "n-samples": counts, "n-shot": shots, "group_subtasks": {}}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts it in the place of the real one for a test."""

    def hflm(pretrained: Any, tokenizer: Any, batch_size: int) -> SimpleNamespace:
        return SimpleNamespace(pretrained=pretrained, tokenizer=tokenizer)

    parts: dict[str, dict[str, Any]] = {
        "lm_eval": {"simple_evaluate": simple_evaluate},
        "lm_eval.tasks": {"TaskManager": TaskManager, "get_task_dict": get_task_dict},
        "lm_eval.models": {},
        "lm_eval.models.huggingface": {"HFLM": hflm},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(harness, "version", lambda _: "0.4.13")
